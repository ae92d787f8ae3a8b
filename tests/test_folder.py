"""A folder as a source: every odd name, links, pipes, and folders that change or refuse."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ObjectError, SourceError
from storage.folder import key_to_name, name_to_key
from storage.objects import list_source, open_source
from storage.schema import LISTING

ODD = [
    "plain.txt",
    "with space.txt",
    " leading",
    "trailing ",
    "%20.txt",
    "a%2Fb.txt",
    "hash#.txt",
    "what?.txt",
    "quo'te\".txt",
    "图片/猫.jpg",
    "new\nline.txt",
    "carriage\r.txt",
    "tab\t.txt",
    "\x01.txt",
    "back\\slash.txt",
    "star*.txt",
    "[x]{y}|^`~.txt",
    "UPPER.JPG",
    ".hidden",
    ".folder/.hidden",
    "...",
    "e\u0301.txt",
    "é.txt",
    "😀.txt",
    "\ufeffbom.txt",
    "\ufffd.txt",
    "\ufffdE9.txt",
    "plus+&=.txt",
    "s3:x",
    "a/b/c/d/e.txt",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "bucket"
    root.mkdir()
    return root


def put(root: Path, key: str, data: bytes = b"x") -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def keys(source_url: str) -> set[str]:
    source = open_source(source_url)
    uris = list_source(source)["uri"].to_list()
    assert len(set(uris)) == len(uris)
    assert all(uri.startswith(source.root + "/") for uri in uris)
    return {uri[len(source.root) + 1 :] for uri in uris}


def test_every_odd_name_is_listed_as_it_is_and_read(folder: Path, tmp_path: Path) -> None:
    for key in ODD:
        put(folder, key, key.encode())
    source = open_source(str(folder))
    named = {key for key in ODD if not re.search("\ufffd[0-9A-F]{2}", key)}
    assert keys(str(folder)) >= named
    assert len(keys(str(folder))) == len(ODD)
    read = {source.fetch(uri, tmp_path, 1000).read_bytes().decode() for uri in list_source(source)["uri"]}
    assert read == set(ODD)


def test_names_that_are_not_utf8_are_listed_apart_and_read(folder: Path, tmp_path: Path) -> None:
    names = [b"caf\xe9.txt", b"caf\xc3\xa9.txt", b"caf\xef\xbf\xbdE9.txt", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f"]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
    source = open_source(str(folder))
    uris = list_source(source)["uri"].to_list()
    assert f"{source.root}/caf\ufffdE9.txt" in uris
    assert {source.fetch(uri, tmp_path, 100).read_bytes() for uri in uris} == set(names)


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=3), st.sampled_from([b"\xef\xbf\xbd", b"E9", b"\xe9", b"A"])), max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_key_is_valid_unicode_and_stands_for_exactly_one_name(parts: list[bytes]) -> None:
    data = b"".join(parts)
    key = name_to_key(data.decode("utf-8", "surrogateescape"))
    assert key_to_name(key.encode().decode()).encode("utf-8", "surrogateescape") == data


def test_a_folder_with_a_name_that_is_not_utf8_is_opened_again_by_its_root(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9 %20#"))
    put(root, "a.txt", b"1")
    source = open_source(str(root))
    again = open_source(source.root)
    assert again.root == source.root
    assert list_source(again)["uri"].to_list() == [f"{source.root}/a.txt"]
    assert again.fetch(f"{source.root}/a.txt", tmp_path, 10).read_bytes() == b"1"


def test_a_listing_has_the_columns_of_the_schema_and_the_facts_of_the_file(folder: Path) -> None:
    path = put(folder, "a.txt", b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    batches = list(open_source(str(folder)).listing())
    assert [batch.schema for batch in batches] == [LISTING]
    (row,) = pa.Table.from_batches(batches).to_pylist()
    assert row["size"] == 5
    assert row["modified"] == datetime.fromtimestamp(1_700_000_000, UTC).replace(microsecond=123456)


def test_the_etag_changes_with_size_time_and_file(folder: Path) -> None:
    path = put(folder, "a.txt", b"one")
    os.utime(path, (1, 1))
    etags = [list_source(open_source(str(folder)))["etag"][0]]
    for data, moment in ((b"one!", 1), (b"one!", 2)):
        path.write_bytes(data)
        os.utime(path, (moment, moment))
        etags.append(list_source(open_source(str(folder)))["etag"][0])
    other = put(folder, "new", b"one!")
    os.utime(other, (2, 2))
    other.replace(path)
    etags.append(list_source(open_source(str(folder)))["etag"][0])
    assert len(set(etags)) == 4


def test_a_root_has_one_spelling(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a.txt")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = [
        str(folder),
        f"{folder}/",
        "bucket",
        "./bucket/../bucket",
        "~/bucket",
        "link",
        f"file://{folder}",
        f"file://{tmp_path}/link/",
    ]
    assert {open_source(spelling).root for spelling in spellings} == {f"file://{folder}"}
    assert keys("link") == {"a.txt"}
    assert open_source("~nobody-of-this-name").root == f"file://{tmp_path}/~nobody-of-this-name"


def test_the_root_of_the_file_system_is_a_folder_too() -> None:
    source = open_source("/")
    assert source.root == "file://"
    assert next(iter(source.listing()))["uri"][0].as_py().startswith("file:///")


def test_links_to_files_are_followed_and_links_to_folders_are_marked(folder: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "o.txt", b"outside")
    put(folder, "real/a.txt", b"inside")
    (folder / "to-file.txt").symlink_to(outside)
    (folder / "to-inside.txt").symlink_to("real/a.txt")
    (folder / "to-folder").symlink_to(tmp_path / "outside")
    (folder / "real" / "loop").symlink_to(folder)
    (folder / "nowhere.txt").symlink_to("gone")
    (folder / "self.txt").symlink_to("self.txt")
    source = open_source(str(folder))
    sizes = {uri[len(source.root) + 1 :]: size for uri, size in list_source(source).select("uri", "size").iter_rows()}
    assert sizes == {
        "to-file.txt": 7,
        "to-inside.txt": 6,
        "real/a.txt": 6,
        "to-folder/": 0,
        "real/loop/": 0,
        "nowhere.txt": 0,
        "self.txt": 0,
    }
    assert source.fetch(f"{source.root}/to-file.txt", tmp_path, 100).read_bytes() == b"outside"
    for key, reason in {"to-folder/": "not a file", "nowhere.txt": "broken link", "self.txt": "broken link"}.items():
        with pytest.raises(ObjectError, match=reason) as caught:
            source.fetch(f"{source.root}/{key}", tmp_path, 100)
        assert (caught.value.reason, caught.value.retryable) == (reason, False)


def test_pipes_and_sockets_are_listed_and_never_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe.jpg")
    monkeypatch.chdir(folder)  # a socket's path has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        listener.listen()
        listener.setblocking(False)
        source = open_source(str(folder))
        assert keys(str(folder)) == {"pipe.jpg", "socket.png"}
        for key, kind in {"pipe.jpg": "a pipe", "socket.png": "a socket"}.items():
            with pytest.raises(ObjectError, match=kind) as caught:
                source.fetch(f"{source.root}/{key}", tmp_path, 100)
            assert caught.value.reason == "not a file"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_device_is_never_opened(tmp_path: Path) -> None:
    source = open_source("/dev")
    with pytest.raises(ObjectError, match="a device"):
        source.fetch("file:///dev/zero", tmp_path, 100)


def test_a_file_of_a_folder_is_not_copied(folder: Path, tmp_path: Path) -> None:
    path = put(folder, "a.txt")
    source = open_source(str(folder))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert source.fetch(f"{source.root}/a.txt", scratch, 10) == path
    assert list(scratch.iterdir()) == []


def test_a_file_over_the_limit_is_refused_with_both_numbers(folder: Path, tmp_path: Path) -> None:
    put(folder, "a.txt", b"x" * 2001)
    source = open_source(str(folder))
    assert source.fetch(f"{source.root}/a.txt", tmp_path, 2001)
    with pytest.raises(ObjectError, match=r"2,001 bytes, allowed are 2,000") as caught:
        source.fetch(f"{source.root}/a.txt", tmp_path, 2000)
    assert caught.value.reason == "too many bytes"


def test_a_file_that_left_after_the_listing_has_vanished(folder: Path, tmp_path: Path) -> None:
    put(folder, "sub/a.txt").unlink()
    source = open_source(str(folder))
    for key in ("sub/a.txt", "gone/a.txt"):
        with pytest.raises(ObjectError) as caught:
            source.fetch(f"{source.root}/{key}", tmp_path, 100)
        assert (caught.value.reason, caught.value.retryable) == ("vanished", False)


def test_a_uri_of_another_source_or_above_the_root_is_refused(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret.txt")
    source = open_source(str(folder))
    for uri in (f"{source.root}/../secret.txt", f"{source.root}2/a", "s3://bucket/a", f"{source.root}/a\0"):
        with pytest.raises(ValueError, match=r"listing|listed"):
            source.fetch(uri, tmp_path, 100)


def test_an_empty_folder_is_fine_and_has_an_empty_listing(folder: Path) -> None:
    source = open_source(str(folder))
    source.check()
    frame = list_source(source)
    assert frame.height == 0
    assert frame.schema == {"uri": pl.String, "size": pl.Int64, "etag": pl.String, "modified": pl.Datetime("us", "UTC")}


def test_a_missing_folder_and_a_file_in_its_place_are_told_apart(folder: Path) -> None:
    path = put(folder, "a.txt")
    for url, reason in {str(folder / "no"): "missing folder", str(path): "not a folder", str(path / "x"): "not a folder"}.items():
        source = open_source(url)
        for contact in (source.check, lambda source=source: list_source(source)):
            with pytest.raises(SourceError) as caught:
                contact()
            assert caught.value.reason == reason


def test_a_folder_that_cannot_be_read_fails_the_listing_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        put(folder, f"{i}/a.txt")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/1"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=f"{folder}/1") as caught:
        list_source(open_source(str(folder)))
    assert caught.value.reason == "denied"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rights_that_lack_are_named(folder: Path, tmp_path: Path) -> None:
    path = put(folder, "sub/a.txt")
    path.chmod(0)
    source = open_source(str(folder))
    with pytest.raises(ObjectError, match="denied"):
        source.fetch(f"{source.root}/sub/a.txt", tmp_path, 100)
    path.parent.chmod(0)
    try:
        with pytest.raises(SourceError, match="denied"):
            list_source(source)
    finally:
        path.parent.chmod(0o700)


def test_a_root_that_is_replaced_while_it_is_listed_fails_the_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "sub/a.txt")
    scandir = os.scandir

    def replace(path: str) -> object:
        if path.endswith("/sub"):
            folder.rename(folder.with_name("away"))
            folder.mkdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", replace)
    with pytest.raises(SourceError, match="replaced") as caught:
        list_source(open_source(str(folder)))
    assert caught.value.reason == "unavailable"


def test_a_subfolder_that_leaves_while_it_is_listed_is_gone_and_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        put(folder, f"{i}/a.txt")
    scandir = os.scandir

    def leave(path: str) -> object:
        if path.endswith("/1"):
            (folder / "1" / "a.txt").unlink()
            (folder / "1").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", leave)
    assert keys(str(folder)) == {"0/a.txt", "2/a.txt"}


def test_listings_come_in_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.folder.BATCH", 4)
    for i in range(10):
        put(folder, f"{i}")
    assert [batch.num_rows for batch in open_source(str(folder)).listing()] == [4, 4, 2]


@pytest.mark.slow
def test_a_hundred_thousand_files_are_listed_in_seconds(folder: Path) -> None:
    for i in range(100):
        (folder / f"{i}").mkdir()
        for j in range(1000):
            (folder / f"{i}/{j}").touch()
    start = time.monotonic()
    assert list_source(open_source(str(folder))).height == 100_000
    assert time.monotonic() - start < 5
