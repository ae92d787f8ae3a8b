"""What an object is now, and some of its bytes without the rest: from folders, memory and a real S3 server."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from storage.errors import ObjectError
from storage.listed import ListedSource
from storage.looks import PIECE, Look
from storage.objects import Source, list_source, memory_store, open_source

DATA = bytes(range(251)) * 10_500  # more than two pieces
PARTS = [(0, 10), (5, 5), (PIECE - 3, PIECE + 3), (len(DATA) - 7, len(DATA)), (0, len(DATA))]
ODD = "a//b.bin"  # a key that obstore cannot spell


@pytest.fixture(params=["folder", "memory", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    return globals()[f"_{request.param}"](request, tmp_path, monkeypatch)


def _folder(_, folder: Path, __) -> Source:
    (folder / "one.bin").write_bytes(DATA)
    return open_source(str(folder))


def _memory(request: pytest.FixtureRequest, *_) -> Source:
    memory_store(request.node.name).put("in/one.bin", DATA)
    return open_source(f"memory://{request.node.name}/in")


def _s3(request: pytest.FixtureRequest, _, monkeypatch: pytest.MonkeyPatch) -> Source:
    endpoint = request.getfixturevalue("s3_server")
    values = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "hush", "ENDPOINT_URL": endpoint, "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="hush")
    client.create_bucket(Bucket="looks")
    for key in ("in/one.bin", f"in/{ODD}"):
        client.put_object(Bucket="looks", Key=key, Body=DATA)
    return open_source("s3://looks/in")


@pytest.mark.parametrize("start, stop", PARTS)
def test_a_part_is_just_these_bytes(source: Source, start: int, stop: int):
    pieces = list(source.part(f"{source.root}/one.bin", start, stop))
    assert b"".join(pieces) == DATA[start:stop]
    if isinstance(source, type(open_source("."))):
        assert all(len(piece) <= PIECE for piece in pieces)


def test_a_look_tells_what_a_listing_tells(source: Source):
    rows = list_source(source).rows(named=True)
    row = next(row for row in rows if row["uri"].endswith("/one.bin"))
    look = source.look(row["uri"])
    assert look.is_as(row["size"], row["etag"]) and look.etag is not None
    assert not look.is_as(row["size"] - 1, row["etag"]) and not look.is_as(row["size"], "other")


def test_what_is_not_there_has_vanished(source: Source):
    for ask in (source.look, lambda uri: list(source.part(uri, 0, 10))):
        with pytest.raises(ObjectError) as told:
            ask(f"{source.root}/two.bin")
        assert told.value.reason == "vanished"


def test_what_lies_elsewhere_is_refused(source: Source):
    for uri in ("file:///etc/passwd", f"{source.root}x/one.bin", "s3://other/one.bin"):
        with pytest.raises(ValueError, match="does not lie in"):
            source.look(uri)
        with pytest.raises(ValueError, match="does not lie in"):
            list(source.part(uri, 0, 10))


def test_a_key_that_obstore_cannot_spell_is_read_too(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = _s3(request, tmp_path, monkeypatch)
    uri = f"{source.root}/{ODD}"
    assert source.look(uri) == Look(len(DATA), None)
    assert [b"".join(source.part(uri, *part)) for part in PARTS] == [DATA[start:stop] for start, stop in PARTS]


def test_a_file_that_was_changed_or_replaced_is_another(tmp_path: Path):
    source = _folder(None, tmp_path, None)
    row = list_source(source).row(0, named=True)
    same_size = bytes(reversed(DATA))
    (tmp_path / "new").write_bytes(same_size)
    (tmp_path / "new").replace(tmp_path / "one.bin")
    assert not source.look(row["uri"]).is_as(row["size"], row["etag"])
    assert Look(3, None).is_as(3, "any") and Look(3, "any").is_as(3, None) and Look(3, '"a"').is_as(3, "a")


def test_a_pipe_is_refused_without_being_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    source = open_source(str(tmp_path))
    with pytest.raises(ObjectError, match="not a file"):
        list(source.part(f"{source.root}/pipe", 0, 10))


def test_some_objects_of_a_source_are_looked_at_through_it(tmp_path: Path):
    source = _folder(None, tmp_path, None)
    listed = ListedSource(source, list_source(source))
    assert listed.look(f"{source.root}/one.bin") == source.look(f"{source.root}/one.bin")
    assert b"".join(listed.part(f"{source.root}/one.bin", 3, 9)) == DATA[3:9]
