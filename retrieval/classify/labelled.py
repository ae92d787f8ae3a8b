"""Objects whose class is known: matched with a table's by URI, one for each content, counted where they are of no use, split by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from retrieval.errors import QueryError
from storage.folder import below, name_to_key

COLUMNS = ("uri", "label")
LEARNED = 2  # examples of a class that a split leaves to be learned from: one in each fold


@dataclass(frozen=True)
class Labelled:
    """Examples, one for each content.

    Parameters
    ----------
    places : int64 (n,), of each example among the objects that it was matched with, ascending.
    contents : n hex digests, the content of each.
    labels : n strings.
    counts : rows of the list, and how many of them were used and left out: unlabelled (no URI or no label), unknown (the table has no such
        object), outside (the filters leave it out), repeated (its content stands in another row with the same label, under whatever
        name), contradicting (its content stands there with another label, too), learned (see `without`).
    unknown : up to three of the URIs that the table does not have.
    """

    places: np.ndarray
    contents: list[str]
    labels: list[str]
    counts: dict[str, int]
    unknown: tuple[str, ...]

    def without(self, other: Labelled) -> Labelled:
        """Those whose content is not among another's examples; the rest is counted as learned."""
        seen = set(other.contents)
        kept = [place for place, content in enumerate(self.contents) if content not in seen]
        counts = self.counts | {"used": len(kept), "learned": len(self.contents) - len(kept)}
        return Labelled(self.places[kept], [self.contents[k] for k in kept], [self.labels[k] for k in kept], counts, self.unknown)


def read(table: pl.DataFrame, root: str = "") -> pl.DataFrame:
    """uri and label of every row of a list, as strings, null where they are empty.

    Parameters
    ----------
    table : has these two columns; labels may be numbers, too.
    root : where relative URIs begin; an absolute path of this machine becomes a file:// URI.

    Raises
    ------
    QueryError : a column is missing, or holds what is no label.
    """
    lacking = [name for name in COLUMNS if name not in table.columns]
    if lacking:
        has = ", ".join(table.columns) or "none"
        raise QueryError(f"examples have no column {' and no column '.join(lacking)}; they have {has}. Needed are uri and label")
    cells = [_texts(table.get_column(name)) for name in COLUMNS]
    names = cells[0].drop_nulls().unique()
    uris = pl.Series([_absolute(name, root) for name in names], dtype=pl.String)
    return pl.DataFrame({"uri": cells[0].replace_strict(names, uris, default=None), "label": cells[1]})


def match(examples: pl.DataFrame, objects: pl.DataFrame, known: Callable[[], pl.Series]) -> Labelled:
    """The examples that are among some objects.

    Parameters
    ----------
    examples : uri and label, as `read` gives them.
    objects : uri and content_hash, one line an object.
    known : gives the URIs of all objects of the table; asked only if an example is not among `objects`.
    """
    filled = examples.drop_nulls()
    found = filled.join(objects.select("uri", "content_hash").with_row_index("place"), on="uri", how="left", maintain_order="left")
    lost = found.filter(pl.col("place").is_null()).get_column("uri")
    outside = lost.is_in(known().implode()) if len(lost) else pl.Series([], dtype=pl.Boolean)
    there = found.drop_nulls("place").with_columns(labels=pl.col("label").n_unique().over("content_hash"))
    agreed = there.filter(pl.col("labels") == 1)
    once = agreed.unique("content_hash", keep="first", maintain_order=True).sort("place")
    counts = {
        "rows": examples.height,
        "used": once.height,
        "unlabelled": examples.height - filled.height,
        "unknown": len(lost) - int(outside.sum()),
        "outside": int(outside.sum()),
        "repeated": agreed.height - once.height,
        "contradicting": there.height - agreed.height,
        "learned": 0,
    }
    strangers = tuple(lost.filter(~outside).unique(maintain_order=True).head(3))
    contents, labels = (once.get_column(name).to_list() for name in ("content_hash", "label"))
    return Labelled(once.get_column("place").to_numpy().astype(np.int64), contents, labels, counts, strangers)


def held_out(contents: Sequence[str], labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which examples are kept to be judged by: bool (n,), about `share` of each class, and always two of it left to learn from.

    Which they are depends on the hash of (seed, content), so that a content stands on one side only, whatever it is called and in whatever
    order the examples come.
    """
    drawn = np.array([hashlib.sha256(f"{seed}:{content}".encode()).hexdigest() for content in contents])
    out = np.zeros(len(contents), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number = min(round(share * len(members)), max(0, len(members) - LEARNED))
        out[members[np.argsort(drawn[members])[:number]]] = True
    return out


def _texts(column: pl.Series) -> pl.Series:
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise QueryError(f"column {column.name!r} of the examples holds {column.dtype}; a URI and a label are texts, one a row")
    texts = column.cast(pl.String)
    return texts.to_frame("text").select(pl.when(pl.col("text").str.strip_chars() != "").then(pl.col("text").str.strip_chars())).to_series()


def _absolute(uri: str, root: str) -> str:
    if "://" in uri:
        return uri
    if uri.startswith("/"):
        return f"file://{name_to_key(uri)}"
    return below(root, uri) if root else uri
