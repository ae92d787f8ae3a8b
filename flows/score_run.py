"""One score of one table (or of two, side by side), from a list of pairs to a report, whoever drives it: Prefect or a plain call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_hex
from time import monotonic
from typing import Any

import numpy as np
import polars as pl

from encoders.align import card as cards
from encoders.errors import EncoderError
from encoders.spec import Modality
from flows import secret_blocks
from flows.pairs_file import local, open_pairs
from flows.settings import GIB, ScoreSettings, SettingsError
from retrieval import candidates
from retrieval.candidates import Candidates
from retrieval.query import QueryError, Searcher
from retrieval.query_texts import embed_texts
from retrieval.ranking import Figure
from retrieval.score import scoring, thresholds
from retrieval.score.questions import MIXED, Scored
from retrieval.score.scoring import Score
from retrieval.score.thresholds import Outcome, Threshold
from storage import quarantine, runs, table
from storage.errors import StorageError
from tasks.pairs import Pairs, PairsError
from tasks.split import Shares, Split, sided, split

MOST_BYTES = 4 * GIB  # of a list of pairs in a bucket

Step = Callable[[str, Callable[[], Any]], Any]
"""Does a named step of a run: calls it, and may show or record that it does."""
REFUSALS = (SettingsError, PairsError, QueryError, EncoderError, StorageError, OSError)
Missing = Mapping[str, Mapping[str, int]]
"""By modality, how many texts or URIs take no part, by reason."""


@dataclass
class ScoreRun:
    """The state of one score: what was asked, the tables, what was left out and why. Made by `open_score`."""

    settings: ScoreSettings
    searchers: list[Searcher]
    thresholds: list[Threshold]
    name: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(3)}")
    missing: list[Missing] = field(default_factory=list)
    began: float = field(default_factory=monotonic)

    def read(self) -> tuple[Pairs, list[Candidates]]:
        """The pairs, and the objects of each table."""
        asked = self.settings
        pairs, _, _ = open_pairs(asked.pairs, asked.source, MOST_BYTES)
        space = self.searchers[0].space
        db = table.connect(asked.database, must_exist=True)
        runs.start(db, asked.table, self.name, asked.pairs, space=space.name, generation=space.generation, kind=runs.SCORE)
        return pairs, [candidates.read(searcher.table) for searcher in self.searchers]

    def divide(self, pairs: Pairs, held: list[Candidates]) -> tuple[Split, pl.DataFrame]:
        """The pairs with the contents of their media, and those of the side that was asked for; refuses if none is left."""
        for place, (database, name) in enumerate(self._places()):
            quarantined = quarantine.load(table.connect(database, must_exist=True), name).select("uri", "reason")
            absent = {m: _absent(pairs, m, held[place]) for m in pairs.media}
            self.missing.append({m: counts for m, uris in absent.items() if (counts := _reasons(uris, held[place], quarantined))})
        divided = self._divided(_known(pairs, held[0]), _contents(held[0]))
        side = divided.frame if self.settings.split == "all" else divided.side(self.settings.split)
        if side.is_empty():
            raise PairsError(f"{self.settings.pairs}: no pair can be scored: {self._none_left(pairs, divided)}")
        return divided, side

    def _divided(self, pairs: Pairs, contents: Mapping[str, str]) -> Split:
        """On the sides of the training that made a table's space: by its seed, shares and columns, whatever the settings say.

        Raises
        ------
        SettingsError : a side is asked for, and two tables' spaces were trained on different ones.
        """
        asked = self.settings
        trained = self._trained() if asked.split != "all" else []
        if not trained:
            return split(pairs, contents, Shares(**asked.shares.model_dump()), asked.seed)
        how = trained[0]
        if any(other != how for other in trained):
            told = " and ".join(_division_told(each) for each in trained)
            raise SettingsError(
                f"split = {asked.split!r}: the two tables' spaces were trained on different sides ({told}); score each alone"
            )
        whole = split(pairs, contents, Shares(**how["shares"]), how["seed"])
        if set(how["columns"]) >= set(pairs.modalities):
            return whole
        return sided(whole, split(pairs.only(how["columns"]), contents, Shares(**how["shares"]), how["seed"]))

    def _trained(self) -> list[dict[str, Any]]:
        """Of each table whose space was aligned: seed, shares and columns of that."""
        trained = [cards.of(searcher.space).get("asked") for searcher in self.searchers]
        return [{"seed": each["seed"], "shares": each["shares"], "columns": sorted(each["encoders"])} for each in trained if each]

    def encode(self, side: pl.DataFrame, held: list[Candidates]) -> list[Scored]:
        """The pairs' texts as queries of each table's space."""
        if "text_content" not in side.columns:
            texts = pl.DataFrame(schema={"text": pl.String, "text_content": pl.String})
        else:
            texts = side.select("text", "text_content").drop_nulls().unique("text_content").sort("text_content")
        scored = []
        for place, searcher in enumerate(self.searchers):
            encoded, failed = _encoded(searcher, texts)
            scored.append(Scored(searcher, held[place], encoded))
            if failed:
                self.missing[place] = {**self.missing[place], "text": failed}
        return scored

    def measure(self, side: pl.DataFrame, scored: list[Scored]) -> tuple[Score, Score | None, Mapping[str, Mapping[str, Figure]]]:
        """All figures."""
        among = self.settings.among == "pairs"
        against = scored[1] if len(scored) > 1 else None
        found = scoring.score(side, scored[0], against, among_pairs=among, seed=self.settings.seed)
        if not found[0].directions:
            told = "; ".join(f"{m}: {_counted(counts)}" for missing in self.missing for m, counts in missing.items())
            raise PairsError(f"{self.settings.pairs}: no pair can be scored: {told or 'the tables have no object in common'}")
        return found

    def finish(
        self, pairs: Pairs, divided: Split, side: pl.DataFrame, found: tuple[Score, Score | None, Mapping[str, Mapping[str, Figure]]]
    ) -> dict[str, Any]:
        """The report, as plain JSON values; it is written into the table of runs."""
        asked, (score, other, differences) = self.settings, found
        outcomes = thresholds.judge(score, self.thresholds)
        report: dict[str, Any] = {
            "run": self.name,
            "source": asked.pairs,
            "split": asked.split,
            "among": asked.among,
            "seed": asked.seed,
            "pairs": {
                "rows": pairs.rows,
                "scored": side.height,
                "too_few": pairs.too_few + divided.too_few,
                "duplicates": pairs.duplicates + divided.copies,
                "other_sides": divided.frame.height - side.height,
                "missing": self.missing[0],
            },
            **self._told(0, score),
            "against": None if other is None else self._told(1, other) | {"missing": self.missing[1]},
            "differences": {name: {metric: asdict(figure) for metric, figure in figures.items()} for name, figures in differences.items()},
            "thresholds": [asdict(outcome) for outcome in outcomes],
            "met": all(outcome.met for outcome in outcomes),
            "verdict": _verdict(score, outcomes, side.height),
            "seconds": round(monotonic() - self.began, 3),
        }
        runs.finish(table.connect(asked.database, must_exist=True), asked.table, report, kind=runs.SCORE)
        return report

    def _places(self) -> list[tuple[str, str]]:
        asked = self.settings
        return [(asked.database, asked.table), *([(asked.against, asked.against_table or asked.table)] if asked.against else [])]

    def _told(self, place: int, score: Score) -> dict[str, Any]:
        searcher, (database, name) = self.searchers[place], self._places()[place]
        where = {"database": database, "table": name, "space": searcher.space.name, "generation": searcher.space.generation}
        return where | {"version": int(searcher.table.version), **asdict(score)}

    def _none_left(self, pairs: Pairs, divided: Split) -> str:
        if not divided.frame.is_empty():
            return f"none of {divided.frame.height:,} is on the side {self.settings.split}"
        told = [f"{m}: {_counted(counts)}" for m, counts in self.missing[0].items()]
        return f"of {pairs.frame.height:,}, {'; '.join(told)}. Is --source what relative URIs begin at?"


def open_score(settings: ScoreSettings) -> ScoreRun:
    """Do everything that can refuse a score before any work. Writes nothing."""
    secret_blocks.install()
    asked = [thresholds.parse(text) for text in settings.at_least]
    here = local(settings.pairs)
    if here is not None and not here.is_file():
        raise PairsError(f"there is no file {settings.pairs!r}; give a list of pairs: Parquet, CSV or JSONL")
    searchers = [Searcher(settings.database, settings.table)]
    if settings.against:
        searchers.append(Searcher(settings.against, settings.against_table or settings.table))
    return ScoreRun(settings, searchers, asked)


def score_table(run: ScoreRun, step: Step = lambda _, call: call()) -> dict[str, Any]:
    """The report of a score, from its pairs to the table of runs."""
    pairs, held = step("read", run.read)
    divided, side = step("divide", lambda: run.divide(pairs, held))
    scored = step("encode", lambda: run.encode(side, held))
    found = step("measure", lambda: run.measure(side, scored))
    report: dict[str, Any] = step("report", lambda: run.finish(pairs, divided, side, found))
    return report


STEPS = ("read", "divide", "encode", "measure", "report")


def _division_told(how: Mapping[str, Any]) -> str:
    return f"columns {', '.join(how['columns'])}, seed {how['seed']}, shares {', '.join(f'{share:g}' for share in how['shares'].values())}"


def _known(pairs: Pairs, held: Candidates) -> Pairs:
    """The pairs without what the table does not hold as what they say: a sound in the column of pictures is no picture."""
    gone = [pl.when(~pl.col(m).is_in(_absent(pairs, m, held).implode())).then(pl.col(m)).alias(m) for m in pairs.media]
    return replace(pairs, frame=pairs.frame.with_columns(gone))


def _absent(pairs: Pairs, modality: Modality, held: Candidates) -> pl.Series:
    named = pl.DataFrame({"uri": pairs.uris(modality)}, schema={"uri": pl.String})
    return named.join(held.objects.filter(pl.col("medium") == modality), on="uri", how="anti").get_column("uri")


def _contents(held: Candidates) -> dict[str, str]:
    return dict(held.objects.filter(pl.col("medium") != "text").select("uri", "content_hash").iter_rows())


def _reasons(uris: pl.Series, held: Candidates, quarantined: pl.DataFrame) -> dict[str, int]:
    told = uris.to_frame().join(held.objects.select("uri", "medium").unique("uri"), on="uri", how="left")
    told = told.join(quarantined.unique("uri"), on="uri", how="left")
    reason = pl.coalesce("in quarantine: " + pl.col("reason"), "is " + pl.col("medium"), pl.lit("not in the table"))
    return dict(sorted(Counter(told.select(reason=reason).get_column("reason").to_list()).items()))


def _encoded(searcher: Searcher, texts: pl.DataFrame) -> tuple[Candidates, dict[str, int]]:
    """Texts as candidates, in their order, and how many have no vector, by reason."""
    if texts.is_empty() or "text" not in searcher.space.encoders:
        return _texts([], np.zeros((0, searcher.space.dimension), np.float32), np.zeros(0, np.int64)), (
            {"the space reads no text": texts.height} if texts.height else {}
        )
    encoded = embed_texts(searcher.encoder("text", "the pairs' texts"), texts.get_column("text").to_list())
    contents = texts.get_column("text_content")[encoded.kept].to_list()
    return _texts(contents, encoded.vectors, encoded.owner), dict(Counter(encoded.failed.values()))


def _texts(contents: list[str], vectors: np.ndarray, owner: np.ndarray) -> Candidates:
    counts = np.bincount(owner, minlength=len(contents)).astype(np.int64)
    objects = pl.DataFrame(
        {
            "medium": ["text"] * len(contents),
            "uri": contents,
            "content_hash": contents,
            "rows": counts,
            "first": np.cumsum(counts) - counts,
        },
        schema={"medium": pl.String, "uri": pl.String, "content_hash": pl.String, "rows": pl.Int64, "first": pl.Int64},
    )
    return Candidates(objects, vectors)


def _verdict(score: Score, outcomes: list[Outcome], pairs: int) -> str:
    if missed := [o for o in outcomes if not o.met]:
        told = ", ".join(f"{o.direction} {o.metric} is {o.value:.3f} and not {o.least:g}" for o in missed)
        return f"{len(missed)} of {len(outcomes)} thresholds missed: {told}"
    figures = {name: direction.figures["recall@1"].value for name, direction in score.directions.items()}
    if score.mixed is not None:
        figures[MIXED] = score.mixed.figures["recall@1"].value
    told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    met = f"; {len(outcomes)} of {len(outcomes)} thresholds met" if outcomes else ""
    return f"recall@1 of {pairs:,} pairs: {told}{met}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in counts.items())
