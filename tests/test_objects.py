"""Sources: memory, WebDAV, what a URL may say, and how sources and errors travel."""

from __future__ import annotations

import errno
import http.server
import pickle
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pyarrow as pa
import pytest
from obstore.store import AzureStore, GCSStore, HTTPStore

from storage.errors import ObjectError, SourceError, StorageError, TableError
from storage.objects import list_source, memory_store, open_source
from storage.schema import LISTING


def keys(source_url: str) -> set[str]:
    source = open_source(source_url)
    uris = list_source(source)["uri"].to_list()
    assert len(set(uris)) == len(uris)
    assert all(uri.startswith(source.root + "/") for uri in uris)
    return {uri[len(source.root) + 1 :] for uri in uris}


# Memory


def test_a_memory_source_lists_below_its_prefix_and_reads_into_flat_files(tmp_path: Path) -> None:
    store = memory_store("flat")
    for key in ("photos/a.JPG", "photos/sub/b 图#?%20.jpg", "photos2/c.jpg", "photos"):
        store.put(key, key.encode())
    source = open_source("memory://flat/photos/")
    source.check()
    assert source.root == "memory://flat/photos"
    assert keys("memory://flat/photos") == {"a.JPG", "sub/b 图#?%20.jpg"}
    paths = [source.fetch(uri, tmp_path, 100) for uri in list_source(source)["uri"]]
    assert {path.read_bytes().decode() for path in paths} == {"photos/a.JPG", "photos/sub/b 图#?%20.jpg"}
    assert {path.parent for path in paths} == {tmp_path}
    assert {path.suffix for path in paths} == {".JPG", ".jpg"}


def test_an_object_over_the_limit_leaves_no_file(tmp_path: Path) -> None:
    memory_store("limit").put("a", b"x" * 101)
    source = open_source("memory://limit")
    with pytest.raises(ObjectError, match="101 bytes, allowed are 100"):
        source.fetch("memory://limit/a", tmp_path, 100)
    assert list(tmp_path.iterdir()) == []
    assert source.fetch("memory://limit/a", tmp_path, 101).stat().st_size == 101


def test_a_deleted_object_has_vanished(tmp_path: Path) -> None:
    source = open_source("memory://vanish")
    memory_store("vanish").put("a", b"x")
    memory_store("vanish").delete("a")
    with pytest.raises(ObjectError) as caught:
        source.fetch("memory://vanish/a", tmp_path, 100)
    assert caught.value.reason == "vanished"


def test_an_empty_store_is_fine_and_an_empty_prefix_is_not() -> None:
    open_source("memory://empty").check()
    assert list_source(open_source("memory://empty")).height == 0
    with pytest.raises(SourceError, match="spelling") as caught:
        open_source("memory://empty/typo").check()
    assert caught.value.reason == "empty prefix"


def test_objects_are_read_from_many_threads_at_once(tmp_path: Path) -> None:
    for i in range(64):
        memory_store("threads").put(f"{i}.bin", bytes([i]) * 100_000)
    source = open_source("memory://threads")
    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(lambda i: source.fetch(f"memory://threads/{i}.bin", tmp_path, 1 << 20), range(64)))
    assert len(set(paths)) == 64
    assert all(path.read_bytes() == bytes([i]) * 100_000 for i, path in enumerate(paths))


def test_a_full_disk_ends_the_run_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_store("full").put("a", b"x" * 100_000)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("storage.stores._copy", full)
    with pytest.raises(SourceError, match="free space") as caught:
        open_source("memory://full").fetch("memory://full/a", tmp_path, 1 << 20)
    assert caught.value.reason == "no space"
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_lacks_is_named(tmp_path: Path) -> None:
    memory_store("lack").put("a", b"x")
    with pytest.raises(SourceError, match="lacking") as caught:
        open_source("memory://lack").fetch("memory://lack/a", tmp_path / "lacking", 10)
    assert caught.value.reason == "scratch folder"


# WebDAV


class WebDav(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # noqa: RUF012

    def do_PROPFIND(self) -> None:
        def response(path: str, data: bytes | None) -> str:
            kind = "<D:collection/>" if data is None else ""
            size = (
                ""
                if data is None
                else f"<D:getcontentlength>{len(data)}</D:getcontentlength><D:getetag>&quot;e{len(data)}&quot;</D:getetag>"
            )
            properties = f"<D:resourcetype>{kind}</D:resourcetype>{size}<D:getlastmodified>{formatdate(0, usegmt=True)}</D:getlastmodified>"
            found = f"<D:propstat><D:prop>{properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
            return f"<D:response><D:href>{urllib.parse.quote(path)}</D:href>{found}</D:response>"

        below = urllib.parse.unquote(self.path)
        found = "".join(response(path, data) for path, data in self.files.items() if path.startswith(below + "/"))
        body = f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{response(below + "/", None)}{found}</D:multistatus>'
        self.answer(207 if found else 404, body.encode())

    def do_GET(self) -> None:
        data = self.files.get(urllib.parse.unquote(self.path))
        self.answer(404 if data is None else 200, data or b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[[type[http.server.BaseHTTPRequestHandler]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(handler: type[http.server.BaseHTTPRequestHandler]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_webdav_server_is_listed_and_read(serve: Serve, tmp_path: Path) -> None:
    WebDav.files = {f"/root/{key}": key.encode() for key in ("a.txt", "d/b c.txt", "d/%20.txt", "图/猫.jpg", "q?.txt", "h#.txt")}
    source = open_source(f"http://{serve(WebDav)}/root/")
    source.check()
    frame = list_source(source)
    read = {uri[len(source.root) + 1 :]: source.fetch(uri, tmp_path, 100).read_bytes().decode() for uri in frame["uri"]}
    assert read == {path[len("/root/") :]: data.decode() for path, data in WebDav.files.items()}
    with pytest.raises(ObjectError, match="vanished"):
        source.fetch(f"{source.root}/gone.txt", tmp_path, 100)
    with pytest.raises(SourceError, match="empty prefix"):
        open_source(source.root + "/no").check()


def test_a_server_without_webdav_cannot_be_listed_and_can_be_read(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"plain")
    source = open_source(f"http://{serve(Files)}")
    with pytest.raises(SourceError, match="WebDAV") as caught:
        source.check()
    assert caught.value.reason == "cannot be listed"
    assert source.fetch(f"{source.root}/a.txt", tmp_path, 10).read_bytes() == b"plain"


# URLs and errors


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("gs://bucket/a b/图", GCSStore),
        ("az://container/a b/图", AzureStore),
        ("https://host.example/a b/图", HTTPStore),
    ],
)
def test_other_stores_are_built_without_contact(url: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    source = open_source(url + "/")
    assert source.root == url
    assert isinstance(source._client, kind)  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(source)).root == url
    assert b"c2VjcmV0" not in pickle.dumps(source)


def test_credentials_that_lack_for_azure_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SourceError, match="AZURE_STORAGE_ACCOUNT_NAME") as caught:
        open_source("az://container")
    assert caught.value.reason == "no credentials"


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hush@host/a",
        "https://hush@host/a",
        "https://host/a?token=hush",
        "https://host/a#hush",
        "s3://key:hush@bucket/a",
        "s3://bucket/a?X-Amz-Signature=hush",
        "s3://bucket?secret=hush",
        "az://container/a?sig=hush",
    ],
)
def test_credentials_in_a_url_are_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert caught.value.reason == "credentials in the URL"
    assert "hush" not in str(caught.value)


def test_marks_that_are_no_credentials_stay_in_a_prefix() -> None:
    assert open_source("memory://name/a@b/what?/c#d/").root == "memory://name/a@b/what?/c#d"


@pytest.mark.parametrize("url", ["ftp://user:hush@host/a", "s3a://bucket", "foo://x"])
def test_an_unknown_scheme_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(SourceError, match=r"file://, s3://, gs://, az://, https://") as caught:
        open_source(url)
    assert caught.value.reason == "unknown scheme"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "a\0b", "s3://", "s3:///key", "memory://", "file://host/a"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(url)
    assert caught.value.reason == "malformed URL"


def test_errors_survive_pickling_and_say_reason_and_message() -> None:
    for error in (SourceError("a", "b"), TableError("a", "b"), StorageError("a", "b"), ObjectError("a", "b", retryable=True)):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (again.reason, again.message, str(again)) == ("a", "b", "a: b")
        assert getattr(again, "retryable", None) == getattr(error, "retryable", None)


def test_sources_survive_pickling(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.txt").write_bytes(b"1")
    memory_store("pickle").put("p/a.txt", b"1")
    for url in (str(tmp_path / "bucket"), "memory://pickle/p"):
        source = pickle.loads(pickle.dumps(open_source(url)))
        assert source.fetch(f"{source.root}/a.txt", tmp_path, 10).read_bytes() == b"1"


def test_two_objects_with_one_uri_are_no_listing() -> None:
    class Twice:
        root = "gs://bucket"

        def check(self) -> None: ...

        def listing(self) -> Iterator[pa.RecordBatch]:
            row = {"uri": "gs://bucket/a", "size": 1, "etag": None, "modified": None}
            yield pa.RecordBatch.from_pylist([row, row], schema=LISTING)

        def fetch(self, uri: str, folder: Path, limit: int) -> Path:
            raise NotImplementedError

    with pytest.raises(SourceError, match="share"):
        list_source(Twice())
