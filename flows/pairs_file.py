"""A list of pairs, from this machine or from a bucket."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from storage.objects import Source, open_source
from tasks.pairs import Pairs, read_pairs


def open_pairs(place: str, source: str, most_bytes: int) -> tuple[Pairs, str, Source]:
    """The pairs of a file, the SHA-256 of that file, and the source of their media, which has not been asked yet.

    Parameters
    ----------
    place : a path, or the URL of an object in a bucket.
    source : where relative URIs begin; "" is the folder of the file.
    most_bytes : largest file that is fetched.

    Raises PairsError, SourceError or ObjectError.
    """
    above, _, name = place.rpartition("/")
    folder = local(place)
    media = open_source(source or (str(folder.parent) if folder else above))
    with tempfile.TemporaryDirectory() as scratch:
        path = folder
        if path is None:
            bucket = open_source(above)
            path = bucket.fetch(f"{bucket.root}/{name}", Path(scratch), most_bytes)
            path = path.rename(path.with_name(f"pairs{Path(name).suffix}"))
        pairs = read_pairs(path, media.root)
        return pairs, hashlib.sha256(path.read_bytes()).hexdigest(), media


def local(place: str) -> Path | None:
    """The path of a list on this machine, None for the URL of another place."""
    return None if "://" in place and not place.startswith("file://") else Path(place.removeprefix("file://")).expanduser()
