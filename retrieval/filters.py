"""What an answer is taken from: objects and segments for which all of some conditions hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import polars as pl

from encoders.spec import MODALITIES
from retrieval.errors import QueryError
from storage.table import literal

LISTED = 1_000
"""URIs that a condition may list: the engine reads longer lists in more than linear time (10,000 of them in 0.7 s)."""


@dataclass(frozen=True)
class Filter:
    """Conditions that all hold; the default holds for everything.

    Parameters
    ----------
    media : objects of these, such as ("video",); all if empty.
    modality : segments that were encoded as this one: "image" finds pictures and frames of videos.
    prefix : objects whose URI starts with this.
    modified_after, modified_before : objects that were last changed at this time or later, and earlier than this. A time without a zone is
        UTC. An object whose source tells no time fits neither.
    larger, smaller : objects of more, and of fewer bytes.
    uris : only these objects, such as those for which a condition on their metadata holds; `None`: all.
    without : never these.
    """

    media: tuple[str, ...] = ()
    modality: str | None = None
    prefix: str | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    larger: int | None = None
    smaller: int | None = None
    uris: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse media and modalities that there are not (QueryError), instead of finding nothing."""
        if isinstance(self.media, str):
            raise QueryError(f"media is the text {self.media!r}; it must be a tuple of names, such as ({self.media!r},)")
        for what, asked in (("medium", self.media), ("modality", (self.modality,) if self.modality is not None else ())):
            for name in asked:
                if name not in MODALITIES:
                    raise QueryError(f"there is no {what} {name!r}; allowed are {', '.join(MODALITIES)}")

    @property
    def long(self) -> bool:
        """Whether its lists of URIs are too long for a condition of the engine; what is read by `rest` then has to pass `held`."""
        return max(len(self.uris or ()), len(self.without)) > LISTED

    @property
    def rest(self) -> Filter:
        """The same without its lists of URIs."""
        return replace(self, uris=None, without=frozenset())

    def excluding(self, uris: Iterable[str]) -> Filter:
        """The same without some more objects."""
        return replace(self, without=self.without | frozenset(uris))

    def held(self, uris: pl.Series) -> pl.Series:
        """Which of some URIs its lists leave: booleans."""
        only, never = self._lists
        left = uris.is_in(only) if self.uris is not None else uris.is_not_null()
        return left & ~uris.is_in(never) if self.without else left

    @cached_property
    def _lists(self) -> tuple[pl.Series, pl.Series]:
        """Its lists, made once, as Polars looks them up."""
        only, never = (pl.Series(list(uris), dtype=pl.String).implode() for uris in (self.uris or (), self.without))
        return only, never

    def sql(self) -> str:
        """The condition as the engine reads it; "" where everything holds."""
        return " AND ".join([*self._of_objects(), *self._of_lists()])

    def _of_objects(self) -> Iterable[str]:
        if self.media:
            yield f"medium IN ({_listed(self.media)})"
        if self.modality is not None:
            yield f"modality = {literal(self.modality)}"
        if self.prefix:
            # A range, not LIKE: % and _ mean themselves.
            yield f"uri >= {literal(self.prefix)} AND uri < {literal(self.prefix + chr(0x10FFFF))}"
        if self.modified_after is not None:
            yield f"modified >= {_instant(self.modified_after)}"
        if self.modified_before is not None:
            yield f"modified < {_instant(self.modified_before)}"
        if self.larger is not None:
            yield f"size > {int(self.larger)}"
        if self.smaller is not None:
            yield f"size < {int(self.smaller)}"

    def _of_lists(self) -> Iterable[str]:
        if self.uris is not None:
            yield f"uri IN ({_listed(sorted(self.uris))})" if self.uris else "false"
        if self.without:
            yield f"uri NOT IN ({_listed(sorted(self.without))})"


EVERYTHING = Filter()


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(literal, texts))


def _instant(time: datetime) -> str:
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return f"CAST({literal(aware.astimezone(UTC).isoformat())} AS TIMESTAMP)"
