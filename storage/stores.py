"""An object store as a source: S3, Google, Azure, WebDAV and memory through obstore, configured by the environment alone."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, HTTPStore, MemoryStore, ObjectStore, S3Store

from storage import s3
from storage.errors import ObjectError, SourceError
from storage.looks import PIECE, Look
from storage.schema import LISTING

_PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "proxy_url", "proxy_excludes", "user_agent")
_MEMORY: dict[str, MemoryStore] = {}

# A stalled line is noticed in seconds, a slow one may take its time: the limit on a whole request is a limit on the size of an object.
_PATIENT = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "1day"}
_PATIENT_RETRY = {"max_retries": 6, "retry_timeout": timedelta(seconds=60), "backoff": {"max_backoff": timedelta(seconds=5)}}
_QUICK_SECONDS = 10
_QUICK_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=5), "backoff": {"max_backoff": timedelta(seconds=1)}}

_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public container",
}
# The first that matches what a store said: what it looks for, reason, what to do.
_CAUSES = (
    (
        r"NoSuchBucket|ContainerNotFound|specified bucket does not exist",
        "missing bucket",
        "check its spelling and the endpoint, or create it",
    ),
    (
        r"latest/api/token|computeMetadata|metadata/identity|Missing(Secret)?Access|Missing(Account|Region)|Account must be specified",
        "no credentials",
        "",
    ),
    (r"builder error", "http refused", "use an https:// endpoint, or set AWS_ALLOW_HTTP=true (GOOGLE_…, AZURE_…) if plain http is meant"),
    (r"PermanentRedirect|AuthorizationHeaderMalformed|without LOCATION", "wrong region", "set AWS_REGION to the bucket's region"),
    (r"PROPFIND .*status code: (405|501)", "cannot be listed", "this server speaks no WebDAV; give a folder or an object store instead"),
    (
        r"[Ii]nvalid path|Could not parse path",
        "odd key",
        "rename that object or give a prefix without it; for s3, plain keys in AWS_ACCESS_KEY_ID allow it",
    ),
    (r"status code: 40[13]|^40[13] ", "denied", "check the credentials and that they may list it"),
    (r"error sending request", "unreachable", "check the endpoint (AWS_ENDPOINT_URL …), the network, and that the server runs"),
)


def memory_store(name: str) -> MemoryStore:
    """The store behind memory://NAME, made at first use; one per name and process."""
    return _MEMORY.setdefault(name, MemoryStore())


class StoreSource:
    """All objects of a bucket, or those below a prefix.

    Parameters
    ----------
    scheme : "s3", "gs", "az", "https", "http" or "memory".
    host : bucket, container, host, or name of a memory store.
    prefix : literal, without "/" at its end; "" for everything. "photos" holds "photos/a" and not "photos2/a".
    """

    def __init__(self, scheme: str, host: str, prefix: str = "") -> None:
        self.root = f"{scheme}://{host}" + (f"/{prefix}" if prefix else "")
        self._scheme, self._host, self._prefix = scheme, host, prefix
        self._bucket = s3.bucket_from_environment(host) if scheme == "s3" else None
        with self._explained():
            self._client = _connect(scheme, host, _PATIENT, _PATIENT_RETRY)

    def __reduce__(self) -> tuple[Callable[..., StoreSource], tuple[str, str, str]]:
        # Credentials never travel: the process that opens it again reads its own environment.
        return StoreSource, (self._scheme, self._host, self._prefix)

    def check(self) -> None:
        """Raise SourceError, within seconds, unless the source answers and a prefix holds something."""
        with self._explained():
            if self._bucket:
                pages: Iterable[Sequence[Mapping[str, Any]]] = s3.pages(
                    self._bucket, self._below(), keys=1, retries=1, timeout=_QUICK_SECONDS
                )
            else:
                quick = {"connect_timeout": "3s", "timeout": f"{_QUICK_SECONDS}s"}
                pages = _connect(self._scheme, self._host, quick, _QUICK_RETRY).list(self._prefix or None)
            first = next(iter(pages), None)
        # WebDAV's client takes "not found" for "empty".
        if not first and (self._prefix or self._scheme in {"http", "https"}):
            advice = "check its spelling (as it is, no %20); for one object give the prefix before its name"
            raise SourceError("empty prefix", f"nothing lies below {self.root}/; {advice}")

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Batches of `storage.schema.LISTING`; SourceError where it breaks off."""
        with self._explained():
            if self._bucket:
                pages: Iterable[Sequence[Mapping[str, Any]]] = s3.pages(self._bucket, self._below())
            else:
                pages = self._client.list(self._prefix or None, chunk_size=1000)
            for page in pages:
                yield self._batch(page)

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """A new file in `folder` with the object's bytes, at most `limit` of them; a few MB of memory; safe from many threads."""
        with _explained_object(uri), self._open(self._key(uri)) as (size, chunks):
            if size > limit:
                raise _too_large(uri, f"{size:,}", limit)
            return _download(uri, size, chunks, folder, limit)

    def look(self, uri: str) -> Look:
        """Size and etag, by one request without the bytes; a key that obstore cannot spell is opened for its size."""
        key = self._key(uri)
        with _explained_object(uri):
            if self._odd(key):
                with self._open(key) as (size, _):
                    return Look(size, None)
            meta = self._client.head(key)
            return Look(meta["size"], meta["e_tag"])

    def part(self, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """Some of an object's bytes, by one request for just these; one whose key obstore cannot spell is read from its beginning."""
        key = self._key(uri)
        if start >= stop:
            return
        with _explained_object(uri):
            if not self._odd(key):
                yield from map(bytes, self._client.get(key, options={"range": (start, stop)}).stream(min_chunk_size=PIECE))
                return
            with self._open(key) as (_, chunks):
                yield from _between(chunks, start, stop)

    def _key(self, uri: str) -> str:
        if not uri.startswith(self.root + "/"):
            raise ValueError(f"{uri!r} does not lie in {self.root}; fetch it from the source that listed it")
        key = uri[len(f"{self._scheme}://{self._host}/") :]
        if key.endswith("/"):
            raise ObjectError("not a file", f"{uri} is the marker of a folder; it holds no medium")
        return key

    def _odd(self, key: str) -> bool:
        return self._bucket is not None and not s3.spellable(key)

    @contextmanager
    def _open(self, key: str) -> Iterator[tuple[int, Iterable[bytes]]]:
        if self._bucket and self._odd(key):
            with s3.read(self._bucket, key, PIECE) as opened:
                yield opened
        else:
            result = self._client.get(key)
            yield result.meta["size"], result.stream(min_chunk_size=PIECE)

    def _below(self) -> str:
        return f"{self._prefix}/" if self._prefix else ""

    def _batch(self, page: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        base = f"{self._scheme}://{self._host}/"
        columns = [
            pa.array([base + item["path"] for item in page], pa.string()),
            pa.array([item["size"] for item in page], pa.int64()),
            pa.array([item["e_tag"] for item in page], pa.string()),
            pa.array([item["last_modified"] for item in page], LISTING.field("modified").type),
        ]
        return pa.record_batch(columns, schema=LISTING)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, s3.S3Error, OSError, ValueError) as error:
            text = str(error)
            reason, advice = next(((r, a) for pattern, r, a in _CAUSES if re.search(pattern, text)), ("unavailable", "run again later"))
            advice = advice or _CREDENTIALS.get(self._scheme, "")
            # No cause is chained: a log would print it in full, with what the server echoes.
            raise SourceError(reason, f"{self.root} cannot be listed ({_shown(text)}); {advice}") from None


@contextmanager
def _explained_object(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ObjectError("vanished", f"{uri} was listed and is gone; the next run will count it as deleted") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise ObjectError("denied", f"{uri} may not be read ({_shown(str(error))}); grant the right to read it") from None
    except ValueError as error:
        raise ObjectError("odd key", f"{uri} has a key that this store's client cannot spell ({_shown(str(error))}); rename it") from None
    except (BaseError, OSError) as error:
        raise ObjectError("unavailable", f"{uri} cannot be fetched ({_shown(str(error))})", retryable=True) from None
    except s3.S3Error as error:
        reason = {404: "vanished", 403: "denied", 401: "denied"}.get(error.status, "unavailable")
        raise ObjectError(reason, f"{uri} cannot be fetched ({_shown(str(error))})", retryable=error.passing) from None


def _download(uri: str, size: int, chunks: Iterable[bytes], folder: Path, limit: int) -> Path:
    ending = re.search(r"\.[A-Za-z0-9]{1,8}$", uri)
    with _kept_in(folder):
        handle, name = tempfile.mkstemp(suffix=ending[0] if ending else "", prefix="object-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                received = _copy(uri, chunks, file, limit)
            if received != size:
                raise ObjectError("unavailable", f"{uri} broke off after {received:,} of {size:,} bytes", retryable=True)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return Path(name)


def _between(chunks: Iterable[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Bytes `start` to `stop` of what the chunks hold together; not read on behind `stop`."""
    at = 0
    for chunk in chunks:
        if piece := chunk[max(0, start - at) : max(0, stop - at)]:
            yield piece
        at += len(chunk)
        if at >= stop:
            return


def _copy(uri: str, chunks: Iterable[bytes], file: BinaryIO, limit: int) -> int:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise _too_large(uri, f"more than {limit:,}", limit)
        file.write(chunk)
    return received


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """A disk that is full, or no folder, stops the run: every object would fail alike."""
    try:
        yield
    except OSError as error:
        reason = "no space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "scratch folder"
        message = f"objects cannot be kept in {folder} ({error.strerror}); free space there, or set another scratch folder"
        raise SourceError(reason, message) from error


def _too_large(uri: str, came: str, limit: int) -> ObjectError:
    return ObjectError("too many bytes", f"{uri} has {came} bytes, allowed are {limit:,}; raise the limit to read it")


def _connect(scheme: str, host: str, options: Mapping[str, Any], retry: Mapping[str, Any]) -> ObjectStore:
    if scheme == "memory":
        return memory_store(host)
    client: Any = {"client_options": {**options, **_from_environment(scheme)}, "retry_config": retry}
    if scheme in {"http", "https"}:
        client["client_options"]["allow_http"] = scheme == "http"
        return HTTPStore.from_url(f"{scheme}://{host}", **client)
    kinds: dict[str, Callable[..., ObjectStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    return kinds[scheme](host, **client)


def _from_environment(scheme: str) -> dict[str, str]:
    """Client options as obstore would read them itself, had it not been given any."""
    if scheme not in _PREFIXES:
        return {}
    found = {name: os.environ.get(f"{_PREFIXES[scheme]}_{name.upper()}") for name in _CLIENT_OPTIONS}
    return {name: value for name, value in found.items() if value}


def _shown(text: str) -> str:
    """The gist of what a store said: code and message of its XML, else its first line; queries, which may hold signatures, left out."""
    code, message = re.search(r"<Code>(.*?)</Code>", text), re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    gist = f"{code[1]}: {message[1]}" if code and message else text.partition("\n")[0]
    return re.sub(r"\?\S+", "?…", gist)[:300]
