"""Passages in a budget of tokens: never more, nothing twice, and what is left out is counted."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.context import words
from encoders.remote.token_budget import byte_tokenizer
from encoders.words.bag import WordCounter
from retrieval.answers.packing import TokenCounter, joined, pack, render
from retrieval.answers.passages import Passage

WORDS = TokenCounter("words", lambda text: len(words().encode(text).ids))


def part(text: str, start: int = 0, score: float = 0.5, uri: str = "a.txt") -> Passage:
    return Passage(uri, "text", "text", float(start), float(start + len(text)), text, score)


def sentence(seed: int, n: int = 8) -> str:
    """Words that no other seed gives."""
    return " ".join(f"word{chr(97 + seed % 26)}{chr(97 + seed // 26)}{'abcdefghij'[k]}" for k in range(n)) + "."


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 120), st.integers(0, 10**6))
def test_the_budget_is_never_exceeded_nothing_stands_twice_and_every_part_is_accounted_for(budget: int, seed: int):
    rng = random.Random(seed)
    parts = []
    for uri in ("a.txt", "b.txt", "c.txt"):
        place = 0
        for _ in range(rng.randrange(6)):
            text = sentence(rng.randrange(12), rng.randint(1, 9)) + rng.choice(["", " ", "\n\n"])
            parts.append(part(text, place, round(rng.random(), 3), uri))
            place += len(text) + rng.choice([0, 0, 5])
    packed = pack(parts, budget, WORDS)
    assert packed.tokens == len(words().encode(packed.rendered).ids) <= budget
    assert packed.rendered == "\n\n".join(render(n, p) for n, p in enumerate(packed.passages, 1))
    assert [p.score for p in packed.passages] == sorted((p.score for p in packed.passages), reverse=True)
    held = [p for p in parts if any(q.uri == p.uri and q.start <= p.start and p.text.strip() in q.text for q in packed.passages)]
    assert len(held) >= len(parts) - packed.alike - packed.too_long
    for passage in packed.passages:
        assert len(passage.text) == passage.end - passage.start and passage.text == passage.text.rstrip()
    seen = [p.text for p in packed.passages]
    assert len(set(seen)) == len(seen)


def test_the_best_come_first_and_what_does_not_fit_gives_way_to_what_does():
    long, short = part(sentence(1, 10) * 6, score=0.9, uri="long.txt"), part(sentence(2), score=0.2, uri="short.txt")
    packed = pack([short, long], 30, WORDS)
    assert [p.uri for p in packed.passages] == ["short.txt"]
    assert (packed.alike, packed.too_long) == (0, 1)
    assert [p.uri for p in pack([short, long], 300, WORDS).passages] == ["long.txt", "short.txt"]


def test_parts_that_touch_cost_one_citation_and_become_one_passage():
    first, second = sentence(1) + " ", sentence(2)
    packed = pack([part(first, 0, 0.4), part(second, len(first), 0.9)], 100, WORDS)
    [whole] = packed.passages
    assert (whole.text, whole.start, whole.end, whole.score) == (first + second, 0, len(first + second), 0.9)
    assert packed.tokens == WORDS.count(f"[1] a.txt, characters 0 to {len(first + second)}") + 16


def test_parts_with_something_between_them_stay_two():
    assert len(joined([part("one", 0), part("two", 4)])) == 2
    assert [p.text for p in joined([part("one ", 0), part("two", 4)])] == ["one two"]


def test_a_nearly_identical_part_is_left_out_and_counted():
    text = " ".join(sentence(k, 10) for k in range(4))
    changed = text.replace("worddaa", "another")
    packed = pack([part(text, score=0.9), part(changed, score=0.8, uri="b.txt"), part(sentence(9), score=0.1, uri="c.txt")], 500, WORDS)
    assert [p.uri for p in packed.passages] == ["a.txt", "c.txt"]
    assert (packed.alike, packed.too_long) == (1, 0)


def test_lines_that_differ_in_a_number_are_not_alike():
    text = "The price of the blue train with all its carriages and the station is EUR"
    packed = pack([part(f"{text} 20", score=0.9), part(f"{text} 30", score=0.8, uri="b.txt")], 500, WORDS)
    assert [p.uri for p in packed.passages] == ["a.txt", "b.txt"]


def test_a_part_that_only_shares_words_is_kept():
    packed = pack([part("the dog bites the man"), part("the man bites the dog", uri="b.txt", score=0.4)], 500, WORDS)
    assert len(packed.passages) == 2


def test_pictures_without_words_are_citations_and_never_alike():
    shown = [Passage(f"{n}.png", "image", "image", None, None, None, 0.5) for n in range(3)]
    packed = pack(shown, 500, WORDS)
    assert packed.rendered == "[1] 0.png\n\n[2] 1.png\n\n[3] 2.png"
    assert packed.alike == 0


def test_what_is_given_first_is_taken_before_better_ones():
    first = Passage("p.png", "image", "image", None, None, None, 0.1)
    packed = pack([part(sentence(n), score=0.9, uri=f"{n}.txt") for n in range(9)], 40, WORDS, first=[first])
    assert "p.png" in [p.uri for p in packed.passages] and packed.passages[-1].uri == "p.png"


def test_nothing_fits_a_budget_that_is_too_small():
    packed = pack([part(sentence(1))], 3, WORDS)
    assert (packed.passages, packed.tokens, packed.too_long) == ((), 0, 1)


def test_a_tokenizer_that_joins_what_stands_side_by_side_still_keeps_the_budget():
    # Counts one more for every blank line: what is between passages costs more than in any of them alone.
    odd = TokenCounter("odd", lambda text: len(text.split()) + 50 * text.strip().count("\n\n"))
    for budget in range(-1, 120):
        packed = pack([part(sentence(n), score=n / 10, uri=f"{n}.txt") for n in range(6)], budget, odd)
        assert packed.tokens == odd.count(packed.rendered) <= max(budget, 0)


def test_tokens_are_counted_by_the_encoders_own_tokenizer_and_without_one_estimated_by_bytes():
    spec = SimpleNamespace(encoder="bert")
    own = TokenCounter.of(SimpleNamespace(spec=spec, tokenizer=words()))
    assert (own.name, own.count("a big red dog")) == ("the tokenizer of bert", 4)
    for encoder in (
        SimpleNamespace(spec=spec),
        SimpleNamespace(spec=spec, tokenizer=byte_tokenizer()),
        SimpleNamespace(spec=spec, tokenizer=WordCounter(SimpleNamespace(numbers=len))),
    ):
        guess = TokenCounter.of(encoder)
        assert "estimate" in guess.name
        for text in ("a big red dog", "一只狗", ""):
            assert guess.count(text) == math.ceil(len(text.encode()) / 3)


@pytest.mark.parametrize("text", ["", "   ", "…", "🙂"])
def test_parts_without_a_word_are_neither_alike_nor_an_error(text: str):
    assert pack([part(text), part(text, uri="b.txt")], 100, WORDS).alike == 0
