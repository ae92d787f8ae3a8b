"""Texts that live in tables: every row is an object of its own, and a changed row costs one row."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from buckets import embed, picture, rows, words
from table_rows import NOW

from flows.cli import app
from flows.embed_opening import open_run
from flows.settings import EmbedSettings, SettingsError
from retrieval.filters import Filter
from retrieval.query import Searcher
from storage import batches, quarantine, table, tables_read
from storage.errors import ObjectError
from storage.folder import FolderSource
from storage.objects import memory_store
from tasks.plan import RefusedError

ROOT = Path(__file__).parent.parent
BODY = {"text": "body"}
WITH_ID = {"text": "body", "id": "sku"}
KINDS = ["jsonl", "csv", "parquet"]


def write(path, records):
    """A table file, in place of the one that was there."""
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(records), path, row_group_size=7)
        case _:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(records[0]))
                writer.writeheader()
                writer.writerows(records)


def records(n, first=0):
    return [{"sku": f"A/{number}", "title": f"title {number}", "body": words(number)} for number in range(first, first + n)]


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def run(bucket):
    """A run over the bucket; afterwards the account balances, or the test fails."""

    def go(tables=WITH_ID, **settings):
        account = embed(bucket, bucket.parent / "lance", tables=tables, workers=1, **settings)
        assert account.balanced
        assert account.listed == account.embedded + account.unchanged + account.quarantined + sum(account.skipped.values())
        return account

    return go


@pytest.fixture
def fetched(monkeypatch):
    """Names of the files that were fetched from a folder, in order."""
    names = []
    whole = FolderSource.fetch

    def fetch(self, uri, folder, limit):
        names.append(uri.rpartition("/")[2])
        return whole(self, uri, folder, limit)

    monkeypatch.setattr(FolderSource, "fetch", fetch)
    return names


def held(bucket):
    return {row["uri"].rpartition("/")[2]: row for row in rows(bucket.parent / "lance")}


def in_quarantine(bucket):
    entries = quarantine.load(table.connect(str(bucket.parent / "lance")), "media")
    return {uri.rpartition("/")[2]: reason for uri, reason in entries.select("uri", "reason").iter_rows()}


def costs(account):
    return account.embedded, account.unchanged, account.encoded, account.reused, account.deleted


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_changed_is_paid_for(bucket, run, fetched, kind):
    path = bucket / f"shop.{kind}"
    items = records(30)
    write(path, items)
    assert costs(run()) == (30, 0, 30, 0, 0)
    before = held(bucket)
    assert before[f"shop.{kind}#A%2F3"]["text"] == words(3)
    assert {row["medium"] for row in before.values()} == {"text"}

    fetched.clear()
    assert costs(run()) == (0, 30, 0, 0, 0)
    assert fetched == [], "a file that is as it was is not even fetched"

    items[3]["body"] = "a blue train"
    write(path, items)
    assert costs(run()) == (1, 29, 1, 0, 0)
    after = held(bucket)
    assert after[f"shop.{kind}#A%2F3"]["text"] == "a blue train"
    assert {uri for uri in after if after[uri]["vector"] != before[uri]["vector"]} == {f"shop.{kind}#A%2F3"}

    write(path, items[::-1])
    assert costs(run()) == (0, 30, 0, 0, 0), "ids make order irrelevant"

    write(path, [*items[5:], *records(2, first=100)])
    assert costs(run()) == (2, 25, 2, 0, 5)
    assert set(held(bucket)) == {f"shop.{kind}#A%2F{number}" for number in (*range(5, 30), 100, 101)}
    fetched.clear()
    assert costs(run()) == (0, 27, 0, 0, 0)
    assert fetched == []


def test_without_ids_rows_are_numbered_and_those_that_moved_take_their_vectors_along(bucket, run):
    items = records(10)
    write(bucket / "t.csv", items)
    run(BODY)
    assert set(held(bucket)) == {f"t.csv#{number}" for number in range(10)}
    write(bucket / "t.csv", [*records(1, first=50), *items])
    assert costs(run(BODY)) == (11, 0, 1, 10, 0)
    assert held(bucket)["t.csv#1"]["text"] == words(0)


def test_a_caption_is_embedded_found_and_shown_with_its_text(bucket, run):
    write(bucket / "t.jsonl", [{"title": "Rain", "body": "a big red dog"}, {"title": None, "body": "a cat"}])
    run({**BODY, "caption": "title"})
    assert [held(bucket)[f"t.jsonl#{number}"]["text"] for number in range(2)] == ["Rain\na big red dog", "a cat"]
    write(bucket / "t.jsonl", [{"title": "Sun", "body": "a big red dog"}, {"title": None, "body": "a cat"}])
    assert costs(run({**BODY, "caption": "title"})) == (1, 1, 1, 0, 0)


def test_rows_are_found_by_words_and_by_the_prefix_of_their_file(bucket, run):
    write(bucket / "one.jsonl", records(5))
    write(bucket / "two.csv", records(5, first=10))
    (bucket / "plain.txt").write_text("a red dog")
    account = run()
    assert (account.listed, account.embedded) == (11, 11)
    searcher = Searcher(str(bucket.parent / "lance"))
    hits = searcher.search("a big red dog", keep=Filter(prefix=f"file://{bucket}/two.csv#"), limit=100)
    assert {hit.uri.rpartition("/")[2] for hit in hits} == {f"two.csv#A%2F{number}" for number in range(10, 15)}
    [best] = searcher.search(words(12), limit=1)
    assert (best.uri, best.text) == (f"file://{bucket}/two.csv#A%2F12", words(12))


def test_a_row_beyond_the_encoders_context_has_several_segments(bucket, run):
    text = " ".join(words(i) for i in range(400))
    write(bucket / "t.jsonl", [{"body": text}, {"body": "a cat"}])
    run(BODY)
    segments = [row for row in rows(bucket.parent / "lance") if row["uri"].endswith("#0")]
    assert len(segments) > 1
    assert [row["segment"] for row in segments] == list(range(len(segments)))
    assert all(row["text"] == text[int(row["start"]) : int(row["end"])] for row in segments)
    assert segments[-1]["end"] == len(text) > 16_384


def test_a_row_is_text_whatever_it_begins_with(bucket, run):
    texts = ["<html><body>a red dog</body></html>", "GIF89a is how a picture begins", "\ufeffa mark", "%PDF-1.7", "\0\1\2\3"]
    write(bucket / "t.jsonl", [{"body": text} for text in texts])
    (bucket / "t.txt").write_text(texts[0])
    assert run(BODY).quarantined == 1
    assert [held(bucket)[f"t.jsonl#{number}"]["text"] for number in range(4)] == texts[:4]
    assert in_quarantine(bucket) == {"t.jsonl#4": "not text"}
    assert all(row["modality"] == "text" for row in held(bucket).values())


def test_bad_rows_are_quarantined_beside_good_ones_and_looked_at_once(bucket, run, fetched):
    (bucket / "t.jsonl").write_bytes(
        b'{"sku": 1, "body": "a dog"}\n{"sku": 2, "body": null}\n{"sku": 3, "body": 7}\nnonsense\n'
        b'{"sku": 1, "body": "a cat"}\n{"body": "rain"}\n{"sku": 4, "body": "caf\xe9"}\n{"sku": 5, "body": "a train"}\n'
    )
    account = run(floor=0)
    assert (account.listed, account.embedded, account.quarantined) == (8, 2, 6)
    assert set(held(bucket)) == {"t.jsonl#1", "t.jsonl#5"}
    wrong = {"2": "empty", "3": "not a string", "@3": "not JSON", "1@4": "duplicate id", "@5": "bad id", "@6": "not UTF-8"}
    assert in_quarantine(bucket) == {f"t.jsonl#{key}": reason for key, reason in wrong.items()}
    fetched.clear()
    again = run(floor=0)
    assert (again.unchanged, again.quarantined, again.embedded, again.failures, fetched) == (2, 6, 0, [], [])


def test_a_repaired_row_leaves_quarantine_and_a_spoilt_one_loses_its_vector(bucket, run):
    items = records(4)
    items[1]["body"] = ""
    write(bucket / "t.csv", items)
    run()
    assert in_quarantine(bucket) == {"t.csv#A%2F1": "empty"}
    items[1]["body"], items[2]["body"] = "a dog", " "
    write(bucket / "t.csv", items)
    account = run()
    assert (account.embedded, account.unchanged, account.quarantined, account.encoded) == (1, 2, 1, 1)
    assert in_quarantine(bucket) == {"t.csv#A%2F2": "empty"}
    assert set(held(bucket)) == {"t.csv#A%2F0", "t.csv#A%2F1", "t.csv#A%2F3"}


def test_a_row_that_is_tried_again_is_read_again(bucket, run, fetched):
    write(bucket / "t.jsonl", [{"sku": "a", "body": "a dog"}, {"sku": "b", "body": ""}])
    run(floor=0)
    db = table.connect(str(bucket.parent / "lance"))
    assert quarantine.mark_for_retry(db, "media", uris=[f"file://{bucket}/t.jsonl#b"]) == 1
    fetched.clear()
    account = run(floor=0)
    assert (fetched, account.unchanged, account.quarantined) == (["t.jsonl"], 1, 1)
    assert quarantine.load(db, "media")["attempts"].to_list() == [2]


def spoil(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_a_broken_file_is_quarantined_once_until_it_is_repaired(bucket, run, fetched):
    write(bucket / "good.parquet", records(5))
    write(bucket / "bad.parquet", records(5, first=10))
    spoil(bucket / "bad.parquet")
    account = run()
    assert (account.listed, account.embedded, account.quarantined) == (6, 5, 1)
    assert in_quarantine(bucket) == {"bad.parquet": "corrupt"}
    fetched.clear()
    account = run()
    assert (account.unchanged, account.quarantined, fetched) == (5, 1, [])
    write(bucket / "bad.parquet", records(5, first=10))
    account = run()
    assert (account.embedded, account.unchanged, account.quarantined) == (5, 5, 0)
    assert in_quarantine(bucket) == {}


def test_a_file_that_broke_loses_its_rows(bucket, run):
    write(bucket / "good.csv", records(40))
    write(bucket / "bad.parquet", records(5, first=100))
    run()
    spoil(bucket / "bad.parquet")
    account = run()
    assert (account.deleted, account.unchanged, account.quarantined) == (5, 40, 1)
    assert set(held(bucket)) == {f"good.csv#A%2F{number}" for number in range(40)}


def test_a_broken_file_that_holds_most_rows_deletes_nothing_until_it_is_meant(bucket, run):
    write(bucket / "all.parquet", records(30))
    run()
    spoil(bucket / "all.parquet")
    with pytest.raises(RefusedError, match=r"could not be read: .*all\.parquet \(corrupt\)"):
        run()
    assert len(held(bucket)) == 30
    account = run(allow_deletions=True)
    assert (account.deleted, account.quarantined) == (30, 1)


def test_a_file_that_cannot_be_fetched_just_now_keeps_its_rows(bucket, run, monkeypatch):
    items = records(3)
    write(bucket / "t.csv", items)
    run()
    items[0]["body"] = "a cat"
    write(bucket / "t.csv", items)

    def fail(self, uri, folder, limit):
        raise ObjectError("unavailable", "the line is down", retryable=True)

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "fetch", fail)
        account = run()
        assert (account.listed, account.unchanged, account.quarantined, account.deleted) == (4, 3, 1, 0)
    assert in_quarantine(bucket) == {"t.csv": "unavailable"}
    assert costs(run()) == (1, 2, 1, 0, 0)
    assert in_quarantine(bucket) == {}


def test_other_columns_are_other_rows(bucket, run, fetched):
    write(bucket / "t.csv", records(5))
    run({"text": "words"})
    assert in_quarantine(bucket) == {"t.csv": "no column"}
    run({"text": "name"})
    assert "'name'" in quarantine.load(table.connect(str(bucket.parent / "lance")), "media")["error"][0]
    assert costs(run()) == (5, 0, 5, 0, 0)
    fetched.clear()
    assert costs(run({**WITH_ID, "caption": "title"})) == (5, 0, 5, 0, 0)
    assert fetched == ["t.csv"]


def test_rows_go_with_their_file_and_with_the_setting(bucket, run):
    write(bucket / "one.csv", records(5))
    write(bucket / "two.jsonl", records(5, first=10))
    (bucket / "plain.txt").write_text("a red dog")
    run()
    (bucket / "one.csv").unlink()
    account = run()
    assert (account.listed, account.deleted, account.unchanged) == (6, 5, 6)
    db = table.connect(str(bucket.parent / "lance"))
    assert tables_read.load(db, "media", f"file://{bucket}")["uri"].to_list() == [f"file://{bucket}/two.jsonl"]
    with pytest.raises(RefusedError, match="--text-column"):
        run({})
    account = run({}, allow_deletions=True)
    assert (account.listed, account.deleted, account.unchanged, dict(account.skipped)) == (2, 5, 1, {"jsonl": 1})
    assert set(held(bucket)) == {"plain.txt"}
    assert costs(run()) == (5, 1, 5, 0, 0)


def test_tables_are_skipped_and_counted_where_no_column_is_named(bucket, run, fetched):
    write(bucket / "one.csv", records(5))
    (bucket / "a.png").write_bytes(picture(1))
    account = run({})
    assert (account.embedded, dict(account.skipped), fetched) == (1, {"csv": 1}, ["a.png"])


def test_a_compressed_table_is_refused_clearly_and_not_fetched(bucket, run, fetched):
    (bucket / "t.jsonl.gz").write_bytes(b"\x1f\x8b")
    (bucket / "other.gz").write_bytes(b"\x1f\x8b")
    account = run(floor=0)
    assert (in_quarantine(bucket), dict(account.skipped), fetched) == ({"t.jsonl.gz": "compressed"}, {"gz": 1}, [])


def test_an_object_that_is_called_like_a_row_is_another_object(bucket, run):
    write(bucket / "t.csv", records(2))
    (bucket / "t.csv#1").write_text("no medium")
    account = run(BODY)
    assert (account.listed, account.embedded, sum(account.skipped.values())) == (3, 2, 1)
    assert costs(run(BODY)) == (0, 2, 0, 0, 0)


def test_lost_rows_are_noticed_and_made_again(bucket, run, fetched):
    write(bucket / "t.csv", records(6))
    run()
    held_table = table.open_table(table.connect(str(bucket.parent / "lance")), "media")
    table.commit(held_table, [f"file://{bucket}/t.csv#A%2F2"], None)
    fetched.clear()
    assert costs(run()) == (1, 5, 1, 0, 0)
    assert fetched == ["t.csv"]


def test_a_file_put_back_after_half_of_a_change_gets_its_old_rows_back(bucket, run, monkeypatch):
    path = bucket / "t.jsonl"
    items = records(4)
    write(path, items)
    then = path.stat()
    run()
    items[1]["body"], items[2]["body"] = items[2]["body"], items[1]["body"]  # the same length, the same rows in number
    write(path, items)
    with monkeypatch.context() as patch:
        patch.setattr(tables_read, "record", lambda *_: None)  # killed before its bookkeeping
        assert run().embedded == 2
    write(path, records(4))
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert run().embedded == 2
    assert {uri: row["text"] for uri, row in held(bucket).items()} == {f"t.jsonl#A%2F{n}": words(n) for n in range(4)}


def test_a_touched_file_is_read_and_its_rows_are_left_alone(bucket, run, fetched):
    write(bucket / "t.csv", records(6))
    run()
    os.utime(bucket / "t.csv", (1, 1))
    fetched.clear()
    assert costs(run()) == (0, 6, 0, 0, 0)
    assert fetched == ["t.csv"]
    assert costs(run()) == (0, 6, 0, 0, 0)
    assert fetched == ["t.csv"]


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from storage import tables_read
tables_read.record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from buckets import embed
embed({bucket!r}, {lance!r}, tables={tables!r})
"""


@pytest.mark.slow
def test_a_run_killed_between_commit_and_bookkeeping_heals(bucket, run, fetched):
    write(bucket / "t.csv", records(20))
    code = KILLED.format(tests=str(ROOT / "tests"), bucket=str(bucket), lance=str(bucket.parent / "lance"), tables=WITH_ID)
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"TMPDIR": str(bucket.parent)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert costs(run(scratch=str(bucket.parent))) == (0, 20, 0, 0, 0)
    assert fetched == ["t.csv"]
    assert costs(run()) == (0, 20, 0, 0, 0)
    assert fetched == ["t.csv"]
    assert not list(bucket.parent.glob("sensorium-run-*")), "scratch was not swept"


def made_up(schema, listing):
    """Rows with vectors that no encoder made."""
    about = listing.select("uri", "etag", "size", "modified").to_arrow().combine_chunks()
    columns = {name: about.column(name).combine_chunks() for name in about.column_names}
    columns |= dict.fromkeys(["source", "medium", "modality", "run"], "text")
    columns |= {"segment": 0, "content_hash": columns["etag"], "embedded_at": NOW}
    vectors = np.zeros((about.num_rows, schema.field("vector").type.list_size), np.float32)
    vectors[:, 0] = 1
    return pa.RecordBatchReader.from_batches(schema, [batches.rows(schema, columns, vectors)])


@pytest.mark.slow
def test_an_idle_run_over_a_hundred_thousand_rows_fetches_nothing(bucket, fetched):
    n = 100_000
    (bucket / "t.jsonl").write_text("".join(f'{{"body": "row {number}"}}\n' for number in range(n)))
    asked = EmbedSettings(source=str(bucket), database=str(bucket.parent / "lance"), tables=BODY)
    first = open_run(asked)
    listing = first.discover()
    plan = first.plan(listing)
    assert (fetched, plan.todo.height) == (["t.jsonl"], n)
    first.table = table.create(first.db, "media", first.space.to_json(), first.space.generation, first.space.dimension)
    table.commit(first.table, listing["uri"].to_list(), lambda: made_up(first.table.schema, listing))
    tables_read.record(first.db, "media", first.rows.read, [], "r")
    account = embed(bucket, bucket.parent / "lance", tables=BODY)
    assert (account.unchanged, account.balanced, fetched) == (n, True, ["t.jsonl"])
    assert account.seconds["total"] < 5


def test_a_table_in_an_object_store_is_fetched_once_whatever_it_holds(tmp_path):
    store = memory_store("tables")
    store.put("shop/t.jsonl", "".join(json.dumps(record) + "\n" for record in records(40)).encode())
    account = embed("memory://tables/shop", tmp_path / "lance", tables=WITH_ID, scratch=str(tmp_path), shard_objects=7)
    assert (account.embedded, account.balanced) == (40, True)
    assert rows(tmp_path / "lance")[0]["uri"] == "memory://tables/shop/t.jsonl#A%2F0"
    assert embed("memory://tables/shop", tmp_path / "lance", tables=WITH_ID).unchanged == 40
    assert not list(tmp_path.glob("sensorium-run-*"))


def test_a_plan_says_how_many_rows_there_are_to_do_and_leaves_nothing_behind(bucket, capsys):
    write(bucket / "t.csv", records(12))
    with pytest.raises(SystemExit) as left:
        app(["embed", str(bucket), str(bucket.parent / "lance"), "--plan", "--json", "--text-column", "body", "--id-column", "sku"])
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["listed"], told["to_embed"], told["skipped"]) == (12, 12, {})
    assert not (bucket.parent / "lance").exists()


@pytest.mark.parametrize(
    ("tables", "told"),
    [({"id": "sku"}, "need tables.text"), ({"column": "body"}, "allowed are text, id, caption"), ({"text": 3}, "tables.text")],
)
def test_settings_that_make_no_sense_are_refused_before_any_work(bucket, tmp_path, tables, told):
    from flows.settings_given import embed_settings

    with pytest.raises(SettingsError, match=told):
        embed_settings(None, source=str(bucket), database=str(tmp_path), tables=tables)


def test_the_columns_of_a_file_of_settings_and_of_flags_are_one(bucket, tmp_path):
    from flows.settings_given import embed_settings

    (tmp_path / "run.toml").write_text('source = "a"\ndatabase = "b"\n[tables]\ntext = "body"\nid = "sku"\n')
    asked = embed_settings(tmp_path / "run.toml", tables={"text": None, "id": None, "caption": "title"})
    assert asked.tables.model_dump() == {"text": "body", "id": "sku", "caption": "title"}


def test_a_table_that_bursts_its_worker_harms_no_other(bucket, run):
    write(bucket / "good.csv", records(3))
    pq.write_table(pa.table({"sku": ["1"], "body": ["a" * (200 << 20)]}), bucket / "bomb.parquet", compression="zstd", use_dictionary=False)
    assert (bucket / "bomb.parquet").stat().st_size < 1 << 20
    account = run(limits={"memory": 150 << 20})
    assert (account.embedded, account.quarantined) == (3, 1)
    assert in_quarantine(bucket)["bomb.parquet"] in {"out of memory", "crashed"}
