"""The objects of a table as the page knows them: an id that stands for a URI, and what the table says of the object."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lancedb.table import Table

FACTS = ("uri", "segment", "source", "etag", "size", "modified", "content_hash", "medium", "end")
AT_ONCE = 500  # URIs in one condition


@dataclass(frozen=True)
class Item:
    """One object, as it was when it was embedded.

    Parameters
    ----------
    source : root of the source that it was listed in.
    seconds : where the last segment of a sound or video ends, else None.
    """

    uri: str
    source: str
    etag: str | None
    size: int
    modified: datetime | None
    content_hash: str
    medium: str
    seconds: float | None

    @property
    def id(self) -> str:
        """What the page calls it; see `id_of`."""
        return id_of(self.uri)

    @property
    def name(self) -> str:
        """What people call it: the last part of its URI, or all of it where that is empty."""
        return self.uri.rstrip("/").rpartition("/")[2] or self.uri

    def told(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id,
            "version": self.content_hash[:12],
            "uri": self.uri,
            "name": self.name,
            "folder": self.uri[len(self.source) + 1 :].rpartition("/")[0] if self.uri.startswith(f"{self.source}/") else "",
            "medium": self.medium,
            "size": self.size,
            "modified": self.modified and self.modified.isoformat(),
            "seconds": self.seconds,
        }


def id_of(uri: str) -> str:
    """A URI in the letters of a path: base64url (RFC 4648, section 5) without padding.

    It names, it does not allow: only what a table holds under this URI is ever looked at.
    """
    return base64.urlsafe_b64encode(uri.encode()).rstrip(b"=").decode()


def uri_of(name: str) -> str | None:
    """The inverse of `id_of`; None for what is no id, in the one spelling that `id_of` gives."""
    try:
        uri = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return uri if id_of(uri) == name else None


def read(table: Table, uris: Iterable[str]) -> Iterator[Item]:
    """What a table holds of some URIs, in no particular order; what it does not hold is left out."""
    from storage.faults import told
    from storage.replace import scan
    from storage.table import literal

    named = list(dict.fromkeys(uris))
    for first in range(0, len(named), AT_ONCE):
        some = named[first : first + AT_ONCE]
        wanted = f"uri IN ({', '.join(map(literal, some))}) AND (segment = 0 OR medium IN ('audio', 'video'))"
        with told(f"reading table {table.name!r}"):
            rows = scan(table.to_lance(), FACTS, wanted).to_table().to_pylist()
        objects: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            objects.setdefault(row["uri"], []).append(row)
        yield from map(_item, objects.values())


def _item(rows: Sequence[dict[str, Any]]) -> Item:
    first = min(rows, key=lambda row: int(row["segment"]))
    timed = first["medium"] in ("audio", "video")
    seconds = max((row["end"] for row in rows if row["end"] is not None), default=None) if timed else None
    return Item(seconds=seconds, **{name: first[name] for name in FACTS if name not in ("segment", "end")})
