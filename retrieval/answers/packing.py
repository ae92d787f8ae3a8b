"""Passages into a budget of tokens: the best parts first, nothing twice, and a count of what was left out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from encoders.remote.token_budget import BYTES_A_TOKEN, ByteTokenizer
from encoders.spec import Encoder
from retrieval.answers.passages import Passage, trimmed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHINGLE = 3  # words
ALIKE = 0.9  # share of a part's shingles that stand in the answer already

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+")

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of a text, without special ones.

    Parameters
    ----------
    name : how, for people: "the tokenizer of bert", or "an estimate, …".
    count : the function.
    """

    name: str
    count: Callable[[str], int]

    @classmethod
    def of(cls, encoder: Encoder) -> TokenCounter:
        """By the encoder's own tokenizer, or by bytes where it has none that knows tokens: none at all, or one that counts bytes or words.

        The estimate is a third of the bytes of UTF-8, which is more than most tokenizers make of English (a quarter) and about what they
        make of Chinese.
        """
        tokenizer: Tokenizer | None = getattr(encoder, "tokenizer", None)
        if tokenizer is None or isinstance(tokenizer, ByteTokenizer) or not hasattr(tokenizer, "encode"):
            return cls("an estimate, a third of the bytes", lambda text: math.ceil(len(text.encode(errors="replace")) / BYTES_A_TOKEN))
        return cls(f"the tokenizer of {encoder.spec.encoder}", lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))


@dataclass(frozen=True)
class Packed:
    """What fits.

    Parameters
    ----------
    passages : best first; their citations are numbered from 1 in this order.
    tokens : of all of `rendered`, at most the budget.
    alike : parts that were left out because what they say stands in another.
    too_long : parts that were left out because they did not fit.
    """

    passages: tuple[Passage, ...]
    tokens: int
    alike: int
    too_long: int

    @property
    def rendered(self) -> str:
        """The passages with their citations, as they are counted."""
        return "\n\n".join(render(number, passage) for number, passage in enumerate(self.passages, 1))


def render(number: int, passage: Passage) -> str:
    """A passage's citation, and its words below it."""
    return f"{passage.citation(number)}\n{passage.text}" if passage.text else passage.citation(number)


def pack(parts: Sequence[Passage], budget: int, counter: TokenCounter, first: Sequence[Passage] = ()) -> Packed:
    """Fill a budget with parts of passages, greedily by score, and join parts of one text that touch.

    A part is left out if at least nine tenths of its shingles (three words in a row) stand in parts that were taken before, so that a text
    and its slightly changed copy are not read twice (containment of shingles: Broder, "On the resemblance and containment of
    documents", 1997). It stays if it brings a number that they lack, for lines of a price list are alike in all but that. What does not fit
    is left out, and smaller parts behind it are tried: their order is that of maximal marginal relevance (Carbonell and Goldstein 1998)
    with a redundancy that is all or nothing.

    Parameters
    ----------
    parts : of texts with their words, or anything else.
    budget : most tokens of citations and words together.
    counter : counts them.
    first : parts that are taken before all others, whatever their score; listed by it.
    """
    order = [*sorted(first, key=_order), *sorted(parts, key=_order)]
    room = budget = max(budget, 0)
    while (packed := _packed(order, room, counter)).tokens > budget:
        room -= packed.tokens - budget  # passages side by side have more tokens than each alone
    return packed


def _packed(order: Iterable[Passage], room: int, counter: TokenCounter) -> Packed:
    """Parts in their order into so many tokens of single passages."""
    box = _Box(room, counter)
    alike = too_long = 0
    for part in order:
        if box.holds(part):
            alike += 1
        elif not box.take(part):
            too_long += 1
    packed = Packed(box.passages(), 0, alike, too_long)
    return replace(packed, tokens=counter.count(packed.rendered))


class _Box:
    """Parts that were taken, by object, and what they cost."""

    def __init__(self, budget: int, counter: TokenCounter) -> None:
        self._budget, self._counter = budget, counter
        self._taken: dict[str, list[Passage]] = {}
        self._cost: dict[str, int] = {}
        self._shingles: set[tuple[str, ...]] = set()
        self._numbers: set[str] = set()
        self._tokens_so_far = 0

    def holds(self, part: Passage) -> bool:
        """Whether what a part says stands in what was taken."""
        if not part.text:
            return False
        words = _words(part.text)
        shingles = _shingles(words)
        known = len(shingles & self._shingles)
        return bool(shingles) and known >= ALIKE * len(shingles) and _numbers(words) <= self._numbers

    def take(self, part: Passage) -> bool:
        """Take a part if it fits."""
        together = [*self._taken.get(part.uri, []), part]
        cost = sum(map(self._tokens, joined(together)))
        total = self._tokens_so_far - self._cost.get(part.uri, 0) + cost
        if total > self._budget:
            return False
        self._taken[part.uri], self._cost[part.uri], self._tokens_so_far = together, cost, total
        words = _words(part.text or "")
        self._shingles |= _shingles(words)
        self._numbers |= _numbers(words)
        return True

    def passages(self) -> tuple[Passage, ...]:
        """What was taken, joined, best first."""
        return tuple(sorted((passage for parts in self._taken.values() for passage in joined(parts)), key=_order))

    def _tokens(self, passage: Passage) -> int:
        # The number is not known yet: the widest that a part could get. A blank line stands between passages.
        return self._counter.count(render(999, passage) + "\n\n")


def joined(parts: Iterable[Passage]) -> list[Passage]:
    """Parts of one object as few passages: where one part of a text ends and another begins they become one, of the better score."""
    runs: list[Passage] = []
    for part in sorted(parts, key=lambda part: (part.start or 0.0, part.end or 0.0)):
        last = runs[-1] if runs else None
        if last is not None and last.medium == "text" and last.text and part.text and last.end == part.start:
            runs[-1] = replace(last, end=part.end, text=last.text + part.text, score=max(last.score, part.score))
        else:
            runs.append(part)
    return [trimmed(run) for run in runs]


def _order(passage: Passage) -> tuple[float, str, float]:
    return -passage.score, passage.uri, passage.start or 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _numbers(words: Iterable[str]) -> set[str]:
    return {word for word in words if any(map(str.isdigit, word))}


def _shingles(words: Sequence[str]) -> Shingles:
    width = min(SHINGLE, len(words)) or 1
    return frozenset(tuple(words[k : k + width]) for k in range(len(words) - width + 1) if words)
