"""The map: every object of the table as a point, near to what it is like."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from retrieval.page.items import id_of
from retrieval.page.library import Library

if TYPE_CHECKING:
    import numpy as np

    from retrieval.candidates import Candidates

MOST = 20_000
"""Points: of more objects, so many are drawn by lot."""

LAID_OUT = 2_000
"""Points that are laid out against each other, which takes seconds; the others are put among their nearest of these."""

SEED = 0


class Maps:
    """The map of a library, made once for each version of its table.

    Parameters
    ----------
    library : whose table is drawn.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}

    def told(self) -> dict[str, Any]:
        """The published version, columns id, name, medium, x and y (0 to 1) of its points, and how many objects there are.

        The first answer for each version takes some 6 s of one processor for 2,000 objects, and 10 s for 20,000 or more.
        """
        searcher = self._library.searcher
        with self._lock:
            if self._made.get("version") != searcher.table.version:
                from retrieval import candidates

                self._made = {"version": int(searcher.table.version)} | points(candidates.read(searcher.table))
            return self._made


def points(held: Candidates) -> dict[str, Any]:
    """The points of some objects, each at the place of its mean vector."""
    import numpy as np

    from retrieval.plane import plane

    count = held.objects.height
    chosen = np.arange(count)
    if count > MOST:
        chosen = np.sort(np.random.default_rng(SEED).choice(count, MOST, replace=False))
    shown = held.objects[chosen]
    places = _fitted(plane(_means(held, chosen), seed=SEED, most=LAID_OUT)) if count else np.zeros((0, 2), np.float32)
    uris = shown.get_column("uri").to_list()
    return {
        "ids": [id_of(uri) for uri in uris],
        "names": [uri.rstrip("/").rpartition("/")[2] or uri for uri in uris],
        "media": shown.get_column("medium").to_list(),
        "versions": [value[:12] for value in shown.get_column("content_hash").to_list()],
        "x": places[:, 0].round(4).tolist(),
        "y": places[:, 1].round(4).tolist(),
        "objects": count,
    }


def _means(held: Candidates, chosen: np.ndarray) -> np.ndarray:
    """Unit means of each object's vectors, float32 (objects, dimension); of vectors that cancel each other out, the first."""
    import numpy as np

    means = np.empty((len(chosen), held.vectors.shape[1]), np.float32)
    for place, row in enumerate(chosen.tolist()):
        vectors = held.rows_of(row)
        mean = vectors.mean(axis=0)
        length = float(np.linalg.norm(mean))
        means[place] = mean / length if length > 1e-6 else vectors[0]
    return means


def _fitted(places: np.ndarray) -> np.ndarray:
    """Places moved and scaled, both axes alike, into the unit square."""
    import numpy as np

    low, high = places.min(axis=0), places.max(axis=0)
    side = max(float((high - low).max()), 1e-9)
    fitted: np.ndarray = np.clip((places - (low + high) / 2) / side + 0.5, 0.0, 1.0).astype(np.float64)
    return fitted
