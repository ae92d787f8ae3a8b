"""One diff of what the source lists against what the table holds: what is new, changed, vanished, unchanged; and the shards to work on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from encoders.media.kinds import medium_by_name, type_of
from encoders.spec import Modality

FEW = 10  # so few vanished objects are never a sign of a broken listing, as long as something is left


class RefusedError(Exception):
    """The run would do something that was probably not meant; says what to type if it was."""


@dataclass(frozen=True)
class Shard:
    """A few hundred objects of one medium: the unit of a task, of retry and of figures.

    Parameters
    ----------
    name : "image-0007".
    objects : uri, size, etag, modified, place (see `tasks.kept_rows`; null but for rows of table files) and `known` (the table holds an
        older version of it), one row per object.
    """

    name: str
    medium: Modality
    objects: pl.DataFrame = field(repr=False)

    def __len__(self) -> int:
        return self.objects.height

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Parameters
    ----------
    listed : objects that the source lists.
    todo : objects to embed: uri, size, etag, modified, medium, place, known.
    unchanged : objects that stand in the table as they are.
    waiting : objects in quarantine that have not changed since.
    skipped : objects of no medium that the space reads, counted by type.
    vanished : URIs whose rows the table holds and the source no longer lists (or no longer lists as a medium).
    released : quarantined URIs that the source no longer lists, or whose rows are in the table as they should be (a run was killed
        after its commit).
    """

    listed: int
    todo: pl.DataFrame
    unchanged: int
    waiting: pl.DataFrame
    skipped: Mapping[str, int]
    vanished: pl.Series
    released: pl.Series

    @property
    def idle(self) -> bool:
        """Nothing to embed and nothing to delete."""
        return self.todo.is_empty() and self.vanished.is_empty() and self.released.is_empty()


def diff(listing: pl.DataFrame, present: pl.DataFrame, quarantine: pl.DataFrame, media: Collection[Modality], generation: str) -> Plan:
    """Compare a listing with the table and its quarantine.

    An object has changed if its size has, or its etag, or (where either side has no etag) its time. A quarantined object is tried again
    if it has changed, if its failure was of the passing kind or a person asked for it (its size is then recorded as one that no object
    has), or if another generation failed on it.

    Parameters
    ----------
    listing : uri, size, etag, modified of every object; where it has the columns medium and place (see `tasks.list_rows`), they hold.
    present : the same columns of every object in the table.
    quarantine : uri, size, etag, generation of every quarantined object.
    """
    if "medium" not in listing.columns:
        kinds = pl.Series("medium", [medium_by_name(uri) for uri in listing.get_column("uri")], dtype=pl.String)
        listing = listing.with_columns(kinds, place=pl.lit(None, pl.Int64))
    is_read = pl.col("medium").is_in(list(media)).fill_null(value=False)
    readable, skipped = listing.filter(is_read), listing.filter(~is_read).get_column("uri")
    known = present.select(
        "uri", pl.col("size").alias("size_then"), pl.col("etag").alias("etag_then"), pl.col("modified").alias("modified_then")
    )
    held = readable.join(known, on="uri", how="left").with_columns(known=pl.col("size_then").is_not_null())
    held = held.with_columns(same=pl.col("known") & ~_changed())
    failed = quarantine.filter(pl.col("generation") == generation).select("uri", size_q="size", etag_q="etag")
    held = held.join(failed, on="uri", how="left")
    still = pl.col("size_q").eq(pl.col("size")) & pl.col("etag_q").eq_missing(pl.col("etag"))
    held = held.with_columns(waiting=(~pl.col("same") & still).fill_null(value=False))
    columns = ["uri", "size", "etag", "modified", "medium", "place", "known"]
    return Plan(
        listed=listing.height,
        todo=held.filter(~pl.col("same") & ~pl.col("waiting")).select(columns).sort("medium", "uri"),
        unchanged=held.filter("same").height,
        waiting=held.filter("waiting").select(columns),
        skipped=_count_types(skipped),
        vanished=present.join(readable, on="uri", how="anti").get_column("uri"),
        released=quarantine.join(held.filter(~pl.col("same")), on="uri", how="anti").get_column("uri"),
    )


def _changed() -> pl.Expr:
    without = pl.col("etag").is_null() | pl.col("etag_then").is_null()
    other_etag = pl.col("etag").ne_missing(pl.col("etag_then"))
    other_time = pl.col("modified").ne_missing(pl.col("modified_then"))
    return (pl.col("size") != pl.col("size_then")) | pl.when(without).then(other_time).otherwise(other_etag)


def _count_types(uris: pl.Series) -> dict[str, int]:
    types = pl.Series("type", [type_of(uri) for uri in uris], dtype=pl.String)
    counted = types.value_counts().sort("type")
    return dict(zip(counted.get_column("type"), counted.get_column("count"), strict=True))


def refuse_mass_deletion(plan: Plan, held: int, source: str, share: float, unreadable: str = "") -> None:
    """Raise RefusedError if so much vanished that the listing is more likely broken than the bucket emptied (rule 11).

    `unreadable` is a sentence on table files whose rows are missing because they could not be read.
    """
    gone = len(plan.vanished)
    emptied = gone == held > 0
    if emptied or (gone > FEW and gone > share * held):
        raise RefusedError(
            f"{source} lists {plan.listed} objects and lacks {gone} of the {held} that the table holds from there; nothing was deleted. "
            f"{unreadable}Check the source; if they are really gone, run again with --allow-deletions"
        )


def shards(todo: pl.DataFrame, most_objects: int, most_bytes: int) -> Iterator[Shard]:
    """Cut the work into shards of one medium, by count and by bytes; names count per medium."""
    for (medium,), group in todo.group_by("medium", maintain_order=True):
        # The running sum of a shard starts anew where either limit is passed, so cuts are found in one pass over plain integers.
        cuts, held, first = [0], 0, 0
        for row, size in enumerate(group.get_column("size")):
            if row > first and (row - first >= most_objects or held + size > most_bytes):
                cuts.append(row)
                first, held = row, 0
            held += size
        for number, (a, b) in enumerate(zip(cuts, [*cuts[1:], group.height], strict=True)):
            yield Shard(f"{medium}-{number:04d}", medium, group.slice(a, b - a))
