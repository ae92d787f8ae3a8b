"""Where objects come from: a folder or an object store, listed as Arrow and read one by one.

An object's URI is its source's root, "/", and its key, exactly as the key is: nothing is percent-encoded, and the root is fixed, so
that one object has one URI and one URI one object. A URI that ends in "/" is the marker of a folder (S3 consoles make them) or a link
to one, and holds no medium.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa

from storage.errors import SourceError
from storage.folder import FolderSource, key_to_name
from storage.looks import Look
from storage.schema import LISTING
from storage.stores import StoreSource, memory_store

__all__ = ["Look", "Source", "list_source", "memory_store", "open_source"]

SCHEMES = ("s3", "gs", "az", "https", "http", "memory")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)


class Source(Protocol):
    """One place with objects; picklable, without its credentials."""

    root: str

    def check(self) -> None:
        """First contact: SourceError, within seconds, where the source is missing, refused, out of reach, or an empty prefix."""
        ...

    def listing(self) -> Iterator[pa.RecordBatch]:
        """All objects as batches of `storage.schema.LISTING`; SourceError where it breaks off, so that what was got until then is void."""
        ...

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """A local file with the bytes of one listed object: the file itself for a folder, else a new file in `folder`.

        ObjectError with reason "vanished", "denied", "unavailable", "too many bytes" (more than `limit`), "not a file", "broken link" or
        "odd key". Callable from many threads at once.
        """
        ...

    def look(self, uri: str) -> Look:
        """What an object is now, as a listing would tell it; ObjectError as `fetch` raises, but for its size."""
        ...

    def part(self, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes `start` to `stop` (exclusive, at most its size) of an object, in pieces of about a megabyte; ObjectError as `look` raises.

        Nothing else is read. What is not read to its end is closed as a generator is. Callable from many threads at once.
        """
        ...


def open_source(url: str) -> Source:
    """The source that a path or URL names; nothing is contacted yet.

    Parameters
    ----------
    url : a folder's path, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/PATH (WebDAV)
        or memory://NAME/PREFIX. Literal: "%20" holds a percent sign. Endpoint, region and credentials come from the environment, under
        obstore's names (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, AWS_VIRTUAL_HOSTED_STYLE_REQUEST,
        GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_…).

    Raises
    ------
    SourceError : unknown scheme, malformed URL, credentials in the URL, incomplete credentials in the environment.
    """
    parts = _URL.fullmatch(url)
    if "\0" in url or not url:
        raise SourceError(
            "malformed URL", "a source is the path of a folder or a URL such as s3://bucket/prefix; this one is empty or holds a NUL"
        )
    if not parts:
        return FolderSource(os.path.expanduser(url))  # noqa: PTH111 (a folder may be called "~x"; Path would raise)
    scheme, host, path = parts[1].lower(), parts[2], parts[3]
    if scheme == "file":
        return _folder(host, path)
    if scheme not in SCHEMES:
        raise SourceError(
            "unknown scheme",
            f"{scheme}:// is no kind of source; allowed are a folder's path, file://, {', '.join(s + '://' for s in SCHEMES)}",
        )
    _refuse_secrets(scheme, host, path)
    if not host:
        raise SourceError("malformed URL", f"{scheme}:// lacks the name of a bucket or host; give {scheme}://NAME/PREFIX")
    return StoreSource(scheme, host.lower() if scheme in {"http", "https"} else host, path.rstrip("/"))


def list_source(source: Source) -> pl.DataFrame:
    """The whole listing in one frame with the columns of `storage.schema.LISTING`.

    SourceError where it breaks off or where two objects share one URI: a partial listing is never returned, for what it lacks would be
    deleted.
    """
    frame = pl.from_arrow(pa.Table.from_batches(source.listing(), schema=LISTING))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"a listing became {type(frame).__name__}, not a frame")
    twice = frame.filter(frame["uri"].is_duplicated())["uri"]
    if len(twice):
        raise SourceError(
            "odd key",
            f"{len(twice)} objects share URIs (such as {twice[0]}): a key begins or ends with '/'; rename it or give a narrower prefix",
        )
    return frame


def _folder(host: str, path: str) -> Source:
    if host:
        raise SourceError("malformed URL", "file:// takes an absolute path: file:///FOLDER (three slashes)")
    return FolderSource("/" + key_to_name(path))


def _refuse_secrets(scheme: str, host: str, path: str) -> None:
    web = scheme in {"http", "https"}
    if "@" in host or re.search(r"[?#]" if web else r"\?[^/]*=", host + path):
        advice = f"give {scheme}://NAME/PREFIX and set credentials in the environment"
        message = f"this {scheme}:// URL carries a user, a password or a query; {advice}"
        raise SourceError("credentials in the URL", message)
