"""The page's server gives bytes of the table's own objects, in parts, to this machine's browser, and to nobody and nothing else."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zlib
from pathlib import Path
from urllib.parse import quote

import page_bucket
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from retrieval.page import guard, ranges, server
from retrieval.page.items import id_of, uri_of
from retrieval.page.kept import Kept
from retrieval.page.library import Library
from retrieval.page.server import make_app
from storage import table as tables
from storage.objects import memory_store
from storage.stores import StoreSource

ROOT = Path(__file__).parent.parent
LIMIT = 300_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return page_bucket.page_table(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def library(made):
    opened = Library(str(made[1]))
    opened.open()
    return opened


@pytest.fixture(scope="module")
def client(library):
    return TestClient(make_app(library, LIMIT), base_url="http://127.0.0.1:8765")


@pytest.fixture(scope="module")
def ids(made):
    """Id of each object by the last part of its name."""
    uris = tables.published(tables.connect(str(made[1])), "media").to_arrow()["uri"].to_pylist()
    return {uri.rpartition("/")[2]: id_of(uri) for uri in uris}


def drop(client, data, name="query.png", **how):
    return client.post("/api/drop", content=data, headers={"X-Name": quote(name)} | how.pop("headers", {}), **how)


# Who may ask


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:9000", "[::1]:8765", "LOCALHOST", "127.0.0.1"])
def test_the_page_answers_under_the_names_of_loopback(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost:80@evil.example",
        "10.0.0.7:8765",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/outline", "/static/main.js", "/nothing"])
def test_another_name_that_points_here_is_refused(client, host, path):
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 421 and "127.0.0.1" in answer.text


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:9999", "http://localhost:8765", "null", "https://127.0.0.1:8765"]
)
def test_another_origin_is_refused(client, origin):
    for ask in (lambda **how: drop(client, b"x", **how), lambda **how: client.get("/api/outline", **how)):
        assert ask(headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_neither_asks_nor_embeds_what_is_here(client, ids, site):
    for path in ("/api/search?q=dog", f"/media/{ids['1.png']}", f"/thumbnail/{ids['1.png']}", "/static/main.js"):
        assert client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert drop(client, b"x", headers={"Sec-Fetch-Site": site}).status_code == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_the_own_origin_may_ask(client):
    own = {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/outline", headers=own).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_method_changes_anything(client, method):
    assert client.request(method, "/").status_code == 405


def test_every_answer_forbids_sniffing_frames_and_inline_scripts(client, ids):
    for path in ("/", "/static/main.js", "/api/outline", f"/media/{ids['1.png']}", "/nothing", "/media/none"):
        headers = client.get(path).headers
        assert guard.HEADERS.items() <= {name.title(): value for name, value in headers.items()}.items() | guard.HEADERS.items()
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self';" in policy


def test_the_page_brings_no_inline_script_or_style_and_names_no_other_host():
    for path in (ROOT / "retrieval/page/static").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "document.write" not in text and "eval(" not in text
        outside = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in outside and "https://" not in outside
        if path.suffix == ".html":
            assert "style=" not in text and " on" + "click=" not in text and "<script>" not in text


# What may be asked for


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/static/", "/static/no.js", "/../../etc/passwd"),
        *("/media/../../../etc/passwd", "/media/..%2f..%2fetc%2fpasswd", "/media/", "/media/a b", "/media/%00", "/api/nothing"),
    ],
)
def test_other_paths_are_not_there(client, path):
    assert client.get(path).status_code == 404


def test_an_id_names_only_what_the_table_holds(client, made):
    bucket, _ = made
    secret = bucket.parent / "secret.png"
    secret.write_bytes(page_bucket.png())
    elsewhere = [
        f"file://{secret}",
        f"file://{bucket}/../secret.png",
        "file:///etc/passwd",
        f"file://{bucket}/pictures/broken.png",
        "s3://x/y",
    ]
    for uri in [*elsewhere, f"file://{bucket}/pictures/1.png'", "' OR 1=1 --"]:
        for place in ("media", "thumbnail", "api/like", "api/text", "api/object", "api/loudness"):
            answer = client.get(f"/{place}/{id_of(uri)}")
            assert answer.status_code == 404 and "holds no such object" in answer.json()["error"], (place, uri)


def test_ids_are_one_spelling_of_any_uri():
    for uri in ("a", "file:///x/é 图片 #1 100%.png", "s3://b/a//b", "x" * 2000):
        assert uri_of(id_of(uri)) == uri and id_of(uri).replace("-", "").replace("_", "").isalnum()
    for other in ("", "!", "YQ==", "YR", "a b", "_w", id_of("é")[:-1]):  # "YR" spells "a" with bits to spare, "_w" is no UTF-8
        assert uri_of(other) is None or id_of(uri_of(other)) == other
    assert uri_of("YR") is None and uri_of("YQ==") is None and uri_of("_w") is None


@pytest.mark.parametrize("name", ["story.md", "page.html", "drawing.png", "rows.jsonl#0"])
def test_texts_and_rows_have_no_bytes_so_markup_is_never_served(client, ids, name):
    for place in ("media", "thumbnail"):
        answer = client.get(f"/{place}/{ids[name]}")
        assert answer.status_code in (404, 422) and answer.headers["content-type"] == "application/json"
    assert client.get(f"/api/text/{ids[name]}").json()["parts"]


# Parts of bytes


def test_a_medium_is_served_as_what_it_is_under_its_name(client, ids, made):
    for name, kind in {"1.png": "image/png", "long.wav": "audio/wav", "flash.mp4": "video/mp4"}.items():
        answer = client.get(f"/media/{ids[name]}")
        assert (answer.status_code, answer.headers["content-type"], answer.headers["accept-ranges"]) == (200, kind, "bytes")
        assert answer.content == next(made[0].rglob(name)).read_bytes()
        assert answer.headers["content-disposition"] == f"inline; filename=\"{name}\"; filename*=UTF-8''{name}"


def test_what_no_browser_shows_is_only_downloaded(client, ids):
    answer = client.get(f"/media/{ids['scan.tiff']}")
    assert answer.headers["content-type"] == "application/octet-stream" and answer.headers["content-disposition"].startswith("attachment")


def test_a_name_cannot_break_out_of_its_header(client, ids):
    told = client.get(f"/media/{ids[page_bucket.HOSTILE]}").headers["content-disposition"]
    assert told == f"inline; filename=\"_img src_x onerror_alert_1_____.png\"; filename*=UTF-8''{quote(page_bucket.HOSTILE, safe='')}"
    assert client.get(f"/media/{ids['图片 #6 100%.png']}").headers["content-disposition"].endswith(quote("图片 #6 100%.png", safe=""))


@pytest.mark.parametrize(
    "asked, first, last",
    [("bytes=0-9", 0, 9), ("bytes=10-", 10, None), ("bytes=-7", -7, None), ("BYTES=5-5", 5, 5), ("bytes=100-999999999", 100, None)],
)
def test_a_range_is_answered_with_just_these_bytes(client, ids, made, asked, first, last):
    data = (made[0] / "sounds/long.wav").read_bytes()
    answer = client.get(f"/media/{ids['long.wav']}", headers={"Range": asked})
    start = first % len(data)
    stop = len(data) if last is None else last + 1
    assert answer.status_code == 206 and answer.content == data[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"
    assert answer.headers["content-length"] == str(stop - start)


def test_a_range_behind_the_end_cannot_be_satisfied(client, ids, made):
    size = (made[0] / "sounds/long.wav").stat().st_size
    for asked in (f"bytes={size}-", "bytes=-0"):
        answer = client.get(f"/media/{ids['long.wav']}", headers={"Range": asked})
        assert (answer.status_code, answer.headers["content-range"], answer.content) == (416, f"bytes */{size}", b"")


@pytest.mark.parametrize("asked", ["bytes=9-0", "bytes=a-b", "lines=0-9", "bytes=0-1,4-5", "bytes=-", "bytes", "bytes=--1"])
def test_a_range_that_is_none_gives_the_whole(client, ids, asked):
    assert client.get(f"/media/{ids['moment.wav']}", headers={"Range": asked}).status_code == 200


def test_ranges_are_what_a_naive_reader_of_the_rfc_says():
    for size in (0, 1, 7):
        for first in [*range(9), None]:
            for last in [*range(9), None]:
                header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
                whole = range(size)
                if (first is None and last is None) or (first is not None and last is not None and last < first):
                    expected = None
                elif first is None:
                    expected = list(whole[max(0, size - last) :])
                else:
                    expected = [n for n in whole if n >= first and (last is None or n <= last)]
                found = ranges.wanted(header, size)
                assert (found if found is None else list(range(*found))) == expected, (header, size)


def test_head_tells_without_bytes_and_an_etag_saves_them(client, ids, made):
    path = f"/media/{ids['long.wav']}"
    head = client.head(path)
    assert head.content == b"" and int(head.headers["content-length"]) == (made[0] / "sounds/long.wav").stat().st_size
    etag = head.headers["etag"]
    assert client.get(path, headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304
    assert client.get(path, headers={"Range": "bytes=0-9", "If-Range": etag}).status_code == 206
    assert client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200


def test_what_changed_or_vanished_since_is_told_and_not_served(made, tmp_path):
    bucket, database = tmp_path / "bucket", made[1]
    shutil.copytree(made[0], bucket)
    moved = Library(str(database), source=str(bucket))
    moved.open()
    client = TestClient(make_app(moved), base_url="http://localhost")
    name = id_of(f"file://{made[0]}/pictures/1.png")
    assert client.get(f"/media/{name}").content == (bucket / "pictures/1.png").read_bytes()
    (bucket / "pictures/1.png").write_bytes(b"<svg/>")
    for place in ("media", "thumbnail"):
        answer = client.get(f"/{place}/{name}")
        assert (answer.status_code, answer.json()["reason"]) == (410, "changed")
    (bucket / "pictures/1.png").unlink()
    for place in ("media", "thumbnail"):
        answer = client.get(f"/{place}/{name}")
        assert (answer.status_code, answer.json()["reason"]) == (410, "vanished")
    (bucket / "pictures/1.png").symlink_to("/nowhere")
    assert client.get(f"/media/{name}").json()["reason"] == "broken link"


def test_a_file_of_the_same_size_that_was_rewritten_has_changed(made, tmp_path):
    folder = tmp_path / "own"
    bucket, database = page_bucket.page_bucket(folder / "bucket"), folder / "lance"
    for path in [path for path in bucket.rglob("*") if path.is_file() and path.name != "1.png"]:
        path.unlink()
    page_bucket.embed(bucket, database, workers=1)
    library = Library(str(database))
    library.open()
    client = TestClient(make_app(library), base_url="http://localhost")
    path, name = bucket / "pictures/1.png", id_of(f"file://{bucket}/pictures/1.png")
    assert client.get(f"/media/{name}").status_code == 200
    path.write_bytes(path.read_bytes()[::-1])
    assert client.get(f"/media/{name}").json()["reason"] == "changed"


def test_objects_of_a_store_are_read_in_parts_and_never_whole(made, ids, monkeypatch):
    bucket, database = made
    store = memory_store("page")
    for path in bucket.rglob("*.*"):
        store.put(f"in/{path.relative_to(bucket)}", path.read_bytes())
    library = Library(str(database), source="memory://page/in")
    library.open()
    client = TestClient(make_app(library), base_url="http://localhost")
    read, part = [], StoreSource.part

    def counted(self, uri, start, stop):
        read.append((uri.rpartition("/")[2], stop - start))
        return part(self, uri, start, stop)

    monkeypatch.setattr(StoreSource, "part", counted)
    data = (bucket / "sounds/long.wav").read_bytes()
    answer = client.get(f"/media/{ids['long.wav']}", headers={"Range": "bytes=1000-1999"})
    assert answer.status_code == 206 and answer.content == data[1000:2000]
    assert sum(size for name, size in read if name == "long.wav") < 1_100
    for name in ("1.png", "flash.mp4"):
        assert client.get(f"/thumbnail/{ids[name]}?at=4.1").headers["content-type"] == "image/webp"
    assert client.get(f"/api/loudness/{ids['long.wav']}").json()["bars"]
    store.delete("in/pictures/1.png")
    assert client.get(f"/thumbnail/{ids['1.png']}").json()["reason"] == "vanished"


# Thumbnails and shapes


def test_a_thumbnail_is_a_small_picture_whatever_the_object_is(client, ids):
    for name in ("1.png", "scan.tiff", page_bucket.HOSTILE, "flash.mp4"):
        answer = client.get(f"/thumbnail/{ids[name]}")
        assert answer.headers["content-type"] == "image/webp"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == "WEBP" and max(image.size) <= 480


def test_a_video_is_shown_at_its_moment(client, ids):
    def light(at):
        body = client.get(f"/thumbnail/{ids['flash.mp4']}?at={at}").content
        with Image.open(io.BytesIO(body)) as image:
            return sum(image.convert("L").tobytes()) / (image.width * image.height)

    assert light(4.1) > 180 and light(2.0) < 80 and light(99) < 80 and light(0) < 80


@pytest.mark.parametrize("asked", ["size=huge", "size=../x", "at=x", "at="])
def test_a_thumbnail_of_no_such_kind_is_not_there(client, ids, asked):
    assert client.get(f"/thumbnail/{ids['1.png']}?{asked}").status_code == 404


def test_a_sound_has_no_picture_and_a_picture_no_loudness(client, ids):
    assert client.get(f"/thumbnail/{ids['long.wav']}").json()["reason"] == "no picture"
    assert client.get(f"/api/loudness/{ids['1.png']}").json() == {"bars": []}


def test_the_shape_of_a_sound_follows_its_peaks(client, ids):
    bars = client.get(f"/api/loudness/{ids['long.wav']}").json()["bars"]
    assert len(bars) == 120 and max(bars) == 100 and 0 <= min(bars) < 60


# Questions


def answers(told):
    return [answer for group in told["groups"] for answer in group["answers"]]


def test_words_are_answered_medium_by_medium_best_first(client):
    told = client.get("/api/search", params={"q": "a white cat"}).json()
    assert [group["medium"] for group in told["groups"]] == ["image", "audio", "video", "text"]
    for group in told["groups"]:
        scores = [answer["score"] for answer in group["answers"]]
        assert scores == sorted(scores, reverse=True) and {answer["medium"] for answer in group["answers"]} == {group["medium"]}
        assert len({answer["id"] for answer in group["answers"]}) == len(scores)


def test_an_answer_tells_who_it_is_and_when(client, ids, made):
    told = {answer["id"]: answer for answer in answers(client.get("/api/search", params={"q": "一只白色的猫"}).json())}
    long = told[ids["long.wav"]]
    assert (long["name"], long["folder"], long["medium"], long["uri"]) == (
        "long.wav",
        "sounds",
        "audio",
        f"file://{made[0]}/sounds/long.wav",
    )
    assert long["seconds"] == pytest.approx(9.216) and 0 <= long["start"] < long["end"] <= 9.3
    assert long["size"] == (made[0] / "sounds/long.wav").stat().st_size
    passage = told[ids["story.md"]]["passage"]
    whole = (made[0] / "texts/story.md").read_text()
    assert "".join(passage) in whole and passage[1]


def test_a_text_is_shown_whole_from_its_chunks(client, ids, made):
    told = client.get(f"/api/text/{ids['story.md']}").json()
    assert "".join(part["words"] for part in told["parts"]).split() == (made[0] / "texts/story.md").read_text().split() and not told["cut"]
    assert "<b>bold</b>" in client.get(f"/api/text/{ids['rows.jsonl#1']}").json()["parts"][0]["words"]


def test_more_like_this_leaves_out_the_thing_itself_and_finds_its_copy(client, ids):
    told = answers(client.get(f"/api/like/{ids['1.png']}").json())
    assert ids["1.png"] not in {answer["id"] for answer in told}
    assert told[0]["id"] == ids["scan.tiff"] and told[0]["score"] > 0.99


def test_more_like_a_moment_finds_the_moment(client, ids):
    told = answers(client.get(f"/api/like/{ids['moment.wav']}", params={"medium": "audio"}).json())
    assert told[0]["id"] == ids["long.wav"] and told[0]["start"] == pytest.approx(6.144)
    again = answers(client.get(f"/api/like/{ids['long.wav']}", params={"segment": 2, "medium": "audio"}).json())
    assert again[0]["id"] == ids["moment.wav"]


def test_filters_hold_for_every_answer(client, ids, made):
    def found(**fields):
        return {answer["id"] for answer in answers(client.get("/api/search", params={"q": "a cat"} | fields).json())}

    assert found(medium="video") == {ids["flash.mp4"]}
    assert found(prefix=f"file://{made[0]}/rows") == {ids["rows.jsonl#0"], ids["rows.jsonl#1"]}
    assert found(after="2999-01-01") == set() and found(before="1999-01-01") == set()
    assert found(modality="image", medium="audio") == set()
    assert len(found(limit="1")) == 4


@pytest.mark.parametrize(
    "fields", [{"q": ""}, {"q": "cat", "medium": "smell"}, {"q": "cat", "modality": "'"}, {"q": "cat", "after": "now"}]
)
def test_what_cannot_be_asked_is_said_in_words(client, fields):
    answer = client.get("/api/search", params=fields)
    assert answer.status_code == 422 and len(answer.json()["error"]) > 20


def test_a_dropped_file_is_a_question(client, ids, made):
    told = answers(drop(client, (made[0] / "pictures/1.png").read_bytes(), "whatever.bin").json())
    assert {told[0]["id"], told[1]["id"]} == {ids["1.png"], ids["scan.tiff"]}
    sound = answers(drop(client, (made[0] / "sounds/moment.wav").read_bytes(), "s.wav", params={"medium": "audio"}).json())
    assert {sound[0]["id"], sound[1]["id"]} == {ids["long.wav"], ids["moment.wav"]}


def test_the_name_of_a_dropped_file_leads_nowhere(client, ids):
    told = answers(drop(client, b"a white cat", "../../../../tmp/x/\0\n.txt").json())
    assert told and drop(client, page_bucket.png(), "x" * 5000 + "/..").status_code == 200


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(client):
    assert drop(client, bytes(LIMIT + 1)).status_code == 413
    assert drop(client, b"x", headers={"Content-Length": str(10**15)}).status_code == 413
    answer = client.post("/api/drop", content=iter([bytes(LIMIT), b"x"]), headers={"X-Name": "x.png"})
    assert answer.status_code == 413 and "MB" in answer.json()["error"]


def test_an_upload_without_a_length_is_not_read_on_once_it_is_too_large():
    came = []

    async def receive():
        came.append(1)
        return {"type": "http.request", "body": bytes(1_000), "more_body": len(came) < 1_000}

    with pytest.raises(HTTPException) as refusal:
        asyncio.run(server._body(Request({"type": "http", "method": "POST", "headers": []}, receive), 10_000))
    assert refusal.value.status_code == 413 and len(came) == 11


def test_a_dropped_bomb_or_broken_file_is_refused_with_its_reason(client):
    chunk = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + page_bucket.png()[33:]
    answer = drop(client, bomb)
    assert (answer.status_code, answer.json()["reason"]) == (422, "too many pixels")
    assert drop(client, page_bucket.png()[:60]).json()["reason"] == "truncated"
    assert drop(client, b"").json()["reason"] == "empty"
    assert drop(client, b"%PDF-1.7 " + bytes(50), "a.png").json()["reason"] == "other content"


# The map, the overview, and the page itself


def test_every_object_has_its_place_on_the_map(client, ids):
    told = client.get("/api/map").json()
    assert set(told["ids"]) == set(ids.values()) and told["objects"] == len(ids)
    assert {len(told[column]) for column in ("ids", "names", "media", "versions", "x", "y")} == {len(ids)}
    assert all(0 <= value <= 1 for axis in "xy" for value in told[axis])
    assert max(told["x"]) - min(told["x"]) > 0.99 or max(told["y"]) - min(told["y"]) > 0.99


def test_the_overview_tells_runs_and_quarantine_with_reasons(client, made):
    told = client.get("/api/overview").json()
    failed = {each["uri"].rpartition("/")[2]: each["reason"] for each in told["failures"]}
    assert failed == {"broken.png": "truncated", "empty.txt": "empty"} and told["failures_all"] == 2
    assert told["runs"][0]["state"] == "finished" and told["runs"][0]["quarantined"] == 2


@pytest.mark.slow
def test_a_later_run_is_followed(made, tmp_path, monkeypatch):
    from retrieval.page import library as libraries

    bucket, database = tmp_path / "bucket", tmp_path / "lance"
    bucket.mkdir()
    (bucket / "a.txt").write_text("a red dog")
    page_bucket.embed(bucket, database, workers=1)
    library = Library(str(database))
    library.open()
    client = TestClient(make_app(library), base_url="http://localhost")
    monkeypatch.setattr(libraries, "FRESH", 0.0)
    assert len(answers(client.get("/api/search?q=dog").json())) == 1
    (bucket / "b.txt").write_text("a blue cat")
    page_bucket.embed(bucket, database, workers=1)
    assert {answer["name"] for answer in answers(client.get("/api/search?q=dog").json())} == {"a.txt", "b.txt"}


def test_the_page_waits_for_a_table_that_is_still_opening(made):
    library = Library(str(made[1]))
    client = TestClient(make_app(library), base_url="http://localhost")
    assert client.get("/").status_code == 200 and client.get("/api/outline").json()["state"] == "opening"
    library.open()
    assert client.get("/api/outline").json()["state"] == "open"


def test_what_nobody_expected_is_told_to_the_terminal_alone(library, monkeypatch, caplog):
    monkeypatch.setattr("retrieval.page.overview.outline", lambda _: {}["secret of the house"])
    answer = TestClient(make_app(library), base_url="http://localhost").get("/api/outline")
    assert answer.status_code == 500 and "secret" not in answer.text and "secret of the house" in caplog.text


def test_what_is_kept_is_bounded_and_the_oldest_goes_first():
    kept = Kept(10, len)
    for key, value in (("a", "xxxx"), ("b", "xxxx")):
        kept.put(key, value)
    assert kept.get("a") == "xxxx"
    kept.put("c", "xxxx")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("xxxx", None, "xxxx")
    kept.put("a", "y")
    kept.put("d", "z" * 5)
    assert kept.get("c") == "xxxx" and kept.get("a") == "y" and kept.get("d") == "zzzzz"


def test_the_command_prints_its_address_serves_and_ends_by_ctrl_c_without_prefect(made):
    code = (
        "import sys, flows.cli\nsys.argv[1:] = ['view', sys.argv[1], '--port', '0', '--json']\n"
        "try: flows.cli.main()\nfinally: print('prefect' in sys.modules)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(made[1])], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as page:
        address = json.loads(page.stdout.readline())["address"]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
        page.send_signal(signal.SIGINT)
        out, err = page.communicate(timeout=30)
    assert page.returncode == 0 and out.strip() == "False" and err == ""


def test_a_table_that_is_not_there_and_a_port_that_is_taken_are_refused(made):
    def refused(*arguments):
        command = [sys.executable, "-m", "flows.cli", "view", *map(str, arguments), "--no-browser"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        return done.stderr

    assert "no database" in refused(made[1].parent / "none")
    assert "no table" in refused(made[1], "--table", "other")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "another --port" in refused(made[1], "--port", taken.getsockname()[1])
