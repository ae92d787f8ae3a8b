"""Whether anything in a table fits a question at all, so that nonsense gets an empty answer.

The nearest segment always has some score, and the score that nonsense gets differs from modality to modality and from segment to segment.
So an answer is judged by its excess: how much better the question does with a segment than questions do that fit nothing, in directions in
which those do not vary anyway:

    excess(q, v) = (q - b)' (S + s I)^-1 (v - c)

b and S are mean and covariance of questions that fit nothing, s the mean of their variances, c the mean of the segments of one modality.
It is the linear discriminant between nonsense and a question that is like v (Fisher 1936; regularised as in Friedman 1989): a segment that
is near to whatever is asked (a hub, Radovanović et al. 2010) loses its advantage. The threshold is a quantile of the best excess that
further such questions find in this very table. docs/search.md says how well it parts them, and how much worse plain scores do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from encoders.spec import Modality
from encoders.stacking import encoded
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import Hit, Searcher
from retrieval.query_texts import embed_texts
from retrieval.search import nonsense
from storage import batches, fitting
from storage.replace import scan
from storage.table import count

NUMBER = 300  # questions of each modality that fit nothing: a third each for the background, the threshold and the measurement
FEWEST = 30
KNOWN = 300  # segments of the table that stand for questions that fit, where no queries are given
WRONG = 0.1

Nearest = Callable[[np.ndarray, Filter], list[Hit]]


@dataclass(frozen=True)
class Threshold:
    """What answers of one modality must exceed to a question of one modality.

    Parameters
    ----------
    asked, found : the two modalities.
    background, centre : float32 (d,): `b` and `c` of this module's docstring.
    precision : float32 (d, d): its (S + s I)^-1.
    threshold : the least excess of an answer.
    """

    asked: str
    found: str
    background: np.ndarray
    centre: np.ndarray
    precision: np.ndarray
    threshold: float

    def direction(self, queried: np.ndarray) -> np.ndarray:
        """Of questions (n, d), the vectors (n, d) whose inner product with a segment less the centre is its excess."""
        along: np.ndarray = (queried - self.background) @ self.precision
        return along

    def excess(self, queried: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Of segments (n, d), for the best window of a question (windows, d): (n,)."""
        best: np.ndarray = ((vectors - self.centre) @ self.direction(queried).T).max(axis=1)
        return best


@dataclass(frozen=True)
class Fitting:
    """Thresholds for questions of one modality, one for each modality that is found."""

    asked: str
    thresholds: Sequence[Threshold]

    def found(self, searcher: Searcher, queried: np.ndarray, keep: Filter, nearest: Nearest) -> list[Hit]:
        """The segments that exceed their threshold, the best by score first, of those that `nearest` finds by excess in each modality.

        Raises
        ------
        QueryError : only a modality is asked for that has no threshold.
        """
        used = [each for each in self.thresholds if keep.modality in (None, each.found)]
        if not used:
            raise QueryError(
                f"nothing says what {keep.modality} must exceed to answer {self.asked}; run `sensorium calibrate` on this table"
            )
        hits = [hit for each in used for hit in _exceeding(searcher, each, queried, keep, nearest)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.uri, hit.segment))


def _exceeding(searcher: Searcher, threshold: Threshold, queried: np.ndarray, keep: Filter, nearest: Nearest) -> list[Hit]:
    # For one window the excess is, but for a constant, a multiple of the cosine to its direction: so the engine finds the best.
    hits = nearest(_unit(threshold.direction(queried)), replace(keep, modality=threshold.found))
    vectors = searcher.vectors_at(hits)
    good = threshold.excess(queried, vectors) > threshold.threshold
    scores = (vectors @ queried.T).max(axis=1)
    return [replace(hit, score=float(scores[place])) for place, hit in enumerate(hits) if good[place]]


def read(searcher: Searcher, asked: str) -> Fitting:
    """The thresholds that `calibrate` left for questions of one modality.

    Raises
    ------
    QueryError : it left none.
    """
    lines = fitting.load(searcher.database, searcher.name, searcher.generation).filter(pl.col("asked") == asked)
    if lines.is_empty():
        raise QueryError(f"nothing says what answers to {asked} must exceed in table {searcher.name!r}; run `sensorium calibrate` first")
    return Fitting(asked, [_threshold(line) for line in lines.sort("found").iter_rows(named=True)])


def calibrate(
    searcher: Searcher, known: Sequence[str] = (), nothing: Sequence[str] = (), *, wrong: float = WRONG, seed: int = 0
) -> pl.DataFrame:
    """Measure what questions that fit nothing get from this table, and keep what answers must exceed.

    Parameters
    ----------
    known : texts that something in the table answers, for `kept` and `auc`; where none are given, segments of the table itself stand for
        them, each without its own object. They move no threshold.
    nothing : texts that nothing answers; where none are given, made-up words (`retrieval.search.nonsense`).
    wrong : the share of questions that fit nothing which may get an answer of one modality.

    Returns
    -------
    One line for each modality asked with and each one found: threshold, wrong (measured on questions that have set neither background nor
    threshold), kept (share of the known ones that get an answer), auc (by excess) and auc_cosine (by cosine similarity) of the best answer
    of known ones against those that fit nothing.

    Raises
    ------
    QueryError : too few texts are given that nothing answers, or the table's encoders take too few questions for any threshold.
    """
    lines, taken = [], dict[str, int]()
    found = count(searcher.table).get_column("modality").unique().sort().to_list()
    if not found:
        raise QueryError(f"table {searcher.name!r} holds nothing that could be found; embed something first")
    centres = {modality: _centre(searcher, modality) for modality in found}
    for asked in searcher.space.encoders:
        background = _background(searcher, asked, nothing, seed)
        taken[asked] = len(background)
        if len(background) < FEWEST:
            continue  # an encoder that refuses nonsense needs no threshold; of videos none is made
        fits, own = _known(searcher, asked, known, seed)
        lines += [_line(searcher, asked, modality, centres[modality], background, fits, own, wrong) for modality in found]
    if not lines:
        counts = ", ".join(f"{number} of {asked}" for asked, number in taken.items())
        raise QueryError(
            f"nothing can be measured: of the {len(nothing) or NUMBER} questions that fit nothing the encoders take {counts}, needed are "
            f"{FEWEST}; give texts of words that the encoder knows and nothing in the table answers: --nonsense FILE"
        )
    told = pl.DataFrame(lines, schema=pl.DataFrame(fitting.FITTING.empty_table()).schema)
    fitting.save(searcher.database, searcher.name, told)
    return told.drop("background", "centre", "precision")


def _line(
    searcher: Searcher,
    asked: str,
    found: str,
    centre: np.ndarray,
    background: np.ndarray,
    fits: np.ndarray,
    own: Sequence[str],
    wrong: float,
) -> dict[str, Any]:
    first, second, third = np.array_split(background, 3)
    rule = Threshold(asked, found, first.mean(axis=0), centre, precision(first), 0.0)
    threshold = float(np.quantile(_best(searcher, rule, second)[0], 1 - wrong, method="higher"))
    nothing, nothing_cosine = _best(searcher, rule, third)
    known, known_cosine = _best(searcher, rule, fits, own)
    return {
        "asked": asked,
        "found": found,
        "generation": searcher.generation,
        "background": rule.background.tolist(),
        "centre": centre.tolist(),
        "precision": rule.precision.tobytes(),
        "threshold": threshold,
        "wrong": float((nothing > threshold).mean()),
        "kept": float((known > threshold).mean()) if len(known) else None,
        "auc": _auc(known, nothing),
        "auc_cosine": _auc(known_cosine, nothing_cosine),
        "queries": len(known),
        "version": searcher.table.version,
        "calibrated": datetime.now(UTC),
    }


def _best(searcher: Searcher, rule: Threshold, queries: np.ndarray, own: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Best excess and best cosine similarity that each query (n, d) finds, but in its own object: (n,) each; without the queries that find
    nothing."""
    keep, each = Filter(modality=rule.found), np.arange(len(queries))
    moved = rule.direction(queries)
    lengths = np.linalg.norm(moved, axis=1)
    excess, cosine = [], []
    by_excess = searcher.nearest_of_many(_unit(moved), each, keep=keep, limit=2, per_object=True)
    by_cosine = searcher.nearest_of_many(queries, each, keep=keep, limit=2, per_object=True)
    for place, (one, other) in enumerate(zip(by_excess, by_cosine, strict=True)):
        mine = own[place] if own else None
        scores = [[hit.score for hit in hits if hit.uri != mine] for hits in (one, other)]
        if all(scores):
            excess.append(scores[0][0] * lengths[place] - float(moved[place] @ rule.centre))
            cosine.append(scores[1][0])
    return np.array(excess), np.array(cosine)


def precision(background: np.ndarray) -> np.ndarray:
    """(S + s I)^-1 of questions that fit nothing (n, d): float32 (d, d)."""
    covariance = np.cov(background.astype(np.float64), rowvar=False)
    ridge = max(float(np.trace(covariance)) / len(covariance), 1e-6) * np.eye(len(covariance))
    inverse: np.ndarray = np.linalg.inv(covariance + ridge).astype(np.float32)
    return inverse


def _auc(known: np.ndarray, nothing: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    if not len(known) or not len(nothing):
        return None
    return float(roc_auc_score(np.repeat([1, 0], [len(known), len(nothing)]), np.append(known, nothing)))


def _background(searcher: Searcher, asked: Modality, given: Sequence[str], seed: int) -> np.ndarray:
    """Vectors of questions that fit nothing, in random order: float32 (n, d)."""
    if asked == "text":
        if given and len(given) < FEWEST:
            raise QueryError(
                f"{len(given)} texts that nothing answers are too few to tell by; give {FEWEST}, or none, and some are made up"
            )
        vectors = _of_texts(searcher, list(given) or nonsense.texts(NUMBER, seed, _texts(searcher, seed)))
    elif asked in ("image", "audio"):
        encoder = searcher.encoder(asked, asked)
        made = nonsense.pictures(NUMBER // 3, seed) if asked == "image" else _noises(encoder.spec.preprocessing, seed)
        vectors = encoded(encoder, [encoder.prepare(medium) for medium in made])
    else:
        vectors = np.zeros((0, searcher.dimension), np.float32)
    mixed: np.ndarray = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    return mixed


def _noises(how: Any, seed: int) -> list[np.ndarray]:
    samples = how["window_samples"]
    return [np.resize(sound, samples) for sound in nonsense.sounds(NUMBER // 3, how["sampling_rate"], seed)]


def _of_texts(searcher: Searcher, texts: Sequence[str]) -> np.ndarray:
    """One vector for each text that the encoder takes: float32 (n, d)."""
    told = embed_texts(searcher.encoder("text", "words"), texts)
    sums = np.zeros((len(told.kept), searcher.dimension), np.float32)
    np.add.at(sums, told.owner, told.vectors)
    return _unit(sums)


def _known(searcher: Searcher, asked: Modality, given: Sequence[str], seed: int) -> tuple[np.ndarray, list[str]]:
    """Vectors of questions that fit, float32 (n, d), and the objects they are themselves."""
    if asked == "text" and given:
        return _of_texts(searcher, given), []
    drawn = _drawn(searcher, asked, ["uri", "vector"], KNOWN, seed)
    if drawn.is_empty():
        return np.zeros((0, searcher.dimension), np.float32), []
    return _unit(drawn.get_column("vector").to_numpy().astype(np.float32)), drawn.get_column("uri").to_list()


def _texts(searcher: Searcher, seed: int) -> list[str]:
    drawn = _drawn(searcher, "text", ["text"], KNOWN, seed)
    return drawn.get_column("text").drop_nulls().to_list()


def _drawn(searcher: Searcher, modality: str, columns: list[str], number: int, seed: int) -> pl.DataFrame:
    """Some rows of a modality, drawn evenly."""
    ids = [batch["_rowaddr"].to_numpy() for batch in _rows(searcher, ["uri"], modality, addresses=True)]
    every = np.concatenate(ids) if ids else np.zeros(0, np.uint64)
    chosen = np.sort(np.random.default_rng(seed).permutation(every)[:number])
    return pl.DataFrame(searcher.table.take_row_ids(chosen.tolist()).select(columns).to_arrow())


def _centre(searcher: Searcher, modality: str) -> np.ndarray:
    total, rows = np.zeros(searcher.dimension), 0
    for batch in _rows(searcher, ["vector"], modality):
        total += batches.vectors(batch).sum(axis=0, dtype=np.float64)
        rows += len(batch)
    return (total / rows).astype(np.float32)


def _rows(searcher: Searcher, columns: list[str], modality: str, *, addresses: bool = False) -> Iterator[Any]:
    yield from scan(searcher.table.to_lance(), columns, Filter(modality=modality).sql(), addresses=addresses).to_batches()


def _threshold(line: dict[str, Any]) -> Threshold:
    background, centre = (np.array(line[name], np.float32) for name in ("background", "centre"))
    precision = np.frombuffer(line["precision"], np.float32).reshape(len(centre), len(centre))
    return Threshold(line["asked"], line["found"], background, centre, precision, line["threshold"])


def _unit(vectors: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled
