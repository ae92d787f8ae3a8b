"""A table on S3 is asked, indexed, labelled and scored like one in a folder, against a real server process."""

from __future__ import annotations

import json

import boto3
import polars as pl
import pytest
from buckets import embed, picture, sound
from typer.testing import CliRunner

from flows.cli import app
from flows.maintain_run import maintain_table, open_maintain
from flows.settings import MaintainSettings
from storage import index, table
from storage.index import IndexRules

KINDS = ("dog", "cat", "train", "bell")
COLOURS = ("red", "blue", "green", "white")
TEXTS = {f"texts/{colour} {kind}.txt": f"a big {colour} {kind}" for kind in KINDS for colour in COLOURS}


@pytest.fixture(scope="module")
def database(s3_server, tmp_path_factory):
    """Bucket and database on S3: sixteen texts, six pictures, a sound."""
    settings = {"AWS_ENDPOINT_URL": s3_server, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "hush-hush"}.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=s3_server)
        client.create_bucket(Bucket="asked")
        media = {name: text.encode() for name, text in TEXTS.items()}
        media |= {f"pictures/{number}.png": picture(number) for number in range(6)} | {"a.wav": sound(1)}
        for name, content in media.items():
            client.put_object(Bucket="asked", Key=f"media/{name}", Body=content)
        embed("s3://asked/media", "s3://asked/lance", workers=1)
        yield "s3://asked/lance"


def answer(command, database, *arguments):
    done = CliRunner().invoke(app, [command, database, *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_is_searched_by_words_and_by_what_it_holds(database):
    first = answer("search", database, "a big blue train", "--medium", "text")[0]
    assert first["uri"] == "s3://asked/media/texts/blue train.txt"
    like = answer("search", database, "--like", "s3://asked/media/pictures/0.png", "--medium", "image")
    assert {hit["uri"] for hit in like} == {f"s3://asked/media/pictures/{number}.png" for number in range(1, 6)}
    assert answer("status", database)["objects"] == len(TEXTS) + 7


def test_labels_become_a_column(database, tmp_path):
    examples = [(f"s3://asked/media/{name}", text.split()[-1]) for name, text in TEXTS.items()]
    pl.DataFrame(examples[::2], schema=["uri", "label"], orient="row").write_csv(tmp_path / "labels.csv")
    found = answer("classify", database, "--examples", tmp_path / "labels.csv", "--medium", "text", "--column", "kind")
    assert found["column"]["published"] and found["column"]["objects"] == len(TEXTS)
    held = table.published(table.connect(database), "media").search().select(["uri", "kind"]).limit(None).to_list()
    labels = {row["uri"]: row["kind"] for row in held if row["kind"] is not None}
    assert sum(labels[uri] == kind for uri, kind in examples) == len(TEXTS)


def test_it_gets_an_index_that_readers_use(database):
    run = open_maintain(MaintainSettings(database=database))
    run.wanted = run.wanted.__class__(rules=IndexRules(values=1, partition=10))
    report = maintain_table(run)
    published = table.published(table.connect(database), "media")
    assert report["met"] and report["published"] == published.version
    assert index.state(published).kind == report["after"]["kind"] != "none"
    assert answer("search", database, "a big blue train", "--medium", "text")[0]["uri"].endswith("/blue train.txt")


def test_it_is_clustered_answered_from_and_exported(database, tmp_path):
    clusters = answer("cluster", database, "--medium", "text", "--clusters", 4)["clusters"]
    assert sum(each["size"] for each in clusters) == len(TEXTS)
    passages = answer("answer", database, "a big blue train")["passages"]
    assert any(passage["uri"].endswith("/blue train.txt") for passage in passages)
    answer("export", database, tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet")["uri"].n_unique() == len(TEXTS) + 7
