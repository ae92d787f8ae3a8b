"""How much of what exact search finds a table's vector index finds, too: recall@10, and the settings that reach a target.

Questions are the table's own rows, drawn at random: any row among all rows, and rows of each modality among those of each other, since a
text lies far from all pictures and is harder for an index than a picture is (Liang et al., "Mind the Gap", NeurIPS 2022; for graphs and
inverted files see Jaiswal et al., "OOD-DiskANN", 2022). A row never answers itself.

A found row counts if it scores at least what the tenth of the exact ten scores: copies of one object are as good as each other.

What is sure is Wilson's lower bound of a proportion, which stays below 1 even where all questions find all (Wilson, "Probable Inference,
the Law of Succession, and Statistical Inference", JASA 22, 1927). Shares of ten lie between 0 and 1, so an effective number of questions
takes the place of their number (Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts
Estimated from Survey Data", Survey Methodology 24, 1998).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import ceil, sqrt
from statistics import NormalDist, median
from time import perf_counter
from typing import NamedTuple

import lance
import numpy as np
import pyarrow as pa
from lancedb.table import Table

from storage.faults import told
from storage.index import WIDEST, SearchSettings, nearest
from storage.replace import AHEAD, BATCH
from storage.table import literal

DEPTH = 10
QUESTIONS = 300  # of each kind: a recall of 0.98 is known to about 0.004
ALL = "all"
_Z95 = NormalDist().inv_cdf(0.95)  # of a normal distribution, 95% lie below so many standard deviations: 1.645
_TIE = 1e-6  # float32 sums of unit vectors differ by less, whatever the order of their terms
_SCORES = 1 << 22  # scores held at once: 16 MB


@dataclass(frozen=True)
class Questions:
    """Rows of the table as queries of one kind.

    Parameters
    ----------
    name : "all", or the modalities asked with and looked for, such as "text>image".
    among : the modality looked for; `None`: any row.
    vectors : float32 (n, dimension), those of the table, of length one.
    own : uint64 (n,), the ids of these rows, which are left out of what is found.
    whole : whether these are all the rows there are to ask with, so that what they find is no matter of chance.
    """

    name: str
    among: str | None
    vectors: np.ndarray
    own: np.ndarray
    whole: bool = False


@dataclass(frozen=True)
class Recall:
    """What one setting finds.

    Parameters
    ----------
    by_kind : recall@10 of each kind of question, 0 to 1.
    sure : of each kind, what all rows surely find: the lower end of a one-sided interval of 95% (`lower_bound`), or `by_kind` itself where
        all rows were asked.
    milliseconds : median time of one search of this process.
    """

    settings: SearchSettings
    by_kind: dict[str, float]
    sure: dict[str, float]
    milliseconds: float

    @property
    def least(self) -> float:
        """What is sure of the kind that fares worst; 1 where there is nothing to ask."""
        return min(self.sure.values(), default=1.0)


def draw(table: Table, questions: int = QUESTIONS, seed: int = 1) -> list[Questions]:
    """Questions of every kind that the table's modalities allow, up to `questions` of each, the same for the same rows and seed."""
    with told(f"drawing rows of table {table.name!r}"):
        dataset = table.to_lance()
        drawn = _reservoirs(dataset, questions, seed)
        modalities = sorted(drawn.keys() - {ALL})
        vectors = {name: _vectors(dataset.take(each.places, columns=["vector"])["vector"]) for name, each in drawn.items()}
    kinds: list[tuple[str, str, str | None]] = [(ALL, ALL, None)] if ALL in drawn else []
    kinds += [(f"{asked}>{found}", asked, found) for asked, found in permutations(modalities, 2)]
    return [Questions(name, among, vectors[asked], drawn[asked].ids, drawn[asked].whole) for name, asked, among in kinds]


def exact(table: Table, questions: Sequence[Questions]) -> list[np.ndarray]:
    """For each kind of question the scores of the ten nearest rows, by looking at every row once.

    Returns
    -------
    Of each kind float32 (n, 10), cosine similarities, ascending; -inf where there are fewer rows. Memory: some 50 MB, whatever the table.
    """
    best = [np.full((len(each.vectors), DEPTH), -np.inf, np.float32) for each in questions]
    most = max(1, _SCORES // max((len(each.vectors) for each in questions), default=1))
    with told(f"searching table {table.name!r} exactly"):
        for batch in _scan(table.to_lance(), ["modality", "vector"]):
            modality = np.asarray(batch["modality"])
            for low in range(0, len(batch), most):
                rows = slice(low, low + most)
                block = _vectors(batch["vector"][rows])
                for place, each in enumerate(questions):
                    chosen = modality[rows] == each.among if each.among else np.ones(len(block), bool)
                    best[place] = _better(best[place], each, block[chosen], batch["_rowid"].to_numpy()[rows][chosen])
    return [np.sort(scores, axis=1) for scores in best]


def measure(table: Table, questions: Sequence[Questions], truth: Sequence[np.ndarray], settings: SearchSettings) -> Recall:
    """Recall@10 of the version at which `table` stands, asked as readers ask it, one question at a time."""
    seconds: list[float] = []
    shares = {}
    with told(f"searching table {table.name!r}"):
        for each, scores in zip(questions, truth, strict=True):
            found = [_found(table, each, place, settings, float(least), seconds) for place, least in enumerate(_floors(scores))]
            right = np.isfinite(scores).sum(axis=1)
            shares[each.name] = np.where(right, found, 1) / np.maximum(right, 1)
    by_kind = {name: float(share.mean()) for name, share in shares.items()}
    sure = {each.name: by_kind[each.name] if each.whole else lower_bound(shares[each.name]) for each in questions}
    return Recall(settings, by_kind, sure, round(1000 * median(seconds), 3) if seconds else 0.0)


def lower_bound(shares: np.ndarray) -> float:
    """What the mean of all questions is at least, with a confidence of some 95%, by the shares that a draw of them found.

    Wilson's bound of a proportion p, with the effective number of questions n p (1 - p) / s²: n if each finds all or nothing, more if their
    shares lie closer together. Where all shares are the same it is n: nothing is known of how others differ.

    Parameters
    ----------
    shares : float (n,), each 0 to 1; n is at least 1.
    """
    mean, number = float(shares.mean()), float(len(shares))
    if shares.min() < shares.max():  # the variance of equal shares is not always 0 in floating point
        number *= mean * (1 - mean) / float(shares.var())
    half = _Z95**2 / (2 * number)
    return (mean + half - _Z95 * sqrt((mean * (1 - mean) + half / 2) / number)) / (1 + 2 * half)


def least_questions(target: float) -> int | None:
    """How many questions must find all for `lower_bound` to reach a target; `None` for 1, which no draw shows."""
    return ceil(target * _Z95**2 / (1 - target)) if target < 1 else None


def flat_milliseconds(table: Table, questions: Sequence[Questions], count: int) -> float:
    """Median time of a search of every row, of the first few questions of the first kind; 0 where there are none."""
    seconds = []
    with told(f"searching table {table.name!r}"):
        for vector in questions[0].vectors[:count] if questions else ():
            began = perf_counter()
            nearest(table, vector, SearchSettings()).bypass_vector_index().limit(DEPTH).select(["_distance"]).to_arrow()
            seconds.append(perf_counter() - began)
    return round(1000 * median(seconds), 3) if seconds else 0.0


def raised(ask: Callable[[SearchSettings], Recall], target: float, start: SearchSettings, most: SearchSettings = WIDEST) -> list[Recall]:
    """What was measured while settings were raised until every kind of question surely reached `target`, the one to keep last.

    In each round the partitions searched and the candidates refined are doubled in turn, and the one that helps more is taken. If the last
    one misses the target, no setting up to `most` reaches it.
    """
    at = SearchSettings(min(start.nprobes, most.nprobes), min(start.refine, most.refine))
    measured = {at: ask(at)}
    while measured[at].least < target:
        wider = SearchSettings(min(2 * at.nprobes, most.nprobes), at.refine)
        deeper = SearchSettings(at.nprobes, min(2 * at.refine, most.refine))
        options = [option for option in (wider, deeper) if option != at]
        if not options:
            break
        measured |= {option: ask(option) for option in options}
        at = max(options, key=lambda option: (measured[option].least, sum(measured[option].by_kind.values())))
    return [recall for settings, recall in measured.items() if settings != at] + [measured[at]]


class _Drawn(NamedTuple):
    """Rows drawn: their places, ascending int64; their ids, uint64; whether these are all."""

    places: np.ndarray
    ids: np.ndarray
    whole: bool


def _reservoirs(dataset: lance.LanceDataset, most: int, seed: int) -> dict[str, _Drawn]:
    """Rows drawn from all and from each modality.

    Each row gets a random key, and the smallest are kept: one pass over a narrow column, in the memory of what is kept.
    """
    random = np.random.default_rng(seed)
    kept: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    seen: Counter[str] = Counter()
    at = 0
    for batch in _scan(dataset, ["modality"]):
        keys, places, ids = random.random(len(batch)), np.arange(at, at + len(batch)), batch["_rowid"].to_numpy()
        modality = np.asarray(batch["modality"])
        for name in (ALL, *np.unique(modality)):
            chosen = np.ones(len(batch), bool) if name == ALL else modality == name
            new = (keys[chosen], places[chosen], ids[chosen])
            whole = new if name not in kept else tuple(np.concatenate(pair) for pair in zip(kept[name], new, strict=True))
            first = np.argsort(whole[0], kind="stable")[:most]
            kept[str(name)] = tuple(part[first] for part in whole)  # type: ignore[assignment]
            seen[str(name)] += int(chosen.sum())
        at += len(batch)
    orders = {name: np.argsort(places) for name, (_, places, _) in kept.items()}
    return {name: _Drawn(places[orders[name]], ids[orders[name]], seen[name] <= most) for name, (_, places, ids) in kept.items()}


def _better(best: np.ndarray, questions: Questions, vectors: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The ten best scores of each question, some further rows considered."""
    if not len(vectors) or not len(questions.vectors):
        return best
    scores = questions.vectors @ vectors.T  # (n, rows)
    scores[questions.own[:, None] == ids[None, :]] = -np.inf
    gains = scores.max(axis=1) > best.min(axis=1)  # few, once some batches have passed
    both = np.concatenate([best[gains], scores[gains]], axis=1)
    merged = best.copy()
    merged[gains] = np.partition(both, -DEPTH, axis=1)[:, -DEPTH:]
    return merged


def _floors(scores: np.ndarray) -> np.ndarray:
    """What a row must score to be one of the exact ten, or of as many as there are."""
    least: np.ndarray = np.where(np.isfinite(scores), scores, np.inf).min(axis=1, initial=np.inf)
    return least - _TIE


def _found(table: Table, asked: Questions, place: int, settings: SearchSettings, least: float, seconds: list[float]) -> int:
    """How many of the exact ten a search finds."""
    vector = asked.vectors[place]
    where = f"modality = {literal(asked.among)}" if asked.among else ""
    began = perf_counter()
    rows = nearest(table, vector, settings, where).with_row_id(True).limit(DEPTH + 1).select(["vector", "_distance"]).to_arrow()
    seconds.append(perf_counter() - began)
    others = rows.filter(pa.array(rows["_rowid"].to_numpy() != asked.own[place]))[:DEPTH]
    return int((_vectors(others["vector"]) @ vector >= least).sum())


def _scan(dataset: lance.LanceDataset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    scanner = dataset.scanner(
        columns=list(columns), with_row_id=True, batch_size=BATCH, batch_readahead=AHEAD, fragment_readahead=AHEAD, scan_in_order=True
    )
    yield from scanner.to_batches()


def _vectors(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Float32 (rows, dimension) of a column of fixed-size lists, made of length one again: float16 rounds it away by up to 0.0005, which
    is more than many neighbours differ by, and the engine divides by it, too."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    vectors: np.ndarray = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
