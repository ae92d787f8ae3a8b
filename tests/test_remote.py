"""Texts through a server: what the spec says, what is sent, how it is cut into requests."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
from batch import vectors
from embedding_server import BAD, LOST, EmbeddingServer, embedding_server, tokens_of, vector_of
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from encoders import registry
from encoders.chunks import chunks
from encoders.context import fitted
from encoders.errors import EncoderError, LimitError
from encoders.remote.embedding_service import RefusedError
from encoders.remote.token_budget import byte_tokenizer, expected_tokens, requests
from encoders.spaces import load_space
from encoders.spec import Spec
from encoders.stacking import alone

TEXTS = ["a dog", "一只红色的小鸟在雨中唱歌", "x", "a\0b", "tabs\tand\nlines", "👩‍👩‍👧‍👦🏳️‍🌈", "ünïcode é", "<b>&amp;", "word " * 300, "42"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


def describe(server: EmbeddingServer, **options: Any) -> Spec:
    known = {"model": server.model, "dimension": 12, "url": server.url}
    return registry.describe("openai", **{**known, **options})


def unit(texts: list[str], dimension: int = 12) -> np.ndarray:
    numbers = np.stack([vector_of(text, dimension) for text in texts])
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def test_vectors_are_those_of_the_server_at_length_one(server: EmbeddingServer):
    encoder = registry.build(describe(server))
    found = vectors(encoder, TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(TEXTS), atol=1e-6)
    for text in TEXTS:
        np.testing.assert_allclose(encoder.encode(alone(encoder.prepare(text))), unit([text]), atol=1e-6)


def test_several_threads_share_one_encoder(server: EmbeddingServer):
    encoder = registry.build(describe(server))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: vectors(encoder, [f"text {n}", "same"]), range(40)))
    for n, each in enumerate(found):
        np.testing.assert_allclose(each, unit([f"text {n}", "same"]), atol=1e-6)


def test_prompts_stand_before_documents_and_queries(server: EmbeddingServer):
    encoder = registry.build(describe(server, query_prompt="query: ", document_prompt="passage: "))
    np.testing.assert_allclose(vectors(encoder, ["a dog"]), unit(["passage: a dog"]), atol=1e-6)
    np.testing.assert_allclose(encoder.encode(alone(encoder.prepare_query("a dog"))), unit(["query: a dog"]), atol=1e-6)


def test_shorter_vectors_are_normalised_anew(server: EmbeddingServer):
    encoder = registry.build(describe(server, dimension=5, shorten=True))
    np.testing.assert_allclose(vectors(encoder, TEXTS), unit(TEXTS, 5), atol=1e-6)


def test_a_batch_is_cut_into_requests_by_tokens_and_by_number(server: EmbeddingServer):
    server.requests.clear()
    texts = [f"{number:03d} " * 10 for number in range(30)]  # 40 bytes each, and 4 for special tokens
    encoder = registry.build(describe(server, request_tokens=150))
    np.testing.assert_allclose(vectors(encoder, texts), unit(texts), atol=1e-6)
    assert [len(sent) for sent in server.sent()] == [3] * 10
    server.requests.clear()
    vectors(registry.build(describe(server, request_inputs=7)), texts)
    assert [len(sent) for sent in server.sent()] == [7, 7, 7, 7, 2]


def test_requests_hold_every_text_once_and_stay_within_both_limits():
    random = np.random.default_rng(0)
    for _ in range(200):
        tokens = random.integers(1, 50, random.integers(0, 40)).tolist()
        most_tokens, most_inputs = int(random.integers(1, 120)), int(random.integers(1, 9))
        parts = list(requests(tokens, most_tokens, most_inputs))
        assert [row for part in parts for row in part] == list(range(len(tokens)))
        for part in parts:
            assert 1 <= len(part) <= most_inputs
            assert sum(tokens[row] for row in part) <= most_tokens or len(part) == 1
        for one, two in itertools.pairwise(parts):  # none could have been joined to the next text
            assert len(one) == most_inputs or sum(tokens[row] for row in one) + tokens[two[0]] > most_tokens


def test_a_server_that_enforces_openais_limits_never_has_to():
    with embedding_server() as strict:
        strict.most_tokens, strict.context, strict.most_inputs = 2_000, 200, 20
        options = {"context": 200, "request_tokens": 2_000, "request_inputs": 20, "model": strict.model, "dimension": 12, "url": strict.url}
        encoder = registry.build(registry.describe("openai", **options))
        whole = "Signs: !?;,. " * 400 + "狗。" * 200 + "longwords" * 90
        parts = [chunk.text for chunk in fitted(encoder, [whole])]
        assert len(parts) > 20
        np.testing.assert_allclose(vectors(encoder, parts), unit(parts), atol=1e-6)
        assert all(max(map(tokens_of, sent)) <= 200 for sent in strict.sent())


def test_without_a_tokenizer_each_byte_is_a_token_as_in_the_library_tokenizers():
    reference = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    alone = pre_tokenizers.Split(Regex("."), behavior="isolated")
    reference.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), alone])
    counted = byte_tokenizer()
    texts = [*TEXTS, "\r\n\x0b\u2028\ufeff", "e\u0301", "\U0010ffff", ""]
    for text in texts:
        ours, theirs = counted.encode(text), reference.encode(text)
        assert len(ours.ids) == len(theirs.ids) == len(text.encode())
        assert ours.offsets == theirs.offsets
        assert list(ours.special_tokens_mask) == theirs.special_tokens_mask
        assert len(ours.tokens) == len(theirs.tokens)
    whole = "\n\n".join(texts * 5)
    assert list(chunks([whole], counted, 300, 40)) == list(chunks([whole], reference, 300, 40))


def test_with_its_tokenizer_a_text_is_counted_in_the_models_own_tokens(server: EmbeddingServer, tmp_path: Path):
    folder = tiny_checkpoints.roberta(tmp_path)
    spec = describe(server, tokenizer=str(folder), context=40)
    assert (spec.preprocessing["counted"], spec.preprocessing["chunk"]["size"]) == ("tokens", 38)
    encoder = registry.build(spec)
    encoder.prepare("x" * 38)
    with pytest.raises(LimitError, match="the text has 41 tokens, the model reads 40"):
        encoder.prepare("x" * 39)
    server.requests.clear()
    vectors(registry.build(describe(server, tokenizer=str(folder), context=40, request_tokens=24)), ["x" * 10, "y" * 10, "z" * 10])
    assert [len(sent) for sent in server.sent()] == [2, 1]


def test_a_tokenizer_that_was_exchanged_is_refused(server: EmbeddingServer, tmp_path: Path):
    folder = tiny_checkpoints.roberta(tmp_path)
    spec = describe(server, tokenizer=str(folder), context=40)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    with pytest.raises(EncoderError, match=r"tokenizer.json is not that of the spec"):
        registry.build(spec).prepare("a dog")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_never_sent(server: EmbeddingServer, text: str):
    with pytest.raises(ValueError, match="has no vector"):
        registry.build(describe(server)).prepare(text)


def test_a_text_longer_than_the_context_is_never_sent_nor_cut(server: EmbeddingServer):
    encoder = registry.build(describe(server, context=64))
    encoder.prepare("狗" * 20)
    with pytest.raises(LimitError, match="the text has 63 tokens, the model reads 60; cut it into chunks first"):
        encoder.prepare("狗" * 21)


def test_a_refused_text_is_an_ordinary_error_that_halving_can_find(server: EmbeddingServer):
    encoder = registry.build(describe(server))
    with pytest.raises(RefusedError):
        vectors(encoder, ["a", BAD, "b"])
    np.testing.assert_allclose(vectors(encoder, ["a", "b"]), unit(["a", "b"]), atol=1e-6)


def test_a_vector_without_numbers_stays_one_and_alone_is_refused(server: EmbeddingServer):
    encoder = registry.build(describe(server))
    found = vectors(encoder, ["a", LOST, "b"])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], unit(["a", "b"]), atol=1e-6)
    with pytest.raises(RefusedError, match="vectors of no length or of no numbers"):
        vectors(encoder, [LOST])


def test_a_spec_survives_json_and_pickle_and_holds_no_key(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TINY_KEY", "very-secret")
    spec = describe(server, key="TINY_KEY")
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    encoder = registry.build(spec)
    vectors(encoder, ["a"])
    assert server.headers[-1]["authorization"] == "Bearer very-secret"
    assert b"very-secret" not in pickle.dumps(encoder.spec)
    assert "TINY_KEY" in json.dumps(spec.to_dict())


CHANGING = [{"model": "other"}, {"revision": "2"}, {"dimension": 8, "shorten": True}, {"context": 512}, {"chunk": 100}]
CHANGING += [{"chunk": 100, "overlap": 0}, {"query_prompt": "q: "}, {"document_prompt": "d: "}, {"dimension": 8}]
PLACES = [{"url": "https://elsewhere.example/v1"}, {"key": "SOME_KEY"}, {"price": 0.5}, {"request_tokens": 9}, {"request_inputs": 9}]
PLACES += [{"at_once": 2}, {"timeout": 9.0}, {"patience": 9.0}, {"proxies": True}, {"licence": "MIT"}, {"insecure": True}]


@pytest.mark.parametrize("option", CHANGING, ids=str)
def test_the_fingerprint_changes_with_what_changes_vectors(server: EmbeddingServer, option: dict[str, Any]):
    assert describe(server, **option).fingerprint != describe(server).fingerprint


@pytest.mark.parametrize("option", PLACES, ids=str)
def test_the_fingerprint_does_not_change_with_the_place(server: EmbeddingServer, option: dict[str, Any]):
    assert describe(server, **option).fingerprint == describe(server).fingerprint


def test_fingerprints_are_all_different(server: EmbeddingServer):
    assert len({describe(server, **option).fingerprint for option in CHANGING}) == len(CHANGING)


def test_openais_models_are_known_with_their_length_and_their_key():
    small = registry.describe("openai", model="text-embedding-3-small")
    assert (small.dimension, small.service["url"], small.service["key"]) == (1536, "https://api.openai.com/v1", "OPENAI_API_KEY")
    assert not small.preprocessing["shorten"]
    assert registry.describe("openai", model="text-embedding-3-small", dimension=1536).fingerprint == small.fingerprint
    short = registry.describe("openai", model="text-embedding-3-large", dimension=256)
    assert (short.dimension, short.preprocessing["shorten"]) == (256, True)


def test_openais_key_is_never_sent_to_another_server_by_itself(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    spec = describe(server)
    assert spec.service["key"] == ""
    vectors(registry.build(spec), ["a"])
    assert "authorization" not in server.headers[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, "no model was named; write model ="),
        ({"dimension": 0}, "how long the vectors of 'tiny-embedding' are is not known here; write dimension ="),
        ({"model": "text-embedding-3-small", "dimension": 4096}, "at most 1536 numbers, asked were 4096"),
        ({"weights": "tiny"}, "the weights are on the server: write model = 'tiny' instead"),
        ({"url": "http://example.com/v1"}, "unencrypted; use https, or insecure = true"),
        ({"url": "ftp://example.com"}, "is no address; write one such as https://api.openai.com/v1"),
        ({"url": "api.openai.com/v1"}, "is no address"),
        ({"key": "sk-abcdef"}, "never the key itself"),
        ({"context": 0}, "context is at least one, got 0"),
        ({"at_once": 0}, "at_once is at least one"),
        ({"chunk": 9000}, "does not fit: at most 8188 tokens"),
        ({"query_prompt": "q" * 9000}, "the prompts leave no room for a text in 8188 tokens"),
        ({"tokenizer": "no/such/folder"}, r"there is no .*no/such/folder/tokenizer.json"),
        ({"temperature": 1.0}, "has no option 'temperature'"),
        ({"price": "cheap"}, "takes float as 'price'"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_what_to_write(server: EmbeddingServer, options: dict[str, Any], words: str):
    with pytest.raises(EncoderError, match=words):
        describe(server, **options)


@pytest.mark.parametrize("url", ["https://user:hunter2@example.com/v1", "https://example.com/v1?api-key=hunter2"])
def test_a_key_inside_the_url_is_refused_and_not_shown(server: EmbeddingServer, url: str):
    with pytest.raises(EncoderError, match="is not taken") as told:
        describe(server, url=url)
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("url", ["http://localhost:11434/v1", "http://127.0.0.1/v1", "http://[::1]:8000/v1", "https://example.com/v1/"])
def test_https_and_this_machine_are_taken(server: EmbeddingServer, url: str):
    assert describe(server, url=url).service["url"] == url.rstrip("/")
    assert describe(server, url="http://10.0.0.7/v1", insecure=True).service["url"] == "http://10.0.0.7/v1"


def test_a_key_that_is_not_set_is_told_before_any_work(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TINY_KEY", raising=False)
    encoder = registry.build(describe(server, key="TINY_KEY"))
    with pytest.raises(EncoderError, match="TINY_KEY, which holds the key, is not set"):
        encoder.check()
    encoder.prepare("a dog")  # workers need no key


def test_the_first_contact_tells_a_wrong_model_before_texts_are_sent(server: EmbeddingServer):
    server.requests.clear()
    with pytest.raises(EncoderError, match="answers 404 for other: The model `other` does not exist"):
        registry.build(describe(server, model="other")).warm()
    assert server.sent() == [["a"]]


def test_a_space_names_the_tokenizer_relative_to_its_file(server: EmbeddingServer, tmp_path: Path):
    tiny_checkpoints.roberta(tmp_path / "vocabulary")
    lines = ['name = "far"', "[text]", 'encoder = "openai"', f'model = "{server.model}"', "dimension = 12", f'url = "{server.url}"']
    (tmp_path / "space.toml").write_text("\n".join([*lines, 'tokenizer = "vocabulary"', "context = 40", ""]))
    [spec] = load_space(str(tmp_path / "space.toml"))
    assert spec.weights == str(tmp_path / "vocabulary")
    assert spec.digest


def test_preparing_imports_neither_torch_nor_the_client():
    heavy = ("torch", "transformers", "openai", "httpx2")
    program = f"import sys, encoders.remote.openai_embeddings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_expected_tokens_are_a_third_of_the_bytes_and_what_chunks_repeat(server: EmbeddingServer):
    spec = describe(server, chunk=300, overlap=0)
    assert expected_tokens(spec, [300, 600, 30]) == 310
    assert expected_tokens(spec, []) == 0
    assert expected_tokens(describe(server, chunk=300, overlap=0, document_prompt="d: "), [300, 600]) == 303
    repeating = describe(server, chunk=300, overlap=100)
    encoder = registry.build(repeating)
    text = "".join(f"{number:05d} " for number in range(2_000))
    sent = sum(len(chunk.text) for chunk in fitted(encoder, [text]))
    assert expected_tokens(repeating, [len(text)]) == pytest.approx(sent / 3, rel=0.1)
