"""Chunks fit the model whatever is in the text, cover all of it, and end where sentences, words and characters end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import encoders
from encoders.chunks import Chunk, chunks

MINIATURE = Path(encoders.__file__).parent / "miniature" / "clip" / "tokenizer.json"

ENGLISH = (
    "The harbour was quiet. Nobody had seen the boat leave, but everyone heard it: a low, steady sound behind the fog!\n"
    'Was it the ferry? "No," said the old man, "the ferry sleeps until six." He pointed at the clock; it had stopped.\n\n'
    "Later that week, a letter came. It was short (three lines) and unsigned. Dr. Marsh read it twice, then burned it.\n"
)
CHINESE = "港口很安静。没有人看见那条船离开，但是大家都听见了：雾的后面有一种低沉的声音！是渡船吗？“不是，”老人说，“渡船睡到六点。”"
ODD = "e\u0301a\u0308o\u0302 👩‍👩‍👧‍👦👍🏽🇩🇪🇨🇳🇫🇷 한국어 각 नमस्ते ﷺ \r\n\r\n \u200b\ufeff\ufffd "


def bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        [ENGLISH, CHINESE], trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    )
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return tokenizer


def gpt() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([ENGLISH], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


def xlm() -> Tokenizer:
    """One that knows no words: tokens may span several of them, or none."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([ENGLISH * 3, CHINESE * 3], trainer)
    return tokenizer


def vowels_only() -> Tokenizer:
    """One that drops all but a few letters."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "e": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(Regex("[^ae]"), "")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


TOKENIZERS = {"miniature": Tokenizer.from_file(str(MINIATURE)), "bert": bert(), "gpt": gpt(), "xlm": xlm(), "vowels": vowels_only()}
EVERY = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def cut(text: str, tokenizer: Tokenizer, size: int, overlap: int = 0, block: int = 1000) -> list[Chunk]:
    """Chunks of a text, after checking what holds for all chunks of all texts."""
    parts = list(chunks((text[i : i + block] for i in range(0, len(text), block)), tokenizer, size, overlap))
    covered = 0
    for part in parts:
        assert part.text == text[part.start : part.end] == part.text.strip() != ""
        assert 0 < count(tokenizer, part.text) <= size
        covered = max(covered, part.end)
    for before, after in pairwise(parts):
        assert before.start < after.start and before.end < after.end
    return parts


def uncovered(text: str, parts: list[Chunk]) -> str:
    """What stands in no chunk."""
    gaps, covered = [], 0
    for part in parts:
        gaps.append(text[covered : part.start])
        covered = max(covered, part.end)
    return "".join([*gaps, text[covered:]])


@EVERY
@pytest.mark.parametrize(("size", "overlap"), [(38, 0), (38, 4), (100, 30), (7, 3)])
@pytest.mark.parametrize("text", [ENGLISH * 20, CHINESE * 20, (ENGLISH + CHINESE) * 7, "short"])
def test_chunks_fit_and_cover_the_text(tokenizer, size, overlap, text):
    parts = cut(text, tokenizer, size, overlap)
    left = uncovered(text, parts)
    assert count(tokenizer, left.strip()) == 0
    if overlap == 0:
        assert all(before.end <= after.start for before, after in pairwise(parts))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*ENGLISH.split(" "), *CHINESE, *ODD, *ODD.split(" "), " ", "\n\n", "x" * 90, "\x01", ".", "。"]), max_size=120
    ),
    st.sampled_from(sorted(TOKENIZERS)),
    st.integers(1, 40),
    st.integers(0, 19),
    st.sampled_from([1, 17, 1000]),
)
def test_any_text_is_cut_into_chunks_that_fit(words, name, size, overlap, block):
    tokenizer = TOKENIZERS[name]
    text = "".join(words)
    parts = cut(text, tokenizer, size, min(overlap, (size - 1) // 2), block)
    if size >= 40:  # no single character of these has more tokens
        assert count(tokenizer, uncovered(text, parts).strip()) == 0


@EVERY
def test_however_the_text_comes_in_blocks_the_chunks_are_the_same(tokenizer):
    text = (ENGLISH + CHINESE) * 3
    assert cut(text, tokenizer, 30, 5, block=7) == cut(text, tokenizer, 30, 5, block=10**6)


def test_segments_of_a_long_text_join_without_a_seam():
    tokenizer = TOKENIZERS["bert"]
    text = "".join(f"{ENGLISH} {k} " for k in range(500))
    parts = cut(text, tokenizer, 64, 8, block=5000)
    assert uncovered(text, parts).strip() == "" and len(text) > 2 * 65536
    filled = [count(tokenizer, part.text) for part in parts[:-1]]
    assert min(filled) > 20, "no stump where two segments meet"


@pytest.mark.parametrize("name", ["miniature", "bert", "gpt"])
def test_chunks_end_at_sentences_where_one_ends_in_the_last_third(name):
    for text, marks in ((ENGLISH, '.!?"'), (CHINESE, "。！？”")):
        size = count(TOKENIZERS[name], text)
        parts = cut(text * 30, TOKENIZERS[name], size, 0)
        assert all(part.text[-1] in marks for part in parts)


def test_a_paragraph_goes_before_a_sentence_a_clause_before_a_word():
    tokenizer = TOKENIZERS["bert"]
    text = "Nobody had seen the boat leave, but everyone heard it until six.\n\nIt was short. He"
    first, *_ = cut(text, tokenizer, count(tokenizer, text) - 1)
    assert first.text.endswith("six.")
    words = "alpha beta gamma delta epsilon zeta eta theta, iota kappa lambda mu nu"
    first, *_ = cut(words, tokenizer, count(tokenizer, "alpha beta gamma delta epsilon zeta eta theta, iota"))
    assert first.text.endswith("theta,")


@pytest.mark.parametrize("name", ["miniature", "bert", "gpt", "xlm"])
def test_words_are_whole_where_they_fit(name):
    text = ENGLISH * 20
    for part in cut(text, TOKENIZERS[name], 40, 10):
        assert part.start == 0 or text[part.start - 1].isspace()
        assert part.end == len(text) or text[part.end].isspace()


def test_words_of_any_length_are_whole_where_they_fit():
    text = " ".join(letter * length for letter, length in zip("abcdefgh" * 9, range(30, 174, 2), strict=True))
    for part in cut(text, TOKENIZERS["gpt"], 220, 0):
        assert part.start == 0 or text[part.start - 1].isspace()
        assert part.end == len(text) or text[part.end].isspace()


@EVERY
def test_closing_punctuation_of_chinese_begins_no_chunk(tokenizer):
    for part in cut(CHINESE * 20, tokenizer, 60, 12):
        assert part.text[0] not in "，。！？：”"


@pytest.mark.parametrize("name", ["miniature", "bert", "gpt", "xlm"])
def test_chunks_overlap_by_about_what_was_asked(name):
    tokenizer = TOKENIZERS[name]
    for text in (ENGLISH * 40, CHINESE * 40):
        parts = cut(text, tokenizer, 120, 30)
        shared = [count(tokenizer, text[after.start : before.end]) for before, after in pairwise(parts)]
        assert 15 <= sum(shared) / len(shared) <= 33 and max(shared) <= 36


@pytest.mark.parametrize("name", ["miniature", "bert", "gpt"])
def test_chunks_are_well_filled(name):
    tokenizer, rng = TOKENIZERS[name], random.Random(0)
    for parts in (regex.split(r"(?<=[.!?]\s)", ENGLISH), regex.split(r"(?<=[。！？])", CHINESE)):
        text = "".join(rng.choices(parts, k=300))
        sizes = [count(tokenizer, part.text) for part in cut(text, tokenizer, 200)]
        assert sum(sizes[:-1]) / len(sizes[:-1]) > 0.75 * 200


CHARACTERS = [
    "e\u0301",
    "👩‍👩‍👧‍👦",
    "👍🏽",
    "🇩🇪🇨🇳🇫🇷",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "한\u11ab국",
    "中\ufe00",
    "का",
    "🏴\U000e0067\U000e0062\U000e007f",
    ODD,
]


@pytest.mark.parametrize("name", ["miniature", "bert", "gpt", "xlm"])
@pytest.mark.parametrize("character", CHARACTERS)
def test_no_character_as_readers_see_it_is_divided(name, character):
    text = character * 60
    places = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    for size in range(34, 64, 5):
        parts = cut(text, TOKENIZERS[name], size, 8)
        assert {part.start for part in parts} <= places
        # White space that a chunk ends with is cut off, and a mark may stand on that.
        assert {part.end for part in parts if not text[part.end : part.end + 1].isspace()} <= places


@EVERY
@pytest.mark.parametrize("letters", ["x", "0123456789abcdef", "中", "e\u0301", "🇩🇪", "\u0301", "👍🏽"])
def test_a_single_word_of_many_characters_is_cut(tokenizer, letters):
    text = letters * ((1_000_000 if letters == "x" else 100_000) // len(letters))
    begin = time.process_time()
    parts = list(chunks([text], tokenizer, 64, 8))
    assert time.process_time() - begin < 10
    assert all(0 < count(tokenizer, part.text) <= 64 for part in parts[:50] + parts[-50:])
    assert count(tokenizer, uncovered(text, parts)[:1000]) == 0


@EVERY
@pytest.mark.parametrize("text", ["", " ", "\n" * 300_000, " \t\u3000" * 1000])
def test_nothing_is_made_of_white_space(tokenizer, text):
    assert cut(text, tokenizer, 38, 4, block=65536) == []


def test_nothing_is_made_of_what_the_tokenizer_drops():
    assert cut("bcd fgh " * 50_000, TOKENIZERS["vowels"], 10, 2, block=65536) == []
    assert cut("\x01\x02\ufffd" * 5000, TOKENIZERS["bert"], 10, 2) == []
    text = ("a" + "bcd " * 40) * 100
    assert len(cut(text, TOKENIZERS["vowels"], 10, 2)) < 3 * len(text) / 160, "an overlap of few tokens is none of many characters"
    parts = cut("bcd " * 30_000 + "a" + " fgh" * 30_000, TOKENIZERS["vowels"], 10, 2, block=65536)
    assert any("a" in part.text for part in parts)


def test_white_space_between_words_does_not_swell_a_chunk():
    text = ("word" + " " * 3000) * 50
    parts = cut(text, TOKENIZERS["bert"], 20)
    assert "".join(part.text.replace(" ", "") for part in parts) == "word" * 50
    assert max(len(part.text) for part in parts) <= 20 * 16


def test_a_character_of_more_tokens_than_fit_is_left_out_and_the_rest_is_not():
    tokenizer = TOKENIZERS["gpt"]
    parts = cut("ab🐕cd", tokenizer, 2)
    assert "".join(part.text for part in parts) == "abcd"


def test_truncation_and_padding_of_the_tokenizer_are_left_aside():
    tokenizer = gpt()
    text = "zygomorphic jackdaws vex quartz sphinxes. " * 9
    expected = cut(text, gpt(), 30, 4)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=40)
    assert list(chunks([text], tokenizer, 30, 4)) == expected
    assert tokenizer.truncation and tokenizer.padding, "nor are they changed"


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 5), (10, -1), (1, 1)])
def test_settings_without_sense_are_refused(size, overlap):
    with pytest.raises(ValueError, match=r"overlap < size / 2.*size=\d+ and overlap=-?\d+"):
        list(chunks([ENGLISH], TOKENIZERS["bert"], size, overlap))


def test_chunks_are_made_while_the_text_still_comes():
    seen = 0

    def blocks():
        nonlocal seen
        while True:
            seen += 1
            yield ENGLISH * 100

    next(iter(chunks(blocks(), TOKENIZERS["bert"], 64, 8)))
    assert seen < 5


@pytest.mark.slow
def test_a_text_of_50_mb_takes_a_minute_and_the_memory_of_a_small_one():
    program = """
import os, random, resource, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer
from encoders.chunks import chunks
megabytes, tokenizer = float(sys.argv[1]), Tokenizer.from_file(sys.argv[2])
rng = random.Random(0)
words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(50_000)]
weights = [1 / (k + 10) for k in range(len(words))]
def blocks():
    for _ in range(int(megabytes * 1e6 / 65536)):
        yield " ".join(w + rng.choice(["", "", "", "", "", ",", "."]) for w in rng.choices(words, weights, k=13_000))[:65536]
made = [block for block, _ in zip(blocks(), range(50))]
begin, count = time.process_time(), 0
source = (made[k % 50] for k in range(int(megabytes * 1e6 / 65536)))
for chunk in chunks(source, tokenizer, 256, 32):
    count += 1
print(count, time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    results = []
    for megabytes in ("1", "50"):
        command = ["sh", "-c", '"$0" -c "$1" "$2" "$3"', sys.executable, program, megabytes, str(MINIATURE)]
        results.append([float(x) for x in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()])
    (_, _, small), (_, seconds, large) = results
    assert seconds < 60
    assert large - small < 20, f"{small:.0f} MB for 1 MB of text, {large:.0f} MB for 50 MB"
