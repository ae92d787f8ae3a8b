"""A whole run whose vectors come from a server: neighbours of a bad text are embedded, and what no text can change stops at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import embed, rows
from embedding_server import BAD, DROPPED, LOST, Answer, EmbeddingServer, embedding_server, failure, limited, vector_of
from typer.testing import CliRunner

from encoders.errors import EncoderError
from encoders.remote import patience
from flows import cli, display
from flows.embed_opening import open_run
from flows.prices import expected
from flows.settings import EmbedSettings
from retrieval.query import Searcher
from storage import quarantine, table

ROOT = Path(__file__).parents[1]
KEY = "tiny-secret-value"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)


def space(folder: Path, server: EmbeddingServer, **options: Any) -> Path:
    """A TOML file of a space whose texts are embedded by the server."""
    told = {"encoder": "openai", "model": server.model, "dimension": 12, "url": server.url, **options}
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    path = folder / "far.toml"
    path.write_text("\n".join(['name = "far"', "[text]", *lines, ""]))
    return path


def bucket(folder: Path, count: int = 100, bad: dict[int, str] | None = None) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03d}.txt").write_text(f"text number {number} {(bad or {}).get(number, '')}".strip())
    return folder


def assert_true_rows(held: list[dict[str, Any]]) -> None:
    """Every row holds its own text's vector, as the server makes it."""
    for row in held:
        expected = vector_of(row["text"])
        np.testing.assert_allclose(row["vector"], expected / np.linalg.norm(expected), atol=2e-3)


def test_every_text_gets_the_servers_vector_in_requests_of_many(tmp_path: Path, server: EmbeddingServer):
    account = embed(bucket(tmp_path / "bucket"), tmp_path / "lance", space=str(space(tmp_path, server)), batch=10)
    assert (account.listed, account.embedded, account.balanced) == (100, 100, True)
    held = rows(tmp_path / "lance")
    assert len(held) == 100
    assert_true_rows(held)
    assert len(server.requests) <= 17  # first contact, and a hundred texts over eight lanes
    assert account.tokens == server.tokens > 300
    assert account.to_dict()["tokens"] == server.tokens


def test_one_bad_text_is_quarantined_alone_with_the_servers_words(tmp_path: Path, server: EmbeddingServer):
    source = bucket(tmp_path / "bucket", bad={37: BAD})
    account = embed(source, tmp_path / "lance", space=str(space(tmp_path, server)), batch=64)
    assert (account.embedded, account.quarantined, account.balanced) == (99, 1, True)
    held = rows(tmp_path / "lance")
    assert len(held) == 99
    assert_true_rows(held)
    [told] = quarantine.load(table.connect(str(tmp_path / "lance")), "media").to_dicts()
    assert (told["uri"][-7:], told["stage"], told["reason"]) == ("037.txt", "encode", "refused by the server")
    assert "answers 400 for tiny-embedding: your input cannot be embedded" in told["error"]


@pytest.mark.parametrize("bad", [1, 2, 5])
def test_new_texts_that_are_all_refused_go_to_quarantine_and_stop_no_run(tmp_path: Path, server: EmbeddingServer, bad: int):
    source, how = bucket(tmp_path / "bucket", 3), {"space": str(space(tmp_path, server)), "floor": 0.1}
    embed(source, tmp_path / "lance", **how)
    for number in range(bad):
        (source / f"bad{number}.txt").write_text(f"text {number} {BAD}")
    account = embed(source, tmp_path / "lance", **how)
    assert (account.unchanged, account.quarantined, account.balanced) == (3, bad, True)
    (source / "good.txt").write_text("one more")
    assert embed(source, tmp_path / "lance", **how).embedded == 1


def test_a_text_that_the_server_gives_no_numbers_for_is_quarantined_alone(tmp_path: Path, server: EmbeddingServer):
    source = bucket(tmp_path / "bucket", bad={71: LOST})
    account = embed(source, tmp_path / "lance", space=str(space(tmp_path, server)), batch=64)
    assert (account.embedded, account.quarantined, account.balanced) == (99, 1, True)
    assert_true_rows(rows(tmp_path / "lance"))
    [told] = quarantine.load(table.connect(str(tmp_path / "lance")), "media").to_dicts()
    assert (told["uri"][-7:], told["stage"], told["reason"]) == ("071.txt", "check", "bad vector")


def test_only_what_changed_is_asked_for(tmp_path: Path, server: EmbeddingServer):
    source, how = bucket(tmp_path / "bucket", 30), str(space(tmp_path, server))
    embed(source, tmp_path / "lance", space=how)
    server.requests.clear()
    idle = embed(source, tmp_path / "lance", space=how)
    assert (idle.unchanged, server.requests) == (30, [])
    (source / "003.txt").write_text("something else")
    (source / "copy.txt").write_text("text number 4")
    embed(source, tmp_path / "lance", space=how)
    assert server.sent() == [["a"], ["something else"]]


def test_requests_in_flight_are_bounded_by_the_space_and_not_by_the_cores(tmp_path: Path, server: EmbeddingServer):
    server.always = Answer(after=0.05)
    embed(bucket(tmp_path / "bucket"), tmp_path / "lance", space=str(space(tmp_path, server, at_once=5)), batch=4)
    assert server.most_at_once == 5


def test_bursts_of_failures_are_waited_out(tmp_path: Path, server: EmbeddingServer):
    server.script.extend([None, limited(retry_after="0.1"), failure(500, "oops"), DROPPED, limited(), failure(503, "busy")])
    account = embed(bucket(tmp_path / "bucket"), tmp_path / "lance", space=str(space(tmp_path, server)), batch=10)
    assert (account.embedded, account.quarantined) == (100, 0)
    assert_true_rows(rows(tmp_path / "lance"))


def test_a_quota_that_ends_stops_the_run_and_what_was_committed_stays(
    tmp_path: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tasks.commit.ROWS", 1)  # a commit a shard
    source, how = bucket(tmp_path / "bucket", 60), str(space(tmp_path, server))
    first = embed(source, tmp_path / "lance", space=how)
    assert first.embedded == 60
    for number in range(60, 160):
        (source / f"{number:03d}.txt").write_text(f"text number {number}")
    server.quota = server.inputs + 50
    with pytest.raises(EncoderError, match=r"exceeded your current quota, .*; the account has nothing left"):
        embed(source, tmp_path / "lance", space=how, shard_objects=20, batch=10)
    assert len(server.requests) < 40  # nothing is asked over and over
    assert len(rows(tmp_path / "lance")) >= 60
    server.quota = float("inf")
    server.requests.clear()
    account = embed(source, tmp_path / "lance", space=how, batch=10)
    assert (account.listed, account.embedded, account.unchanged, account.balanced) == (
        160,
        60,
        100,
        True,
    )  # two shards of 20 were committed
    assert len([text for sent in server.sent() for text in sent]) == 1 + 60
    assert_true_rows(rows(tmp_path / "lance"))


def test_requests_that_have_not_begun_are_never_made_once_the_quota_is_gone(tmp_path: Path, server: EmbeddingServer):
    server.quota = 9  # first contact and two batches, of twenty-five
    with pytest.raises(EncoderError, match="the account has nothing left"):
        embed(bucket(tmp_path / "bucket"), tmp_path / "lance", space=str(space(tmp_path, server, at_once=1)), batch=4)
    assert 4 <= len(server.requests) <= 7


def test_a_search_asks_the_same_server_with_the_prompt_of_a_query(tmp_path: Path, server: EmbeddingServer):
    how = str(space(tmp_path, server, query_prompt="query: ", document_prompt="passage: "))
    embed(bucket(tmp_path / "bucket", 20), tmp_path / "lance", space=how)
    server.requests.clear()
    hits = Searcher(str(tmp_path / "lance")).search("text number 7")
    assert server.sent() == [["query: text number 7"]]
    query = vector_of("query: text number 7")
    documents = np.stack([vector_of(f"passage: text number {number}") for number in range(20)])
    best = int((documents @ query / np.linalg.norm(documents, axis=1)).argmax())
    assert hits[0].uri.endswith(f"{best:03d}.txt")


def test_a_plan_tells_tokens_and_price_and_asks_nobody(tmp_path: Path, server: EmbeddingServer, capsys: pytest.CaptureFixture[str]):
    source = bucket(tmp_path / "bucket", 100)
    size = sum(path.stat().st_size for path in source.iterdir())
    asked = EmbedSettings(source=str(source), database=str(tmp_path / "lance"), space=str(space(tmp_path, server, price=50.0)))
    run = open_run(asked, only_plan=True)
    planned = run.plan(run.discover())
    cost = expected(run.space, planned)
    assert cost is not None
    assert cost.tokens == -(-size // 3)
    assert cost.price == pytest.approx(cost.tokens * 50 / 1e6)
    display.show_plan(planned, None, cost)
    told = capsys.readouterr().out
    assert f"about {cost.tokens:,} tokens of the server, {cost.price:,.4f} at 50 per million: an estimate from the listed bytes" in told
    assert server.requests == []


def test_a_plan_of_a_space_that_asks_no_server_costs_nothing(tmp_path: Path):
    run = open_run(EmbedSettings(source=str(bucket(tmp_path / "bucket", 1)), database=str(tmp_path / "lance")), only_plan=True)
    assert expected(run.space, run.plan(run.discover())) is None


def sensorium(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment)


@pytest.mark.slow
def test_a_flow_reads_its_key_from_a_secret_block_and_shows_it_nowhere(tmp_path: Path, prefect_server: str):
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.embed import embed as embed_flow

    with embedding_server(KEY) as server, temporary_settings({PREFECT_API_URL: prefect_server}):
        Secret(value=KEY).save("far-key", overwrite=True)
        how = str(space(tmp_path, server, key="secret:far-key"))
        asked = EmbedSettings(source=str(bucket(tmp_path / "bucket", 20)), database=str(tmp_path / "lance"), space=how)
        account = embed_flow(asked, return_state=True).result(raise_on_failure=False)
    assert (account.embedded, account.tokens) == (20, server.tokens)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_the_command_stops_at_a_quota_with_one_line_and_exit_code_2(tmp_path: Path):
    with embedding_server(KEY) as server:
        source, how = bucket(tmp_path / "bucket", 40), space(tmp_path, server, key="FAR_KEY", price=0.02)
        server.quota = 25
        done = sensorium("embed", source, tmp_path / "lance", "--space", how, "--direct", "--batch", "4", FAR_KEY=KEY)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("sensorium: http://127.0.0.1:")
        assert "You exceeded your current quota" in done.stderr
        server.quota = float("inf")
        done = sensorium("embed", source, tmp_path / "lance", "--space", how, "--direct", "--json", FAR_KEY=KEY)
        assert done.returncode == 0, done.stderr
        account = json.loads(done.stdout)
        assert (account["embedded"] + account["unchanged"], account["quarantined"]) == (40, 0)
        assert account["price"] == pytest.approx(account["tokens"] * 0.02 / 1e6)
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("key", "held", "words"),
    [
        ("FAR_KEY", "", "the environment variable FAR_KEY, which holds the key, is not set"),
        ("FAR_KEY", KEY, "answers 401 for tiny-embedding: Incorrect API key provided: [the key]."),
        (f"sk-{KEY}", "", "never the key itself"),
    ],
    ids=["missing", "wrong", "value"],
)
def test_the_command_tells_what_is_wrong_with_a_key_in_one_line_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, held: str, words: str
):
    monkeypatch.setenv("FAR_KEY", held)
    with embedding_server("another") as server:
        how = space(tmp_path, server, key=key)
        done = CliRunner().invoke(
            cli.app, ["embed", str(bucket(tmp_path / "bucket", 3)), str(tmp_path / "lance"), "--space", str(how), "--direct"]
        )
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert words in done.stderr
    assert KEY not in done.output
    assert (tmp_path / "lance").exists() == (held != "")  # what can be told before any work is


def test_the_command_plans_tokens_and_price_in_json(tmp_path: Path, server: EmbeddingServer):
    how = space(tmp_path, server, key="NOT_SET", price=0.02)
    done = CliRunner().invoke(
        cli.app, ["embed", str(bucket(tmp_path / "bucket", 40)), str(tmp_path / "lance"), "--space", str(how), "--plan", "--json"]
    )
    told = json.loads(done.stdout)
    assert told["tokens"] == -(-sum(path.stat().st_size for path in (tmp_path / "bucket").iterdir()) // 3)
    assert told["price"] == pytest.approx(told["tokens"] * 0.02 / 1e6)
    assert server.requests == []
