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
_LONGEST_CHARACTER = 64
_JOINER = "\u200d"
_STAYING = frozenset(
    ["\u200c", _JOINER, *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0xE0020, 0xE0080)), *"，。！？；：、…”’」』）》】"]
)
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
# Leading consonants, vowels (with and without a consonant) and trailing consonants of Korean, each followed by what it takes.
_HANGUL = re.compile(
    "[\u1100-\u115f\ua960-\ua97c][\u1100-\u11a7\ua960-\ua97c\ud7b0-\ud7c6\uac00-\ud7a3]"
    "|[\u1160-\u11a7\ud7b0-\ud7c6\uac00-\ud7a3][\u1160-\u11ff\ud7b0-\ud7fb]"
    "|[\u11a8-\u11ff\ud7cb-\ud7fb][\u11a8-\u11ff\ud7cb-\ud7fb]"
)


@dataclass(frozen=True)
class Chunk:
    """One segment of a text: `text == whole[start:end]`, in characters of the whole text; no white space at either end."""

    start: int
    end: int
    text: str


def chunks(blocks: Iterable[str], tokenizer: Tokenizer, size: int, overlap: int, prompt: str = "") -> Iterator[Chunk]:
    """Cut a text into chunks of at most `size` tokens.

    A chunk ends at the last paragraph or sentence that ends in its last third, else at the last clause in its last sixth, else at the
    last word; inside a word only where one word exceeds the size, and never inside a character as readers see it (a letter with its
    accents, an emoji with its modifiers). Every chunk is tokenised once more as it stands, and ends earlier if that gives more than
    `size` after all.

    Before that, tokens are counted in words, each word once (60,000 are remembered), which takes a fraction of the time of tokenising the
    text whole. A text of any length is read in segments of 64k characters, and memory is that of a segment.

    Parameters
    ----------
    blocks : the text; see `encoders.media.texts.blocks`.
    tokenizer : its truncation and padding are left aside.
    size : most tokens in a chunk, not counting the special ones that the model puts around it.
    overlap : tokens of the end of a chunk that stand at the beginning of the next too, about; less than half the size.
    prompt : what the encoder puts before every chunk. It does not count, but no chunk has more than `size` tokens after it either: some
        tokenizers read the first word of a text otherwise when something stands before it.

    Yields
    ------
    Chunk
        in order. Nothing is made of white space, nor of what the tokenizer drops altogether; a single character of more than
        `size` tokens is left out.
    """
    if size < 1 or not 0 <= 2 * overlap < max(size, 1):
        raise ValueError(f"needs size >= 1 and 0 <= overlap < size / 2, not size={size} and overlap={overlap}")
    count = _Counter(tokenizer, prompt)
    text, start, covered, offset = "", 0, 0, 0  # start and covered are places in text, which stands at offset in the whole
    for segment, final in _segments(blocks, max(_SEGMENT, 2 * size * _WIDEST_TOKEN)):
        offset, covered = offset + start, covered - start
        text = text[start:] + segment
        cuts, start, covered = _cuts(text, covered, size, overlap, count, final)
        for first, last in cuts:
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

    def __init__(self, tokenizer: Tokenizer, prompt: str = "") -> None:
        if tokenizer.truncation or tokenizer.padding:
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}
        self._prompt = prompt
        self._before = self._of_each([prompt])[0]

    def exactly(self, text: str) -> int:
        """Tokens of a text as it stands, or after the prompt if those are more; 0 only for a text without tokens."""
        tokens = self._of_each([text])[0]
        if not self._prompt or not tokens:
            return tokens
        return max(tokens, self._of_each([self._prompt + text])[0] - self._before)

    def remembered(self, pieces: list[str]) -> list[int]:
        """Tokens of each short piece, tokenised when first seen."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = list(set(pieces).difference(self._known))
        self._known.update(zip(new, self._of_each(new), strict=True))
        return list(map(self._known.__getitem__, pieces))

    def _of_each(self, texts: list[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


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
    while (start := _next_word(text, start)) < len(text):
        furthest = min(ruler.forward(start, size), start + size * _WIDEST_TOKEN, len(text))
        if furthest + _LONGEST_CHARACTER >= len(text) and not final:
            break
        preferred = max(min(ruler.forward(start, 2 * size // 3), furthest), covered)
        end, tokens = _fitting_end(text, start, max(start, covered), preferred, furthest, size, count)
        if end <= covered:
            start = covered  # the overlap left no room for anything new
            continue
        covered = end
        if 0 < tokens <= size:
            cuts.append((start, start + len(text[start:end].rstrip())))
        start = _overlapping(text, start, end, ruler.backward(end, overlap)) if overlap and tokens and end < len(text) else end
    return cuts, start, max(covered, start)


def _fitting_end(text: str, start: int, low: int, preferred: int, furthest: int, size: int, count: _Counter) -> tuple[int, int]:
    """The best end of the chunk that begins at `start`, and how many tokens it then has: more than `size` only if it is one code point."""
    end = len(text) if furthest == len(text) else _boundary(text, low, preferred, furthest)
    while (tokens := count.exactly(text[start:end].rstrip())) > size and end - start > 1:
        length = len(text[start:end].rstrip())
        furthest = start + max(1, min(length - 1, length * size // tokens))
        nearer = _boundary(text, low, min(preferred, furthest), furthest)
        end = nearer if nearer < end else furthest
    return end, tokens


def _boundary(text: str, start: int, preferred: int, furthest: int) -> int:
    """The best place to end a chunk, after `start`, up to `furthest` and the white space behind it."""
    high = _next_word(text, furthest)
    for pattern, low in ((_PARAGRAPH, preferred), (_SENTENCE, preferred), (_CLAUSE, (preferred + high) // 2), (_WORD, start)):
        if match := pattern.match(text, low, high):
            return _whole(text, start, match.end())
    return _whole(text, start, furthest)


def _overlapping(text: str, start: int, end: int, back: int) -> int:
    """Where the chunk after text[start:end] begins, if it is to repeat what follows `back`: never the first half, and whole words."""
    first = max(back, (start + end) // 2, start + 1)
    places = (match.end() for match in _SPACE.finditer(text, first - 1, end))
    return next((place for place in places if not _joined(text, start, place)), end)


def _whole(text: str, low: int, place: int) -> int:
    """`place`, or the nearest one before it, else after it, that divides no character; none is before `low`."""
    before = after = place
    while before > low and _joined(text, low, before):
        before -= 1
    if before > low:
        return before
    while after - place < _LONGEST_CHARACTER and _joined(text, low, after):
        after += 1
    return after if after - place < _LONGEST_CHARACTER else place


def _joined(text: str, origin: int, place: int) -> bool:
    """Whether the code points around `place` are one character to a reader (grapheme cluster, Unicode Standard Annex 29, section 3.1.1).

    Closing punctuation of Chinese and Japanese stays with what it closes, too. No character is divided at `origin`: flags are
    counted from there.
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return before == "\r" and after == "\n"
    if before == _JOINER or after in _STAYING or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if before in _FLAG_LETTERS and after in _FLAG_LETTERS:
        flags = text[origin:place]
        return (len(flags) - len(flags.rstrip(_FLAG_LETTERS))) % 2 == 1
    return bool(_HANGUL.match(before + after))


def _next_word(text: str, start: int) -> int:
    match = _DARK.search(text, start)
    return match.start() if match else len(text)
