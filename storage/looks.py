"""What an object is at this moment, without its bytes: whether it is still the one that was listed."""

from __future__ import annotations

from dataclasses import dataclass

PIECE = 1 << 20
"""Bytes of a part that are read at once."""


@dataclass(frozen=True)
class Look:
    """An object at this moment.

    Parameters
    ----------
    size : in bytes.
    etag : as a listing tells it; None where the source tells none.
    """

    size: int
    etag: str | None

    def is_as(self, size: int, etag: str | None) -> bool:
        """Whether it is still the object of this size and etag; where one side knows no etag, by size alone."""
        known = self.etag is not None and etag is not None
        return self.size == size and (not known or _bare(self.etag) == _bare(etag))


def _bare(etag: str | None) -> str:
    """Listings and answers of one store differ in the quotes."""
    return (etag or "").strip('"')
