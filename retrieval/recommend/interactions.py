"""Who liked and disliked what, and when: read from a table, checked, counted, and matched with the objects of a table of vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import numpy as np
import polars as pl

from retrieval.errors import QueryError

COLUMNS = ("user", "item", "weight", "time")
DAY = 86_400.0
SECONDS_AT_MOST = 1e11  # the year 5138; what is larger counts milliseconds or less


@dataclass(frozen=True)
class Interactions:
    """Rows of a table that name a user and an item.

    Parameters
    ----------
    frame : user, item (a URI), weight (negative: disliked), time (seconds since 1970, null if not known); in the order of the table.
    rows : of the table.
    empty : rows without a user or an item, left out.
    untimed : rows that are kept and tell no time.
    ignored : columns that mean nothing here.
    """

    frame: pl.DataFrame
    rows: int
    empty: int
    untimed: int
    ignored: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether any row tells its time."""
        return self.untimed < self.frame.height

    @property
    def users(self) -> list[str]:
        """Each once, sorted."""
        found: list[str] = self.frame.get_column("user").unique().sort().to_list()
        return found

    def of(self, user: str) -> pl.DataFrame:
        """The rows of one user.

        Raises
        ------
        QueryError : there is none.
        """
        rows = self.frame.filter(pl.col("user") == user)
        if rows.is_empty():
            some = ", such as " + ", ".join(map(repr, self.users[:3])) if self.users else ""
            raise QueryError(f"no row is of user {user!r}; the table has {len(self.users):,} users{some}")
        return rows


@dataclass(frozen=True)
class Matched:
    """Interactions with objects that are known.

    Parameters
    ----------
    frame : user, content (its number), weight, time.
    users : all users of the table, those included of whose items none is known.
    unknown_rows, unknown_items : what names no object, left out.
    examples : up to three such items.
    """

    frame: pl.DataFrame
    users: list[str]
    unknown_rows: int
    unknown_items: int
    examples: tuple[str, ...]


def read(table: pl.DataFrame, resolve: Callable[[str], str] = str, neutral: float = 0.0) -> Interactions:
    """The interactions of a table with columns user, item, and perhaps weight and time.

    Parameters
    ----------
    table : weight is 1 where it is missing; time is a date, a time (ISO 8601, UTC if it says no zone) or seconds since 1970.
    resolve : the URI that an item names.
    neutral : the weight that is neither like nor dislike, such as 3 for one to five stars; it is taken off every weight that is given.

    Raises
    ------
    QueryError : a column is missing or holds lists, objects or bytes; a weight or time cannot be read, and the message names the row;
        `neutral` is not finite.
    """
    lacking = [name for name in COLUMNS[:2] if name not in table.columns]
    if lacking:
        raise QueryError(
            f"interactions have no column {' and no column '.join(lacking)}; they have {', '.join(table.columns) or 'none'}. "
            "Needed are user and item, and read are weight (negative: disliked; default 1) and time"
        )
    if not isfinite(neutral):
        raise QueryError(f"neutral is {neutral}; it must be a finite number")
    _refuse_nested(table)
    frame = pl.DataFrame(
        {
            "user": _texts(table, "user"),
            "item": _texts(table, "item"),
            "weight": _weights(table, neutral),
            "time": _times(table),
        }
    )
    kept = frame.filter(pl.col("user").is_not_null() & pl.col("item").is_not_null())
    names = kept.get_column("item").unique()
    uris = pl.DataFrame({"item": names, "uri": pl.Series([resolve(name) for name in names], dtype=pl.String)})
    kept = kept.join(uris, on="item", how="left", maintain_order="left").select("user", "weight", "time", item="uri").select(COLUMNS)
    untimed = kept.get_column("time").null_count()
    ignored = tuple(name for name in table.columns if name not in COLUMNS)
    return Interactions(kept, frame.height, frame.height - kept.height, untimed, ignored)


def match(interactions: Interactions, contents: pl.DataFrame) -> Matched:
    """What of the interactions is about known objects, by content, so that copies under several names are one.

    Parameters
    ----------
    contents : item (a URI) and content (a number), each item once.
    """
    frame = interactions.frame.join(contents, on="item", how="left", maintain_order="left")
    unknown = frame.filter(pl.col("content").is_null()).get_column("item")
    kept = frame.filter(pl.col("content").is_not_null()).select("user", "content", "weight", "time")
    items = unknown.unique(maintain_order=True)
    return Matched(kept, interactions.users, len(unknown), len(items), tuple(items[:3].to_list()))


def opinions(frame: pl.DataFrame, half_life: float | None = None) -> pl.DataFrame:
    """What each user thinks of each item, all interactions with it together: the columns that `frame` names besides time, each pair once.

    A weight is halved for every `half_life` days before the user's latest interaction; without a time it counts as the user's earliest.
    Weights of one item add up: more than 0 is a like, less a dislike, 0 is neither, but seen all the same.

    Parameters
    ----------
    frame : user, item or content, weight, time.

    Raises
    ------
    QueryError : see `require_half_life`.
    """
    require_half_life(half_life)
    keys = [name for name in frame.columns if name not in ("weight", "time")]
    if half_life is not None:
        time = pl.col("time").fill_null(pl.col("time").min().over("user"))
        age = (pl.col("time").max().over("user") - time).fill_null(0.0)
        frame = frame.with_columns(weight=pl.col("weight") * 0.5 ** (age / (half_life * DAY)))
    return frame.group_by(keys, maintain_order=True).agg(pl.col("weight").sum())


def require_half_life(days: float | None) -> None:
    """Refuse a half-life that is not above 0 and finite (QueryError); `None`, by which nothing fades, is fine."""
    if days is not None and not (isfinite(days) and days > 0):
        raise QueryError(f"half-life is {days:g} days; it must be more than 0 and finite")


def popularity(thought: pl.DataFrame) -> pl.DataFrame:
    """How many users like each item, from `opinions`: its column and `likes`, most liked first."""
    [key] = [name for name in thought.columns if name not in ("user", "weight")]
    liked = thought.filter(pl.col("weight") > 0).group_by(key).agg(likes=pl.len().cast(pl.Int64))
    return liked.sort("likes", key, descending=[True, False])


def _refuse_nested(table: pl.DataFrame) -> None:
    for column in table.select(name for name in COLUMNS if name in table.columns):
        if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object, pl.Duration):
            raise QueryError(
                f"column {column.name!r} of the interactions holds {column.dtype}; allowed is a text, number or time, one a row"
            )


def _texts(table: pl.DataFrame, name: str) -> pl.Series:
    texts = table.get_column(name).cast(pl.String)
    return pl.select(pl.when(texts.str.strip_chars() != "").then(texts)).to_series()


def _weights(table: pl.DataFrame, neutral: float) -> pl.Series:
    if "weight" not in table.columns:
        return pl.repeat(1.0, table.height, dtype=pl.Float64, eager=True)
    given = table.get_column("weight")
    weights = given.cast(pl.Float64, strict=False)
    _refuse(given, given.is_not_null() & (given.cast(pl.String) != "") & ~weights.is_finite().fill_null(False), "weight", "a finite number")
    return (weights - neutral).fill_null(1.0)


def _times(table: pl.DataFrame) -> pl.Series:
    if "time" not in table.columns:
        return pl.repeat(None, table.height, dtype=pl.Float64, eager=True)
    given = table.get_column("time")
    if isinstance(given.dtype, pl.Date | pl.Datetime):
        return given.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    seconds = given.cast(pl.Float64, strict=False)
    if given.dtype == pl.String:
        seconds = pl.Series([_seconds(text) for text in given], dtype=pl.Float64)
    wrong = (
        given.is_not_null() & (given.cast(pl.String) != "") & ~(seconds.is_finite() & (seconds.abs() < SECONDS_AT_MOST)).fill_null(False)
    )
    _refuse(given, wrong, "time", "a date, a time as ISO 8601 writes it, or seconds (not milliseconds) since 1970")
    return seconds


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    for read in (_basic_date, float, _iso):
        try:
            return read(text)
        except ValueError:
            continue
    return np.nan


def _basic_date(text: str) -> float:
    """20240131, which would else be seconds of the summer of 1970."""
    if len(text) != len("20240131"):
        raise ValueError
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp()


def _iso(text: str) -> float:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _refuse(given: pl.Series, wrong: pl.Series, name: str, allowed: str) -> None:
    if wrong.any():
        row = wrong.arg_max() or 0
        raise QueryError(f"{name} of row {row + 1:,} of the interactions is {given[row]!r}; allowed is {allowed}, or nothing")
