"""Near-duplicates: groups of what is alike but for its encoding, its size or its edges; found in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from retrieval.errors import QueryError
from retrieval.units import Units

BLOCK = 2048  # rows compared at once: 16 MB of cosines
HELD = 1 << 20  # pairs held before they are merged into groups: 16 MB
TIE = 1e-6  # float32 sums of unit vectors differ by less: a vector's cosine with itself is seldom 1 exactly


@dataclass(frozen=True)
class Group:
    """Things that are alike, each like at least one other of them.

    Parameters
    ----------
    members : rows, ascending.
    contents : of each member the number, from 0, of its content: equal numbers are exact copies.
    cosines : of each member, with the first one.
    """

    members: tuple[int, ...]
    contents: tuple[int, ...]
    cosines: tuple[float, ...]

    @property
    def exact(self) -> bool:
        """Whether all are copies of one content."""
        return set(self.contents) == {0}


def duplicates(
    vectors: np.ndarray,
    contents: Sequence[str],
    threshold: float,
    *,
    within: Sequence[str] | None = None,
    owners: Sequence[str] | None = None,
    block: int = BLOCK,
) -> list[Group]:
    """Groups of rows whose cosine is at least a threshold, or whose content is the same.

    They are the connected components of such pairs: a chain of small differences is one group, so that its ends may be less alike than
    the threshold. Takes time in the square of n, and memory for n rows and a block of cosines.

    Parameters
    ----------
    vectors : (n, d), of unit length.
    contents : n names of contents, such as hashes; of segments, with their number.
    threshold : cosine, above 0 and at most 1; pairs that lack less than a millionth of it are taken, so that 1 finds equal vectors.
    within : n names; only rows of one name are compared, such as media, which have no duplicates in each other. Copies always count.
    owners : n names; rows of one are not compared with each other, such as segments of one object.

    Returns
    -------
    The largest group first, then in order of their first members.

    Raises
    ------
    QueryError : `threshold` is none.
    """
    if not 0 < threshold <= 1:
        raise QueryError(f"the threshold is {threshold}; it must be a cosine above 0 and at most 1, such as 0.95")
    pairs = _Pairs(len(vectors))
    pairs.add(*_copies(_numbers(contents)))
    whose = np.arange(len(vectors)) if owners is None else _numbers(owners)
    for rows in _comparable(within, len(vectors)):
        for one, other in _near(vectors, rows, threshold, block):
            apart = whose[one] != whose[other]
            pairs.add(one[apart], other[apart])
    groups = (_group(vectors, contents, members) for members in pairs.groups())
    return sorted(groups, key=lambda group: (-len(group.members), group.members))


def among(units: Units, threshold: float) -> list[Group]:
    """Groups among the objects or segments of a table: objects of one medium, segments of one modality and of different objects."""
    within = units.column("modality" if units.segments else "medium")
    owners = units.column("uri") if units.segments else None
    return duplicates(units.vectors, units.contents, threshold, within=within, owners=owners)


def rows(units: Units, groups: Sequence[Group]) -> pl.DataFrame:
    """One line for each member: group, from 0, uri, segment, medium, content, copy, cosine, size, content_hash.

    `content` and `cosine` as in `Group`; `copy` tells whether the content stands in the group before.
    """
    members = [row for group in groups for row in group.members]
    told = {
        "group": [number for number, group in enumerate(groups) for _ in group.members],
        "content": [content for group in groups for content in group.contents],
        "copy": [content in group.contents[:k] for group in groups for k, content in enumerate(group.contents)],
        "cosine": [cosine for group in groups for cosine in group.cosines],
    }
    schema = {"group": pl.Int64, "content": pl.Int64, "copy": pl.Boolean, "cosine": pl.Float64}
    named = units.told[members].select("uri", "segment", "medium", "size", "content_hash")
    return (
        pl.DataFrame(told, schema=schema)
        .hstack(named)
        .select("group", "uri", "segment", "medium", "content", "copy", "cosine", "size", "content_hash")
    )


def report(units: Units, groups: Sequence[Group], threshold: float) -> dict[str, Any]:
    """Counts: units, groups, members; copies, whose content stands in their group before; near, the others but each group's first."""
    members = sum(len(group.members) for group in groups)
    different = sum(len(set(group.contents)) for group in groups)
    return {
        "unit": units.noun,
        "units": len(units),
        "threshold": threshold,
        "groups": len(groups),
        "members": members,
        "copies": members - different,
        "near": different - len(groups),
    }


class _Pairs:
    """Pairs of n rows, of which only what they connect is kept."""

    def __init__(self, n: int) -> None:
        self.component = np.arange(n)
        self.held: list[np.ndarray] = []  # each (2, pairs)
        self.count = 0

    def add(self, one: np.ndarray, other: np.ndarray) -> None:
        self.held.append(np.stack([one, other]))
        self.count += len(one)
        if self.count > HELD:
            self._merge()

    def _merge(self) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self.component)
        one, other = np.concatenate([np.stack([np.arange(n), self.component]), *self.held], axis=1)
        _, labels = connected_components(coo_array((np.ones(len(one), bool), (one, other)), shape=(n, n)), directed=False)
        _, firsts, inverse = np.unique(labels, return_index=True, return_inverse=True)
        self.component = firsts[inverse]  # each component goes by the first of its rows
        self.held, self.count = [], 0

    def groups(self) -> Iterator[np.ndarray]:
        self._merge()
        order = np.argsort(self.component, kind="stable")
        starts = np.flatnonzero(np.diff(self.component[order], prepend=-1))
        return (members for members in np.split(order, starts[1:]) if len(members) > 1)


def _numbers(names: Sequence[str]) -> np.ndarray:
    """A number for each name, equal for equal ones: int64 (n,)."""
    numbers: np.ndarray = pl.Series(names, dtype=pl.String).rank("dense").cast(pl.Int64).to_numpy()
    return numbers


def _copies(contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row whose content came before, and the first of that content."""
    _, firsts, inverse = np.unique(contents, return_index=True, return_inverse=True)
    rows = np.flatnonzero(firsts[inverse] != np.arange(len(contents)))
    return rows, firsts[inverse][rows]


def _comparable(within: Sequence[str] | None, n: int) -> Iterator[np.ndarray]:
    if within is None:
        yield np.arange(n)
        return
    names = _numbers(within)
    for name in np.unique(names):
        yield np.flatnonzero(names == name)


def _near(vectors: np.ndarray, rows: np.ndarray, threshold: float, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows, each once, a block at a time."""
    for low in range(0, len(rows), block):
        ours = rows[low : low + block]
        for high in range(low, len(rows), block):
            theirs = rows[high : high + block]
            cosines = vectors[ours].astype(np.float32) @ vectors[theirs].astype(np.float32).T
            one, other = np.nonzero(cosines >= threshold - TIE)
            later = ours[one] < theirs[other]
            yield ours[one[later]], theirs[other[later]]


def _group(vectors: np.ndarray, contents: Sequence[str], members: np.ndarray) -> Group:
    numbers: dict[str, int] = {}
    told = tuple(numbers.setdefault(contents[row], len(numbers)) for row in members)
    cosines = vectors[members].astype(np.float32) @ vectors[members[0]].astype(np.float32)
    return Group(tuple(members.tolist()), told, tuple(float(c) for c in np.minimum(cosines, 1)))
