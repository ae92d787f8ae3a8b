"""Pairs divided into train, validation and test by content, never by row: no medium stands on two sides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import polars as pl

from encoders.spec import Modality
from tasks.pairs import Pairs, PairsError, filled, text_content

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")
_ANCHORS: tuple[Modality, ...] = ("image", "video", "audio")


class Shares(NamedTuple):
    """Shares of the pairs' media; they add up to 1."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1


@dataclass(frozen=True)
class Split:
    """Pairs whose contents are known, each on one side.

    Parameters
    ----------
    frame : as `Pairs.frame`, and for each modality m a column m_content (hex SHA-256, null for an empty cell), component (what may not be
        parted: rows that share a medium's content, directly or through others) and side.
    unknown : by modality, cells whose content is not known, taken as empty.
    too_few : rows that have fewer than two cells left, or nothing that is trained on (`trainable`), left out.
    copies : rows whose contents an earlier row has too, under other names, left out.
    shared_texts : texts that stand both among train and among validation or test. Texts part nothing: "a dog" fits many pictures.
    counts : rows by side.
    """

    frame: pl.DataFrame
    unknown: Mapping[Modality, int]
    too_few: int
    copies: int
    shared_texts: int
    counts: Mapping[str, int]

    def side(self, side: Side) -> pl.DataFrame:
        """The rows of one side."""
        return self.frame.filter(pl.col("side") == side)


def split(pairs: Pairs, contents: Mapping[str, str], shares: Shares | None = None, seed: int = 0) -> Split:
    """Every pair on one side, so that no medium's content stands on two: not as another file either, nor through a third medium.

    A component goes where the hash of (seed, content) of one of its media sends it: of its pictures, else videos, else sounds, the content
    that comes first as hex. So more pairs move no old one, unless they join components, or bring a content that comes before.

    Parameters
    ----------
    contents : hex SHA-256 by URI, of the media that are known.
    """
    shares = shares or Shares()
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise PairsError(f"shares of train, validation and test are {', '.join(f'{s:g}' for s in shares)}; they must add up to 1")
    modalities = pairs.modalities
    frame = pairs.frame.select("row", *modalities)
    named = {f"{m}_content": _contents(frame.get_column(m), text_content if m == "text" else contents.get) for m in modalities}
    unknown = {m: named[f"{m}_content"].null_count() - frame.get_column(m).null_count() for m in modalities}
    frame = frame.with_columns(**named).with_columns(pl.when(pl.col(f"{m}_content").is_not_null()).then(m).alias(m) for m in modalities)
    full = frame.filter(filled(modalities) >= 2)
    kept = full.unique([*named], keep="first", maintain_order=True)
    media = [f"{m}_content" for m in _ANCHORS if m in modalities]
    component = _components(kept.select(media))
    sides = {content: _side(content, shares, seed) for content in set(component)}
    kept = kept.with_columns(
        component=pl.Series(component, dtype=pl.String), side=pl.Series([sides[content] for content in component], dtype=pl.String)
    )
    counts: dict[str, int] = {side: kept.filter(pl.col("side") == side).height for side in SIDES}
    return Split(kept, unknown, frame.height - full.height, full.height - kept.height, _shared_texts(kept), counts)


def sided(parts: Split, as_in: Split) -> Split:
    """The same pairs on the sides that another division gave to what they hold of its modalities; those it did not divide are on none."""
    columns = [name for name in as_in.frame.columns if name.endswith("_content")]
    sides = as_in.frame.select(*columns, "side").unique(columns)
    frame = parts.frame.drop("side").join(sides, on=columns, how="left", nulls_equal=True, maintain_order="left")
    counts: dict[str, int] = {side: frame.filter(pl.col("side") == side).height for side in SIDES}
    return replace(parts, frame=frame, shared_texts=_shared_texts(frame.drop_nulls("side")), counts=counts)


def trainable(parts: Split, pairs: Collection[tuple[Modality, Modality]]) -> Split:
    """The same split, without those rows of its train side that have none of some pairs of modalities."""
    held = [pl.col(f"{a}_content").is_not_null() & pl.col(f"{b}_content").is_not_null() for a, b in pairs]
    frame = parts.frame.filter((pl.col("side") != "train") | pl.any_horizontal(pl.lit(value=False), *held))
    lost = parts.frame.height - frame.height
    if not lost:
        return parts
    counts = {**parts.counts, "train": parts.counts["train"] - lost}
    return replace(parts, frame=frame, too_few=parts.too_few + lost, shared_texts=_shared_texts(frame), counts=counts)


def _contents(cells: pl.Series, content: Callable[[str], str | None]) -> pl.Series:
    distinct = cells.drop_nulls().unique()
    return cells.replace_strict(distinct, pl.Series([content(cell) for cell in distinct], dtype=pl.String), default=None)


def _components(contents: pl.DataFrame) -> list[str]:
    """For each row the content that its component is known by, over all columns, which stand in the order of their precedence."""
    places = {content: place for place in reversed(range(contents.width)) for content in contents.to_series(place).drop_nulls().unique()}
    parents = {content: content for content in places}

    def find(content: str) -> str:
        while (parent := parents[content]) != content:
            parents[content] = content = parents[parent]
        return content

    firsts = []
    for row in contents.iter_rows():
        filled = [content for content in row if content is not None]
        firsts.append(filled[0])
        for content in filled[1:]:
            kept, joined = sorted((find(filled[0]), find(content)), key=lambda found: (places[found], found))
            parents[joined] = kept
    return [find(first) for first in firsts]


def _side(content: str, shares: Shares, seed: int) -> Side:
    drawn = int(hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()[:13], 16) / 16**13
    if drawn < shares.test:
        return "test"
    return "validation" if drawn < shares.test + shares.validation else "train"


def _shared_texts(frame: pl.DataFrame) -> int:
    if "text_content" not in frame.columns:
        return 0
    trained = pl.col("side") == "train"
    texts = frame.drop_nulls("text_content").group_by("text_content").agg(trained.any().alias("seen"), (~trained).any().alias("asked"))
    return texts.filter(pl.col("seen") & pl.col("asked")).height
