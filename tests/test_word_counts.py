"""From texts to a vocabulary: sentences, counts, and what is forgotten when memory ends."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from encoders.words.word_counts import LONGEST_SENTENCE, WordCounts, sentences


def test_a_sentence_ends_at_its_punctuation_or_its_line():
    text = 'He sat. "Did he?" she asked… Pi is 3.14! 红色的小鸟。在雨中唱歌！\nRed bird\nblue bird'
    assert list(sentences([text])) == [
        ["he", "sat"],
        ["did", "he", "she", "asked"],
        ["pi", "is", "3", "14"],
        ["红色", "的", "小鸟"],
        ["在", "雨", "中", "唱歌"],
        ["red", "bird"],
        ["blue", "bird"],
    ]


@pytest.mark.parametrize("size", [1, 3, 7, 64, 10_000])
def test_where_a_block_ends_changes_nothing(size):
    text = "The quick brown fox. Jumps over 红色的小鸟。the lazy dog\n\nand runs away! " * 20
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(sentences(blocks)) == list(sentences([text]))


def test_a_text_without_an_end_is_cut_between_words_and_loses_none():
    text = "word other " * 50_000
    found = list(sentences(text[start : start + 65_536] for start in range(0, len(text), 65_536)))
    assert max(map(len, found)) == LONGEST_SENTENCE
    assert Counter(word for sentence in found for word in sentence) == {"word": 50_000, "other": 50_000}


def test_nothing_comes_of_a_text_without_words():
    assert list(sentences(["", " \n ", "!!! ..."])) == []


def drawn(count, seed=0):
    rng = random.Random(seed)
    return [[f"w{min(int(rng.paretovariate(0.7)), 5000)}" for _ in range(rng.randint(1, 20))] for _ in range(count)]


def counted(documents, most=10**6, least=1, kept=10**6):
    counts = WordCounts(most)
    for document in documents:
        counts.begin_document()
        for sentence in document:
            counts.add(sentence)
    return counts.counted(least, kept)


def test_words_and_their_documents_are_counted():
    documents = [drawn(5, seed) for seed in range(50)]
    found = counted(documents)
    expected = Counter(word for document in documents for sentence in document for word in sentence)
    standing = Counter(word for document in documents for word in {word for sentence in document for word in sentence})
    assert dict(zip(found.words, found.counts.tolist(), strict=True)) == expected
    assert dict(zip(found.words, found.documents.tolist(), strict=True)) == standing
    assert (found.tokens, found.total) == (sum(expected.values()), 50)
    assert found.words == sorted(expected, key=lambda word: (-expected[word], word))


def test_rare_words_and_more_words_than_asked_for_are_left_out():
    documents = [drawn(300)]
    whole = counted(documents)
    assert counted(documents, least=5).words == [word for word, count in zip(whole.words, whole.counts, strict=True) if count >= 5]
    assert counted(documents, kept=7).words == whole.words[:7]


def test_when_memory_is_full_rare_words_are_forgotten_and_frequent_ones_counted_exactly():
    documents = [drawn(3000)]
    whole, bounded = counted(documents), counted(documents, most=300)
    assert len(bounded.words) <= 300 < len(whole.words)
    assert bounded.words[:20] == whole.words[:20]
    assert bounded.counts[:20].tolist() == whole.counts[:20].tolist()
    assert bounded.tokens == whole.tokens
