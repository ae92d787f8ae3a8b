"""Pairs to learn from or to be judged by, read from a file.

Each row of a Parquet, CSV (or TSV) or JSONL file names things that belong together, in columns called text, image, audio and video: a text
as it is, everything else by its URI. A cell may be empty; a row needs two.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import cast

import polars as pl

from encoders.spec import MODALITIES, Modality
from storage import row_files
from storage.folder import below, name_to_key
from storage.objects import open_source

# What such a column is called elsewhere: it would be ignored as none of ours, and the pairs in it with it.
_ALIASES: Mapping[Modality, tuple[str, ...]] = {
    "text": ("texts", "caption", "captions", "sentence", "sentences", "label", "labels", "description"),
    "image": ("images", "picture", "pictures", "photo", "photos", "img", "image_path", "image_url", "image_uri"),
    "audio": ("audios", "sound", "sounds", "wav", "audio_path", "audio_url", "audio_uri"),
    "video": ("videos", "clip", "clips", "film", "films", "video_path", "video_url", "video_uri"),
}


class PairsError(ValueError):
    """A list of pairs cannot be read or used; one clear message."""


@dataclass(frozen=True)
class Pairs:
    """Rows that name at least two things each.

    Parameters
    ----------
    frame : row (its number in the file, from 0) and a string column for each modality: a text, or an absolute URI; null for an empty cell.
    root : what relative URIs were resolved against.
    rows : in the file.
    too_few : rows with fewer than two cells, left out.
    duplicates : rows whose cells an earlier row has too, left out.
    one_to_many : by "image>text", how many things of the first modality stand with several of the second.
    ignored : columns that mean nothing here.
    """

    frame: pl.DataFrame
    root: str
    rows: int
    too_few: int
    duplicates: int
    one_to_many: Mapping[str, int]
    ignored: tuple[str, ...]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Columns in which at least one cell is filled."""
        return tuple(m for m in MODALITIES if m in self.frame.columns and self.frame.get_column(m).null_count() < self.frame.height)

    @property
    def media(self) -> tuple[Modality, ...]:
        """Those of them that are named by URI."""
        return tuple(m for m in self.modalities if m != "text")

    def only(self, columns: Collection[Modality]) -> Pairs:
        """The same pairs, of some columns alone; rows that have fewer than two of them are left out.

        Raises
        ------
        PairsError : fewer than two of these columns are there, or no row has two.
        """
        kept = [m for m in self.modalities if m in columns]
        if len(kept) < 2:
            raise PairsError(f"of the columns {', '.join(columns)} the pairs have {', '.join(kept) or 'none'}; at least two are needed")
        full = self.frame.select("row", *kept).filter(filled(kept) >= 2)
        left = full.unique(kept, keep="first", maintain_order=True)
        if left.is_empty():
            raise PairsError(f"no row of the pairs has two of {', '.join(kept)}")
        ignored = (*self.ignored, *(m for m in self.modalities if m not in kept))
        few, again = self.too_few + self.frame.height - full.height, self.duplicates + full.height - left.height
        return replace(self, frame=left, too_few=few, duplicates=again, one_to_many=_one_to_many(left, tuple(kept)), ignored=ignored)

    def without_texts(self, known: Collection[str]) -> Pairs:
        """The same pairs, without the texts whose SHA-256 is not among `known`."""
        lost = [text for text in self.uris("text") if text_content(text) not in known]
        text = pl.when(~pl.col("text").is_in(pl.Series(lost, dtype=pl.String).implode())).then(pl.col("text"))
        return replace(self, frame=self.frame.with_columns(text=text)) if lost else self

    def uris(self, modality: Modality) -> list[str]:
        """What is named in a column, each once, sorted."""
        return cast("list[str]", self.frame.get_column(modality).drop_nulls().unique().sort().to_list())


def read_pairs(path: Path, root: str = "") -> Pairs:
    """The pairs of a file.

    Parameters
    ----------
    path : .parquet, .csv, .tsv (UTF-8, with a header) or .jsonl.
    root : root of the source that holds the media, as `storage.objects.Source.root` gives it; "" for the folder of the file.

    Raises
    ------
    PairsError : the file cannot be read as what its name says, lacks columns, has one that is called nearly as one of ours, or no row
        has two cells.
    """
    table = read_rows(path)
    modalities = _columns(path, table.columns)
    resolve = resolver(root or open_source(str(path.parent)).root)
    cells = {m: _cells(path, m, table.get_column(m), str if m == "text" else resolve) for m in modalities}
    frame = pl.DataFrame(cells).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    full = frame.filter(filled(modalities) >= 2)
    kept = full.unique(list(modalities), keep="first", maintain_order=True)
    if kept.is_empty():
        raise PairsError(f"{path}: none of its {frame.height:,} rows has two filled cells among {', '.join(modalities)}; a pair needs two")
    return Pairs(
        frame=kept,
        root=root or open_source(str(path.parent)).root,
        rows=frame.height,
        too_few=frame.height - full.height,
        duplicates=full.height - kept.height,
        one_to_many=_one_to_many(kept, modalities),
        ignored=tuple(name for name in table.columns if name not in modalities),
    )


def read_rows(path: Path, what: str = "list of pairs") -> pl.DataFrame:
    """All columns of a Parquet, CSV, TSV or JSONL file, those of CSV and TSV as texts; PairsError if it cannot be read."""
    try:
        return row_files.read(path, what)
    except row_files.RowFileError as problem:
        raise PairsError(str(problem)) from problem


def _columns(path: Path, names: Iterable[str]) -> tuple[Modality, ...]:
    names = list(names)
    for name in names:
        known = name.strip().lower()
        for modality, aliases in _ALIASES.items():
            twice = known.startswith(f"{modality}_duplicated_")  # how polars names a second column
            if name != modality and (known == modality or known in aliases or twice):
                wrong = "stands there twice" if twice else f"{name!r} is not read"
                raise PairsError(f"{path}: column {wrong}; call it {modality!r}, or remove it (columns are {', '.join(MODALITIES)})")
    found = tuple(m for m in MODALITIES if m in names)
    if len(found) < 2:
        has = ", ".join(names[:20]) or "none"
        raise PairsError(f"{path} has the columns {has}; pairs need at least two of {', '.join(MODALITIES)}")
    return found


def _cells(path: Path, modality: Modality, column: pl.Series, resolve: Callable[[str], str]) -> pl.Series:
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.Null:
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        told = "one row for each" if isinstance(column.dtype, pl.List | pl.Array) else "texts and URIs are strings"
        raise PairsError(f"{path}: column {modality!r} holds {column.dtype}; {told}")
    filled = column.is_not_null() & (column.str.strip_chars() != "")
    column = column.to_frame(modality).select(pl.when(filled).then(pl.col(modality))).to_series()
    distinct = column.drop_nulls().unique()
    return column.replace_strict(distinct, pl.Series([resolve(cell) for cell in distinct], dtype=pl.String), default=None).alias(modality)


def resolver(root: str) -> Callable[[str], str]:
    """What gives the absolute URI of a name: a URI is one, a path is absolute or begins at the root of a source."""

    @lru_cache(maxsize=4096)
    def real(folder: str) -> str:
        return os.path.realpath(folder)

    def resolve(cell: str) -> str:
        scheme, found, rest = cell.partition("://")
        if found and scheme.isalnum() and scheme != "file":
            return cell
        local = rest if found and scheme == "file" else cell
        if local.startswith("/"):
            folder, name = posixpath.split(local)
            return f"file://{name_to_key(posixpath.join(real(folder), name))}"
        return below(root, cell)

    return resolve


def filled(modalities: Iterable[str]) -> pl.Expr:
    """How many cells of a row are filled."""
    return pl.sum_horizontal(pl.col(m).is_not_null().cast(pl.Int64) for m in modalities)


def _one_to_many(frame: pl.DataFrame, modalities: tuple[Modality, ...]) -> dict[str, int]:
    counts = {}
    for one, many in permutations(modalities, 2):
        distinct = frame.select(one, many).drop_nulls().unique()
        counts[f"{one}>{many}"] = distinct.group_by(one).len().filter(pl.col("len") > 1).height
    return {pair: n for pair, n in counts.items() if n}


def text_content(text: str) -> str:
    """What a text is known by: the hex SHA-256 of its UTF-8, as the table's `content_hash` of a row of a table file is."""
    return hashlib.sha256(text.encode()).hexdigest()
