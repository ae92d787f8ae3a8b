"""A query and a document are read with the words before them that the encoder was trained on, from the table's rows to its answers."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_texts
from buckets import embed, rows
from sentence_transformers import SentenceTransformer

from encoders import registry
from encoders.chunks import chunks
from encoders.context import fitted, room
from encoders.errors import EncoderError
from encoders.spec import Spec
from retrieval.query import Searcher

ROOT = Path(__file__).parents[1]
QUERY, DOCUMENT = "Instruct: Given a web search query\nQuery:", "title: none | text: "
LONG = " ".join(f"The bank of river {n} is green." for n in range(60))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that stores both prompts."""
    return tiny_texts.checkpoint(tmp_path_factory.mktemp("stored") / "made", "gemma3", prompts={"query": QUERY, "document": DOCUMENT})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that stores none, as E5's do."""
    return tiny_texts.checkpoint(tmp_path_factory.mktemp("bare") / "made", "qwen3", "lasttoken")


def describe(folder: Path, **options: Any) -> Spec:
    return registry.describe("bert", str(folder), **options)


def build(folder: Path, **options: Any) -> Any:
    return registry.build(describe(folder, **options), dtype="float32")


def with_settings(folder: Path, tmp_path: Path, **settings: Any) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = json.loads((copy / "config_sentence_transformers.json").read_text())
    (copy / "config_sentence_transformers.json").write_text(json.dumps({**before, **settings}))
    return copy


def test_prompts_stand_in_the_spec_as_stored_or_as_given_or_not_at_all(stored: Path, bare: Path):
    assert describe(stored).preprocessing["prompts"] == {"query": QUERY, "document": DOCUMENT}
    assert describe(stored, query_prompt="ask: ").preprocessing["prompts"] == {"query": "ask: ", "document": DOCUMENT}
    assert describe(bare, query_prompt="query: ", document_prompt="passage: ").preprocessing["prompts"] == {
        "query": "query: ",
        "document": "passage: ",
    }
    assert "prompts" not in describe(stored, stored_prompts=False).preprocessing
    assert "prompts" not in describe(bare).preprocessing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, {"query": "q: ", "document": "p: "}),
        ({"prompts": {"corpus": "c: ", "passage": "p: "}}, {"query": "", "document": "p: "}),
        ({"prompts": {"all": "a: "}, "default_prompt_name": "all"}, {"query": "a: ", "document": "a: "}),
        ({"prompts": {"query": "q: ", "document": "", "all": "a: "}, "default_prompt_name": "all"}, {"query": "q: ", "document": ""}),
        ({"prompts": {"Clustering": "task: clustering | query: "}}, None),
        ({"prompts": None}, None),
    ],
)
def test_stored_prompts_are_chosen_by_the_names_that_sentence_transformers_knows(
    bare: Path, tmp_path: Path, settings: dict[str, Any], expected: dict[str, str] | None
):
    assert describe(with_settings(bare, tmp_path, **settings)).preprocessing.get("prompts") == expected


@pytest.mark.parametrize("options", [{"query_prompt": "q: "}, {"document_prompt": "d: "}, {"stored_prompts": False}])
def test_another_prompt_is_another_generation(stored: Path, options: dict[str, Any]):
    assert describe(stored, **options).fingerprint != describe(stored).fingerprint


def test_the_words_of_a_prompt_are_read_before_the_text_and_a_blank_at_their_end_counts(bare: Path):
    encoder = build(bare, query_prompt="query: ", document_prompt="passage:")
    plain = build(bare)
    for text in tiny_texts.texts():
        assert encoder.prepare_query(text)["input_ids"].tolist() == plain.prepare("query: " + text)["input_ids"].tolist()
        assert encoder.prepare(text)["input_ids"].tolist() == plain.prepare("passage:" + text)["input_ids"].tolist()
    assert plain.prepare_query("dog")["input_ids"].tolist() == plain.prepare("dog")["input_ids"].tolist()


@pytest.mark.parametrize("role", ["document", "query"])
def test_every_chunk_fits_the_context_together_with_its_prompt_and_uses_its_room(stored: Path, role: str):
    encoder = build(stored, context=60, overlap=0)
    prepare = encoder.prepare if role == "document" else encoder.prepare_query
    parts = list(fitted(encoder, [LONG], role))
    lengths = [len(prepare(part.text)["input_ids"]) for part in parts]
    assert max(lengths) <= 60
    assert np.median(lengths) > 45
    assert "".join("".join(part.text for part in parts).split()) == "".join(LONG.split())
    assert all(LONG[part.start : part.end] == part.text for part in parts)  # the prompt is no part of what the table holds


PIECES = [
    *("the ", "bank", "of", " river", "。", "雨", "一只", "é", "🙂", "  ", "\n\n", "Größe", ". ", "x" * 9),
    *("42", "'s", "query:", " :", "\t"),
]


@pytest.mark.parametrize("architecture", ["bert", "qwen3", "gemma3"])
def test_no_chunk_of_any_text_outgrows_its_room_by_being_read_after_a_prompt(architecture: str):
    """A tokenizer may read "passage:the" in other pieces than "passage:" and "the"."""
    chance = random.Random(0)
    tokenizer = tiny_texts.ARCHITECTURES[architecture][2]().backend_tokenizer
    for _ in range(60):
        prompt, size = chance.choice(["query: ", "passage:", QUERY, DOCUMENT, "the", "雨", " "]), chance.randint(3, 40)
        text = "".join(chance.choices(PIECES, k=chance.randint(1, 150)))
        before = len(tokenizer.encode(prompt, add_special_tokens=False).ids)
        for chunk in chunks([text], tokenizer, size, chance.choice([0, size // 4]), prompt):
            assert len(tokenizer.encode(prompt + chunk.text, add_special_tokens=False).ids) <= before + size
            assert text[chunk.start : chunk.end] == chunk.text


def test_a_longer_prompt_leaves_smaller_chunks_for_queries_than_for_documents(stored: Path):
    encoder = build(stored, context=60)
    how = encoder.spec.preprocessing
    assert how["chunk"]["size"] == room(encoder.tokenizer, 60, DOCUMENT)
    assert room(encoder.tokenizer, 60, QUERY) < how["chunk"]["size"] < room(encoder.tokenizer, 60) == 58
    assert len(list(fitted(encoder, [LONG], "query"))) > len(list(fitted(encoder, [LONG])))


def test_a_prompt_that_leaves_no_room_is_refused(stored: Path):
    with pytest.raises(EncoderError, match=r"the prompt of a query leaves no room for it \(-?\d+ of 30 tokens\); shorten 'Instruct: "):
        describe(stored, context=30, document_prompt="t: ")
    with pytest.raises(EncoderError, match="chunk 0 with overlap -1 does not fit"):
        describe(stored, context=60, document_prompt=DOCUMENT * 4)


def test_preparing_documents_and_queries_imports_neither_torch_nor_transformers(stored: Path, tmp_path: Path):
    (tmp_path / "spec.json").write_text(json.dumps(describe(stored).to_dict()))
    program = """
import json, sys
from pathlib import Path
from encoders import registry
from encoders.context import fitted
from encoders.spec import Spec
encoder = registry.build(Spec.from_dict(json.loads(Path("spec.json").read_text())))
for chunk in fitted(encoder, ["a red bird"], "query"):
    encoder.prepare(chunk.text), encoder.prepare_query(chunk.text)
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_of_documents_answers_queries_with_the_scores_of_sentence_transformers(stored: Path, tmp_path: Path):
    space = tmp_path / "texts.toml"
    space.write_text(f'name = "texts"\n[text]\nencoder = "bert"\nweights = "{stored}"\ndimension = 20\n')
    (tmp_path / "bucket").mkdir()
    for number, text in enumerate(texts := tiny_texts.texts()):
        (tmp_path / "bucket" / f"{number}.txt").write_text(text, encoding="utf-8")
    account = embed(tmp_path / "bucket", tmp_path / "lance", space=str(space))
    assert (account.embedded, account.balanced) == (10, True)
    model = SentenceTransformer(str(stored), device="cpu", truncate_dim=20)
    documents = model.encode_document(texts, normalize_embeddings=True)
    held = {row["uri"].rpartition("/")[2]: row for row in rows(tmp_path / "lance")}
    np.testing.assert_allclose([held[f"{n}.txt"]["vector"] for n in range(10)], documents, atol=0.02)  # float16, and perhaps bfloat16
    assert {row["text"] for row in held.values()} == set(texts)  # without the prompt

    query = "what is green?"
    hits = Searcher(str(tmp_path / "lance")).search(query)
    expected = documents @ model.encode_query(query, normalize_embeddings=True)
    found = {int(hit.uri.rpartition("/")[2].removesuffix(".txt")): hit.score for hit in hits}
    np.testing.assert_allclose([found[n] for n in range(10)], expected, atol=0.02)
    as_document = documents @ model.encode_document(query, normalize_embeddings=True)
    assert np.abs(as_document - expected).max() > 0.1  # or the query's own prompt would not have been seen


def test_a_query_longer_than_the_context_is_asked_in_chunks_that_leave_room_for_its_prompt(stored: Path, tmp_path: Path):
    space = tmp_path / "texts.toml"
    space.write_text(f'name = "texts"\n[text]\nencoder = "bert"\nweights = "{stored}"\ncontext = 60\n')
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/a.txt").write_text("a red bird")
    assert embed(tmp_path / "bucket", tmp_path / "lance", space=str(space)).embedded == 1
    long = LONG[:300]
    vectors = Searcher(str(tmp_path / "lance")).embed(long)
    encoder = build(stored, context=60)
    model = SentenceTransformer(str(stored), device="cpu")
    parts = [part.text for part in fitted(encoder, [long], "query")]
    assert len(parts) > 3
    np.testing.assert_allclose(vectors, model.encode_query(parts, normalize_embeddings=True), atol=1e-5)
