"""S3 keys exactly as they are, for those that obstore cannot spell.

obstore 0.12 gives up a whole listing at a key like "a//b", ".." or one with a control character, and lists "/a" as "a" and the marker
"folder/" as "folder". One such key must not stop a bucket, nor may two objects share one URI: where the environment holds plain keys
(or asks for unsigned requests), a bucket is listed here, and the odd keys are read here; all else, and credentials of every other
kind, goes through obstore.

Requests are signed by AWS Signature Version 4 (AWS General Reference, "Signature Version 4 signing process"; S3 encodes the path once).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree as ET

_EMPTY = hashlib.sha256(b"").hexdigest()
_PAUSES = (0.1, 0.5, 2.0, 5.0)
_OBSTORE_ONLY = ("AWS_S3_EXPRESS", "AWS_PROXY_URL", "AWS_ALLOW_INVALID_CERTIFICATES")
_UNSPELLABLE = re.compile(r"^/|/$|//|(^|/)\.\.?(/|$)|[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Bucket:
    """Where a bucket is and how to sign for it.

    Parameters
    ----------
    url : endpoint with the bucket in it, no "/" at the end.
    access_key, secret, token : "" for unsigned requests or none.
    payer : whether the requester pays.
    """

    url: str
    region: str
    access_key: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    payer: bool = False


class S3Error(Exception):
    """A request that was refused or had no answer; `status` is 0 for the latter."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status

    def __str__(self) -> str:
        return f"{self.args[1]}"

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in {0, 429} or self.status >= 500


def spellable(key: str) -> bool:
    """Whether obstore can list and read this key."""
    return not _UNSPELLABLE.search(key)


def bucket_from_environment(name: str) -> Bucket | None:
    """The bucket as AWS_… variables describe it, under obstore's names; None where obstore alone can serve it (roles, proxies …)."""
    unsigned = _flag("AWS_SKIP_SIGNATURE")
    key, secret = _first("AWS_ACCESS_KEY_ID"), _first("AWS_SECRET_ACCESS_KEY")
    if not (unsigned or (key and secret)) or any(map(_first, _OBSTORE_ONLY)) or name.endswith("--x-s3"):
        return None
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT").rstrip("/")
    if _flag("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"):
        url = endpoint or f"https://{name}.s3.{region}.amazonaws.com"
    else:
        url = f"{endpoint or f'https://s3.{region}.amazonaws.com'}/{quote(name)}"
    payer = _first("AWS_REQUEST_PAYER", "AWS_REQUESTER_PAYS").lower() in {"requester", "true", "1"}
    if unsigned:
        return Bucket(url, region, payer=payer)
    return Bucket(url, region, key, secret, _first("AWS_SESSION_TOKEN", "AWS_TOKEN"), payer)


def pages(
    bucket: Bucket, prefix: str, keys: int = 1000, retries: int = len(_PAUSES), timeout: float = 30
) -> Iterator[list[dict[str, Any]]]:
    """All objects whose key starts with `prefix`, in obstore's form: path, size, e_tag, last_modified.

    Pages hold at most `keys` objects (S3 allows 1,000). S3Error where one page cannot be had, so that a listing is whole or fails.
    """
    query = {"encoding-type": "url", "list-type": "2", "max-keys": str(keys), "prefix": prefix}
    while True:
        page = _page(bucket, query, retries, timeout)
        decode = unquote_plus if page.findtext("{*}EncodingType") == "url" else str
        yield [_meta(item, decode) for item in page.iterfind("{*}Contents")]
        if page.findtext("{*}IsTruncated") != "true":
            return
        token = page.findtext("{*}NextContinuationToken")
        if not token or token == query.get("continuation-token"):
            raise S3Error(0, "this server says that more follows and not where; it does not speak ListObjectsV2")
        query["continuation-token"] = token


@contextmanager
def read(bucket: Bucket, key: str, chunk: int, timeout: float = 30) -> Iterator[tuple[int, Iterator[bytes]]]:
    """One object's size and its bytes in chunks; S3Error where they cannot be had."""
    with _send(bucket, "/" + quote(key, safe="/"), {}, timeout) as response:
        if response.length is None:
            raise S3Error(0, "an answer without a length")
        yield response.length, _chunks(response, chunk)


def sign(bucket: Bucket, path: str, query: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Headers of a GET request of `path` (already percent-encoded, from the host's root) at the moment `now` in UTC."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": urlsplit(bucket.url).netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    if bucket.token:
        headers["x-amz-security-token"] = bucket.token
    if bucket.payer:
        headers["x-amz-request-payer"] = "requester"
    if not bucket.access_key:
        return headers
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(("GET", path or "/", _encoded(query), lines, names, _EMPTY))
    scope = f"{stamp[:8]}/{bucket.region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    secret = ("AWS4" + bucket.secret).encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.new(secret, text.encode(), "sha256").hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={bucket.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers


def _page(bucket: Bucket, query: Mapping[str, str], retries: int, timeout: float) -> ET.Element:
    """One answer, asked for again where a busy server or a broken line is to blame: it may be the last of thousands."""
    for pause in _PAUSES[:retries]:
        try:
            return _page_once(bucket, query, timeout)
        except S3Error as error:
            if not error.passing:
                raise
        time.sleep(pause)
    return _page_once(bucket, query, timeout)


def _page_once(bucket: Bucket, query: Mapping[str, str], timeout: float) -> ET.Element:
    try:
        with _send(bucket, "", query, timeout) as response:
            page = ET.fromstring(response.read())  # noqa: S314 (expat stops entity bombs since 2.4)
    except (OSError, http.client.HTTPException, ET.ParseError) as error:
        raise S3Error(0, f"listing broke off: {error}") from error
    # A portal's or proxy's own page would else read as an empty bucket.
    if not page.tag.endswith("ListBucketResult"):
        raise S3Error(0, f"the answer is no listing but <{page.tag}>")
    return page


def _chunks(response: http.client.HTTPResponse, chunk: int) -> Iterator[bytes]:
    try:
        yield from iter(lambda: response.read(chunk), b"")
    except (OSError, http.client.HTTPException) as error:
        raise S3Error(0, f"reading broke off: {error}") from error


def _send(bucket: Bucket, path: str, query: Mapping[str, str], timeout: float) -> http.client.HTTPResponse:
    place = urlsplit(bucket.url)
    if place.scheme not in {"https", "http"} or (place.scheme == "http" and not _flag("AWS_ALLOW_HTTP")):
        raise S3Error(400, f"builder error: {place.scheme}:// is refused")
    headers = sign(bucket, place.path + path, query, datetime.now(UTC))
    url = f"{place.scheme}://{place.netloc}{place.path}{path}" + (f"?{_encoded(query)}" if query else "")
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the scheme was looked at above)
        response: http.client.HTTPResponse = _OPENER.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise S3Error(error.code, f"{error.code} {error.reason} {error.read(10_000).decode(errors='replace')}") from None
    except (OSError, http.client.HTTPException) as error:
        raise S3Error(0, f"error sending request: {error}") from error
    return response


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature holds for one host: a redirect is an answer (another region), not a way."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _meta(item: ET.Element, decode: Callable[[str], str]) -> dict[str, Any]:
    return {
        "path": decode(item.findtext("{*}Key", "")),
        "size": int(item.findtext("{*}Size", "0")),
        "e_tag": item.findtext("{*}ETag"),
        "last_modified": datetime.fromisoformat(item.findtext("{*}LastModified", "")),
    }


def _encoded(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in {"1", "true", "on", "yes", "y"}
