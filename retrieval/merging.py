"""Several ranked lists into one: in proportion to shares, and without repeating itself. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def interleave(lists: Sequence[Sequence[Hashable]], shares: Sequence[float], limit: int) -> list[tuple[int, int]]:
    """The first `limit` of several lists, each in proportion to its share, however early one stops reading.

    Each place goes to the list with the largest share / (2 given + 1), where `given` counts what it has already: Webster's method, also
    Sainte-Laguë's (Balinski & Young 1982, "Fair Representation"). Proportions of what a user likes, kept in the list, are calibrated
    recommendations (Steck 2018).

    Parameters
    ----------
    lists : names, best first; a name that stands in several is taken once, by the list whose turn comes first.
    shares : one for each list, not negative.

    Returns
    -------
    The list and the place in it of each one taken, in order; fewer than `limit` where the lists end.
    """
    taken: list[tuple[int, int]] = []
    names: set[Hashable] = set()
    at, given = [0] * len(lists), [0] * len(lists)
    while len(taken) < limit:
        for number, each in enumerate(lists):
            while at[number] < len(each) and each[at[number]] in names:
                at[number] += 1
        left = [number for number in range(len(lists)) if at[number] < len(lists[number])]
        if not left:
            break
        turn = max(left, key=lambda number: (shares[number] / (2 * given[number] + 1), -number))
        taken.append((turn, at[turn]))
        names.add(lists[turn][at[turn]])
        given[turn] += 1
    return taken


def diverse(scores: np.ndarray, vectors: np.ndarray, diversity: float, limit: int) -> np.ndarray:
    """Places of the first `limit` by maximal marginal relevance: int64 (at most limit,).

    Each next one has the largest (1 - diversity) score - diversity * (its largest cosine to one that stands before it). Carbonell &
    Goldstein 1998, "The use of MMR", with lambda = 1 - diversity.

    Parameters
    ----------
    scores : (n,) cosines to what is asked.
    vectors : (n, d) unit vectors.
    diversity : 0 (by score alone) to 1 (after the first, by distance alone).
    """
    closest = np.full(len(scores), -1.0)
    chosen: list[int] = []
    open_places = np.ones(len(scores), bool)
    for number in range(min(limit, len(scores))):
        worth = (1 - diversity) * scores - diversity * closest if number else scores
        best = int(np.where(open_places, worth, -np.inf).argmax())
        chosen.append(best)
        open_places[best] = False
        closest = np.maximum(closest, vectors @ vectors[best])
    return np.array(chosen, np.int64)
