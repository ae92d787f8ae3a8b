"""Files of word vectors: what GloVe, word2vec and gensim write is read as gensim reads it, and what is broken is refused."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from gensim.models import KeyedVectors

from encoders import registry
from encoders.errors import EncoderError
from encoders.weights import digest
from encoders.words import word_files
from encoders.words.vocabulary import VECTORS, VOCABULARY, Vocabulary, joined, mapped, write_vocabulary
from encoders.words.word_files import convert

WORDS = ["the", ",", "of", "Queen", "queen", "红色", "naïve", "x" * 300, "1990s", "</s>"]


@pytest.fixture
def known():
    known = KeyedVectors(7)
    known.add_vectors(WORDS, np.random.default_rng(0).standard_normal((len(WORDS), 7)).astype(np.float32))
    return known


def read(path, tmp_path):
    folder = tmp_path / f"folder-{path.name}"
    folder.mkdir()
    convert(path, folder)
    vocabulary = Vocabulary(folder)
    return vocabulary, mapped(folder / VECTORS)["vectors"]


def written(known, tmp_path, kind):
    path = tmp_path / {"word2vec text": "w.txt", "fastText": "w.vec", "word2vec binary": "w.bin", "GloVe": "glove.txt"}[kind]
    known.save_word2vec_format(str(path), binary=kind == "word2vec binary", write_header=kind != "GloVe")
    return path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves the file open that it counts lines of
@pytest.mark.parametrize("kind", ["word2vec text", "fastText", "word2vec binary", "GloVe"])
def test_every_format_is_read_as_gensim_reads_it(known, tmp_path, kind):
    path = written(known, tmp_path, kind)
    again = KeyedVectors.load_word2vec_format(str(path), binary=kind == "word2vec binary", no_header=kind == "GloVe")
    vocabulary, vectors = read(path, tmp_path)
    assert vectors.shape[1] == 7
    assert [vocabulary.word(row) for row in range(len(vocabulary))] == again.index_to_key == WORDS
    np.testing.assert_array_equal(vectors, again.vectors)
    assert vocabulary.rows([*WORDS, "unknown", "QUEEN", "The"]).tolist() == [*range(len(WORDS)), -1, 4, 0]


def test_the_original_word2vec_ends_each_line_with_a_space_and_each_binary_vector_with_a_line_end(tmp_path):
    (tmp_path / "c.txt").write_bytes(b"2 3\nthe 1 2 3 \ncat 4 5 6 \n")
    (tmp_path / "c.bin").write_bytes(b"2 3\nthe " + struct.pack("<3f", 1, 2, 3) + b"\ncat " + struct.pack("<3f", 4, 5, 6) + b"\n")
    for name in ("c.txt", "c.bin"):
        vocabulary, vectors = read(tmp_path / name, tmp_path)
        assert [vocabulary.word(0), vocabulary.word(1)] == ["the", "cat"]
        assert vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_words_with_spaces_as_in_the_largest_glove_files_are_read(tmp_path):
    (tmp_path / "g.txt").write_bytes(b"the 1 2\n. . . 3 4\nat name@domain.com 5 6\n")
    vocabulary, vectors = read(tmp_path / "g.txt", tmp_path)
    assert [vocabulary.word(row) for row in range(3)] == ["the", ". . .", "at name@domain.com"]
    assert vectors.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_of_a_word_that_stands_twice_the_first_line_counts_as_in_gensim(tmp_path):
    (tmp_path / "g.txt").write_bytes(b"".join(b"w%d %d 2\n" % (number % 50, number) for number in range(1000)))
    vocabulary, vectors = read(tmp_path / "g.txt", tmp_path)
    assert vectors[vocabulary.rows([f"w{number}" for number in range(50)]), 0].tolist() == [*range(50)]


def test_more_words_than_a_block_are_read(tmp_path):
    rng = np.random.default_rng(0)
    known = KeyedVectors(3)
    known.add_vectors([f"w{i}" for i in range(10_000)], rng.standard_normal((10_000, 3)).astype(np.float32))
    for kind in ("word2vec binary", "GloVe"):
        vocabulary, vectors = read(written(known, tmp_path, kind), tmp_path)
        assert vocabulary.rows(["w0", "w4095", "w4096", "w9999"]).tolist() == [0, 4095, 4096, 9999]
        np.testing.assert_array_equal(vectors, known.vectors)


GOOD = b"2 3\nthe " + struct.pack("<3f", 1, 2, 3) + b"\ncat " + struct.pack("<3f", 4, 5, 6)
BROKEN = {
    "empty.txt": b"",
    "words alone.txt": b"the\ncat\n",
    "ragged.txt": b"the 1 2 3\ncat 4 5\n",
    "no number.txt": b"the 1 2 3\ncat 4 x 6\n",
    "nan.txt": b"the 1 2 3\ncat 4 nan 6\n",
    "fewer than announced.txt": b"3 3\nthe 1 2 3\ncat 4 5 6\n",
    "more than announced.txt": b"1 3\nthe 1 2 3\ncat 4 5 6\n",
    "huge header.txt": b"9999999999 99999\nthe 1 2 3\n",
    "no words.txt": b"0 3\n",
    "one long line.txt": b"a" * 500_000,
    "cut.bin": GOOD[:-1],
    "more.bin": GOOD + b"\ndog " + struct.pack("<3f", 7, 8, 9),
    "infinite.bin": b"1 2\nthe " + struct.pack("<2f", 1, float("inf")),
    "huge header.bin": b"1000000000 300\nthe " + bytes(1200),
    "huge dimension.bin": b"1 99999\nthe " + bytes(1200),
    "word without end.bin": b"1 2\n" + b"x" * 10_000,
    "pickle.bin": b"\x80\x04\x95\x10",
    "zip.bin": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_and_leaves_nothing(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    with pytest.raises(EncoderError, match="no whole file of word vectors"):
        registry.describe("word-vectors", str(path))
    assert [*(tmp_path / "cache/sensorium/words").iterdir()] == []


def test_damaged_bytes_are_refused_or_read_but_never_crash(known, tmp_path):
    rng = random.Random(0)
    for kind in ("word2vec text", "word2vec binary", "GloVe"):
        whole = written(known, tmp_path, kind).read_bytes()
        for number in range(60):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path = tmp_path / f"damaged-{number}{'.bin' if 'binary' in kind else '.txt'}"
            path.write_bytes(data[: rng.randint(1, len(data))] if number % 3 == 0 else data)
            folder = tmp_path / f"out-{kind}-{number}"
            folder.mkdir()
            try:
                convert(path, folder)
            except EncoderError:
                continue
            assert np.isfinite(mapped(folder / VECTORS)["vectors"]).all()
            Vocabulary(folder)


def test_a_file_is_converted_once(known, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = written(known, tmp_path, "GloVe")
    folder = word_files.converted(path, digest(path))
    before = (folder / VECTORS).stat().st_mtime_ns
    monkeypatch.setattr(word_files, "convert", lambda *_: pytest.fail("converted again"))
    assert word_files.converted(path, digest(path)) == folder
    assert (folder / VECTORS).stat().st_mtime_ns == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_told(known, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EncoderError, match="set XDG_CACHE_HOME"):
        registry.describe("word-vectors", str(written(known, tmp_path, "GloVe")))


def test_a_vocabulary_is_found_word_by_word(tmp_path):
    rng = random.Random(1)
    letters = "abcdefghijkléü红的小鸟"
    words = [*dict.fromkeys("".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(5000))]
    write_vocabulary(tmp_path, *joined(words), np.arange(len(words))[::-1])
    vocabulary = Vocabulary(tmp_path)
    reference = {word: row for row, word in enumerate(words)}
    asked = words[::3] + ["".join(rng.choices(letters, k=4)) for _ in range(2000)] + ["", "ABC", "Éü"]
    expected = [reference.get(word, reference.get(word.lower(), -1)) for word in asked]
    assert vocabulary.rows(asked).tolist() == expected
    assert vocabulary.rows(asked[::-1]).tolist() == expected[::-1]
    assert [vocabulary.word(row) for row in (0, 7, len(words) - 1)] == [words[0], words[7], words[-1]]


def test_words_whose_hashes_collide_are_still_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("encoders.words.vocabulary.hashes", lambda words: np.array([len(word) % 2 for word in words], np.uint64))
    write_vocabulary(tmp_path, *joined(["a", "bb", "c", "dd", "eee"]))
    assert Vocabulary(tmp_path).rows(["eee", "dd", "a", "c", "bb", "zz", "z"]).tolist() == [4, 3, 0, 2, 1, -1, -1]


def test_an_array_that_is_not_what_its_header_says_is_refused(tmp_path):
    write_vocabulary(tmp_path, *joined(["the", "cat", "sat"]))
    whole = (tmp_path / VOCABULARY).read_bytes()
    for said, instead in ((b'"shape":[9]', b'"shape":[8]'), (b'"shape":[4]', b'"shape":[5]'), (b'"dtype":"I32"', b'"dtype":"I64"')):
        assert said in whole
        (tmp_path / VOCABULARY).write_bytes(whole.replace(said, instead))
        with pytest.raises(EncoderError, match="is damaged"):
            Vocabulary(tmp_path).rows(["the"])


def test_a_damaged_vocabulary_is_refused_or_harmless(tmp_path):
    write_vocabulary(tmp_path, *joined(["the", "cat", "sat"]), np.array([3, 2, 1]))
    whole, rng, refused = (tmp_path / VOCABULARY).read_bytes(), random.Random(0), 0
    for number in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / VOCABULARY).write_bytes(data[: rng.randint(0, len(data))] if number % 3 == 0 else data)
        try:
            vocabulary = Vocabulary(tmp_path)
        except EncoderError:
            refused += 1
            continue
        assert len(vocabulary.rows(["the", "cat", "dog"])) == 3
        assert all(isinstance(vocabulary.word(row), str) for row in range(len(vocabulary)))
    assert 0 < refused < 300, "both outcomes are tried"
