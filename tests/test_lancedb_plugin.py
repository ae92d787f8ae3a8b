"""Plain LanceDB encodes queries by the table's own generation, or says why it does not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pytest
from buckets import SAMPLES, embed, small_bucket, sound
from lancedb.rerankers import RRFReranker
from lancedb.table import Table
from PIL import Image
from safetensors.numpy import load_file, save_file

from benchmarks import lancedb_guide
from encoders import weights
from encoders.errors import EncoderError
from encoders.spaces import load_space
from encoders.spec import Space
from retrieval import lancedb_plugin
from retrieval.errors import QueryError
from retrieval.query import Searcher
from storage import embedding, schema
from storage import table as tables

ROOT = Path(__file__).parent.parent
PICTURE = SAMPLES / "picture_1.png"


@pytest.fixture(autouse=True)
def imported() -> Iterator[None]:
    """As in a process that has imported the plug-in, whatever other tests have set."""
    before = embedding._loader
    embedding.set_loader(lancedb_plugin.load)
    yield
    embedding.set_loader(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of the demo."""
    home = tmp_path_factory.mktemp("plain")
    small_bucket(home / "demo" / "bucket")
    embed(home / "demo" / "bucket", home / "demo" / "lance")
    shutil.copy(PICTURE, home / "demo" / "query-picture.png")
    return home


@pytest.fixture
def table(home: Path) -> Table:
    table = lancedb.connect(home / "demo" / "lance").open_table("media")
    table.checkout("live")
    return table


def found(query) -> list[tuple[str, int, float]]:
    rows = query.distance_type("cosine").limit(5).to_list()
    return [(row["uri"], row["segment"], pytest.approx(1 - row["_distance"], abs=1e-5)) for row in rows]


@pytest.mark.parametrize("query", ["a dog barks", "一只红色的火车", PICTURE], ids=["English", "Chinese", "picture"])
def test_a_query_finds_what_the_searcher_finds_with_the_same_scores(home: Path, table: Table, query: str | Path):
    hits = Searcher(str(home / "demo" / "lance")).search(query, limit=5)
    assert found(table.search(query)) == [(hit.uri, hit.segment, hit.score) for hit in hits]


def test_a_file_its_bytes_and_an_open_picture_are_one_query(table: Table):
    with Image.open(PICTURE) as picture:
        assert found(table.search(PICTURE)) == found(table.search(PICTURE.read_bytes())) == found(table.search(picture))
    assert table.search(PICTURE).limit(1).to_list()[0]["uri"].endswith(PICTURE.name)


def test_a_query_of_several_windows_is_the_mean_of_them_at_length_one(home: Path, table: Table, tmp_path: Path):
    (tmp_path / "long.wav").write_bytes(sound(3, seconds=8.0))
    windows = Searcher(str(home / "demo" / "lance")).embed(tmp_path / "long.wav")
    assert len(windows) > 1
    mean = np.sum(windows.astype(np.float64), axis=0)
    wanted = table.search((mean / np.sqrt(mean @ mean)).astype(np.float32))
    assert found(table.search(tmp_path / "long.wav")) == found(wanted)


def test_keywords_find_texts(table: Table):
    words = table.search("barking", query_type="fts").limit(3).to_list()
    assert words
    assert all("barking" in row["text"] for row in words)


def test_both_together_are_ranked_by_the_places_in_each(table: Table):
    both = table.search("a dog barking", query_type="hybrid", vector_column_name="vector", fts_columns="text").rerank(RRFReranker())
    fused: dict[tuple[str, int], float] = {}
    for query in (table.search("a dog barking"), table.search("a dog barking", query_type="fts")):
        for place, row in enumerate(query.limit(5).to_list(), 1):
            key = (row["uri"], row["segment"])
            fused[key] = fused.get(key, 0.0) + 1 / (60 + place)  # Cormack et al. 2009
    told = {(row["uri"], row["segment"]): row["_relevance_score"] for row in both.limit(5).to_list()}
    assert told == {key: pytest.approx(fused[key], abs=1e-6) for key in told}
    assert sorted(told.values(), reverse=True) == pytest.approx(sorted(fused.values(), reverse=True)[:5], abs=1e-6)


def test_an_asynchronous_table_encodes_queries_as_well(home: Path, table: Table):
    async def ask(query: str | Path) -> list[tuple[str, int]]:
        database = await lancedb.connect_async(home / "demo" / "lance")
        media = await database.open_table("media")
        rows = await (await media.search(query, query_type="vector")).distance_type("cosine").limit(5).to_list()
        return [(row["uri"], row["segment"]) for row in rows]

    for query in ("a dog barks", PICTURE):
        assert asyncio.run(ask(query)) == [(uri, segment) for uri, segment, _ in found(table.search(query))]


# -- another generation ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A space of texts whose weights lie in a folder, and a table that it has filled."""
    shutil.copytree(weights.place("package:miniature/clip"), tmp_path / "weights")
    (tmp_path / "space.toml").write_text('name = "own"\n[text]\nencoder = "clip-text"\nweights = "weights"\n', encoding="utf-8")
    (tmp_path / "bucket").mkdir()
    for name in ("dog", "cat"):
        (tmp_path / "bucket" / f"{name}.txt").write_text(f"a big {name}", encoding="utf-8")
    embed(tmp_path / "bucket", tmp_path / "lance", space=str(tmp_path / "space.toml"))
    return tmp_path


def test_a_table_whose_weights_were_replaced_refuses_a_query_and_says_why(own: Path):
    file = own / "weights" / "model.safetensors"
    held = load_file(file)
    save_file({**held, "text_projection.weight": held["text_projection.weight"] * 1.01}, file, {"format": "pt"})
    with pytest.raises(EncoderError, match=r"not those of the spec.*they were changed.*new table"):
        lancedb.connect(own / "lance").open_table("media").search("a big dog").to_list()


def test_weights_that_have_moved_are_used_when_their_space_is_named(own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lancedb_plugin, "_moved", {})
    media = lancedb.connect(own / "lance").open_table("media")
    (own / "weights").rename(own / "elsewhere")
    with pytest.raises(EncoderError, match="there is no folder"):
        media.search("a big dog").to_list()
    (own / "space.toml").write_text('name = "own"\n[text]\nencoder = "clip-text"\nweights = "elsewhere"\n', encoding="utf-8")
    lancedb_plugin.use(load_space(str(own / "space.toml")))
    assert media.search("a big dog").limit(1).to_list()[0]["uri"].endswith("dog.txt")


def test_a_table_that_names_another_space_than_that_of_its_vectors_refuses(tmp_path: Path):
    space = load_space("miniature")
    other = Space("other", {"text": space.encoders["text"]})
    media = tables.create(tables.connect(str(tmp_path)), "media", other.to_json(), space.generation, space.dimension)
    with pytest.raises(
        QueryError, match=rf"generation {space.generation}.*'other', is of generation {other.generation}.*cannot be compared"
    ):
        media.search("a dog").to_list()


def test_a_query_that_the_space_cannot_embed_is_refused(own: Path):
    with pytest.raises(QueryError, match=r"space 'own' cannot embed .*\(image\); it can embed text"):
        lancedb.connect(own / "lance").open_table("media").search(PICTURE).to_list()


# -- without the import ------------------------------------------------------------------------------------------------------------------


def test_without_the_import_lancedb_names_it_and_searches_with_vectors(home: Path):
    program = f"""
import json, sys, lancedb
table = lancedb.connect({str(home / "demo" / "lance")!r}).open_table("media")
vector = table.search().limit(1).to_list()[0]["vector"]
try:
    table.search("a dog")
except KeyError as problem:
    print(json.dumps([str(problem), len(table.search(vector).limit(3).to_list()), table.count_rows()]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True)
    told, hits, rows = json.loads(done.stdout)
    assert "import retrieval.lancedb_plugin" in told
    assert (hits, rows > 30) == (3, True)
    __import__("retrieval.lancedb_plugin")  # what is named is there


def test_tables_from_before_the_name_said_what_to_import_are_asked_as_well():
    old = embedding.metadata("{}", "g1", 4)["embedding_functions"].replace(embedding.NAME, "sensorium")
    metadata = {"embedding_functions": old}
    media = lancedb.connect("memory://").create_table("media", schema=schema.rows(4).with_metadata(metadata))
    embedding.set_loader(lambda *_: lambda _: np.ones(4, np.float32) / 2)
    assert media.search("a dog").to_list() == []


# -- the page ----------------------------------------------------------------------------------------------------------------------------


def test_every_block_of_the_page_runs_and_prints(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(home)
    text = lancedb_guide.PAGE.read_text(encoding="utf-8")
    printed = list(lancedb_guide.outputs(text))
    assert len(printed) == text.count("```python") > 8
    assert all(block.strip() for block in printed)
