"""From text to chunks that fit a model's context: whole sentences where possible, whole words where not."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from tokenizers import Tokenizer

# Characters that a token stands for on average at most; more is white space, or a word the tokenizer does not know.
_WIDEST_TOKEN = 16
_SEGMENT = 2**16
_REMEMBERED = 2**16

_CJK = r"\u2e80-\u2fdf\u3001-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff"
# Pieces whose tokens are counted once and remembered: a word with the space before it, a few ideographs, or more white space.
_PIECE = re.compile(rf"\s?(?:[{_CJK}]{{1,2}}|[^\s{_CJK}]{{1,64}})|\s{{1,64}}")

# Where a chunk may end, best first. Each finds the last such place between pos and endpos.
_PARAGRAPH = re.compile(r".*\n\s*\n", re.DOTALL)
_SENTENCE = re.compile(r".*(?:[.!?…][\"'”’)\]]*\s|[。！？；…][”’」』）》]*|\n)", re.DOTALL)
_CLAUSE = re.compile(r".*(?:[,;:)\]]\s|\s[-–—]\s|[，、：）])", re.DOTALL)
_WORD = re.compile(rf".*[\s{_CJK}]", re.DOTALL)

_SPACE = re.compile(rf"[\s{_CJK}]")
_DARK = re.compile(r"\S")

# What stays with the character before it, besides marks: joiners, skin tones, tags of flags; closing punctuation.
_JOINER = "\u200d"
_STAYING = frozenset(
    ["\u200c", _JOINER, *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0xE0020, 0xE0080)), *"，。！？；：、…”’」』）》】"]
)
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_HANGUL = re.compile(
    "[\u1100-\u115f\ua960-\ua97c][\u1100-\u11a7\ua960-\ua97c\ud7b0-\ud7c6\uac00-\ud7a3]|[\u1160-\u11a7\ud7b0-\ud7c6\uac00-\ud7a3][\u1160-\u11ff\ud7b0-\ud7fb]|[\u11a8-\u11ff\ud7cb-\ud7fb][\u11a8-\u11ff\ud7cb-\ud7fb]"
)


@dataclass(frozen=True)
class Chunk:
    """One segment of a text: `text == whole[start:end]`, in characters of the whole text; no white space at either end."""

    start: int
    end: int
    text: str


def chunks(blocks: Iterable[str], tokenizer: Tokenizer, size: int, overlap: int) -> Iterator[Chunk]:
    """Cut a text into chunks of at most `size` tokens.

    A chunk ends at the last paragraph or sentence that ends in its second half, else at the last clause in its last quarter, else
    at the last word; inside a word only where one word exceeds the size, and never inside a character as readers see it (a letter
    with its accents, an emoji with its modifiers). Every chunk is tokenised once more as it stands, and divided if that gives
    more than `size` after all.

    Tokens are counted in words, each word once (60,000 are remembered), which is several times as fast as tokenising the text whole,
    and the counts are checked as told above. A text of any length is read in segments of 64k characters, and memory is that of a segment.

    Parameters
    ----------
    blocks : the text; see `encoders.texts.blocks`.
    tokenizer : its truncation and padding are left aside.
    size : most tokens in a chunk, not counting the special ones that the model puts around it.
    overlap : tokens of the end of a chunk that stand at the beginning of the next too, about; less than half the size.

    Yields
    ------
    Chunk
        in order. Nothing is made of white space, nor of what the tokenizer drops altogether; a single character of more than
        `size` tokens is left out.
    """
    if size < 1 or not 0 <= 2 * overlap < max(size, 1):
        raise ValueError(f"needs size >= 1 and 0 <= overlap < size / 2, not size={size} and overlap={overlap}")
    count = _Counter(tokenizer)
    text, start, covered, offset = "", 0, 0, 0  # start and covered are places in text, which stands at offset in the whole
    for segment, final in _segments(blocks, max(_SEGMENT, 2 * size * _WIDEST_TOKEN)):
        offset, covered = offset + start, covered - start
        text = text[start:] + segment
        cuts, start, covered = _cuts(text, covered, size, overlap, count, final)
        for first, last in _fitting(text, cuts, size, count):
            yield Chunk(offset + first, offset + last, text[first:last])


def _segments(blocks: Iterable[str], length: int) -> Iterator[tuple[str, bool]]:
    """The text in pieces of at least `length` characters, and whether it is the last one."""
    held: list[str] = []
    size = 0
    for block in blocks:
        if size >= length:
            yield "".join(held), False
            held, size = [], 0
        held.append(block)
        size += len(block)
    yield "".join(held), True


class _Counter:
    """Counts tokens, without the special ones."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        if tokenizer.truncation or tokenizer.padding:
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}

    def exactly(self, texts: list[str]) -> list[int]:
        """Tokens of each text as it stands."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def remembered(self, pieces: list[str]) -> list[int]:
        """Tokens of each short piece, tokenised when first seen."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = list(set(pieces).difference(self._known))
        self._known.update(zip(new, self.exactly(new), strict=True))
        return list(map(self._known.__getitem__, pieces))


class _Ruler:
    """A text measured in tokens: which stretch of characters holds how many, to the precision of a piece."""

    def __init__(self, text: str, count: _Counter) -> None:
        pieces = _PIECE.findall(text)
        self._ends = [0, *accumulate(map(len, pieces))]
        self._tokens = [0, *accumulate(count.remembered(pieces))]

    def forward(self, start: int, tokens: int) -> int:
        """The last place to which `start` is at most `tokens` away; inside a piece only if that piece alone is longer."""
        first = bisect_right(self._ends, start) - 1
        last = bisect_right(self._tokens, self._tokens[first] + tokens) - 1
        if last > first:
            return self._ends[last]
        piece, length = self._tokens[first + 1] - self._tokens[first], self._ends[first + 1] - self._ends[first]
        return min(start + max(1, length * tokens // piece), self._ends[first + 1])

    def backward(self, end: int, tokens: int) -> int:
        """The first beginning of a piece that is at most `tokens` before `end`."""
        last = bisect_left(self._ends, end)
        return min(end, self._ends[bisect_left(self._tokens, self._tokens[last] - tokens)])


def _cuts(text: str, covered: int, size: int, overlap: int, count: _Counter, final: bool) -> tuple[list[tuple[int, int]], int, int]:
    """Where to cut `text`; then the place at which the next call has to begin, and up to where the text is covered.

    Unless `final`, the end of the text, which may change with what follows, is left to the next call.
    """
    ruler = _Ruler(text, count)
    cuts: list[tuple[int, int]] = []
    start = 0
    while (start := _next(_DARK, text, start)) < len(text):
        furthest = min(ruler.forward(start, size), start + size * _WIDEST_TOKEN, len(text))
        if furthest + 64 >= len(text) and not final:
            break
        half = max(min(ruler.forward(start, size // 2), furthest), covered)
        end = len(text) if furthest == len(text) else _boundary(text, max(start, covered), half, furthest)
        if end <= covered:
            start = covered  # the overlap left no room for anything new
            continue
        cuts.append((start, end))
        again = _word_start(text, ruler.backward(end, overlap), end) if overlap and end < len(text) else end
        start, covered = max(start + 1, again), end
    return cuts, start, max(covered, start)


def _boundary(text: str, start: int, half: int, furthest: int) -> int:
    """The best place to end a chunk, after `start`, up to `furthest` and the white space behind it."""
    high = _next(_DARK, text, furthest)
    for pattern, low in ((_PARAGRAPH, half), (_SENTENCE, half), (_CLAUSE, (half + high) // 2), (_WORD, start)):
        if match := pattern.match(text, low, high):
            return _whole(text, start, match.end())
    return _whole(text, start, furthest)


def _word_start(text: str, start: int, end: int) -> int:
    """The first beginning of a word from `start` on; `end` if none is before it."""
    places = (match.end() for match in _SPACE.finditer(text, max(start - 1, 0), end))
    return next((place for place in places if not _joined(text, place)), end)


def _whole(text: str, low: int, place: int) -> int:
    """`place`, or before it, so that no character is divided; `place` if that would go back to `low`."""
    best = place
    while best > low and _joined(text, best):
        best -= 1
    return best if best > low else place


def _joined(text: str, place: int) -> bool:
    """Whether the code points around `place` are one character to a reader (grapheme cluster, Unicode Standard Annex 29, section 3.1.1).

    Closing punctuation of Chinese and Japanese stays with what it closes, too.
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return before == "\r" and after == "\n"
    if before == _JOINER or after in _STAYING or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if before in _FLAG_LETTERS and after in _FLAG_LETTERS:
        flags = text[max(0, place - 64) : place]
        return (len(flags) - len(flags.rstrip(_FLAG_LETTERS))) % 2 == 1
    return bool(_HANGUL.match(before + after))


def _next(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.search(text, start)
    return match.start() if match else len(text)


def _fitting(text: str, cuts: list[tuple[int, int]], size: int, count: _Counter) -> Iterator[tuple[int, int]]:
    """The same stretches without white space around them, divided where they have more than `size` tokens, dropped where they have none."""
    spans = [_stripped(text, *cut) for cut in cuts]
    for (start, end), tokens in zip(spans, count.exactly([text[start:end] for start, end in spans]), strict=True):
        if tokens > size and end - start > 1:
            middle = _boundary(text, start, start, (start + end) // 2)
            yield from _fitting(text, [(start, middle), (middle, end)], size, count)
        elif 0 < tokens <= size:
            yield start, end


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())
