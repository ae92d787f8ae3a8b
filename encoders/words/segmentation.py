"""The words of a text: runs of letters and digits; Chinese, which has no spaces, by a dictionary."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from encoders.errors import EncoderError

LONGEST = 100
"""Characters of the longest word; what is longer (encoded bytes, keys) is no word and is left out."""

CHINESE = "rjieba"

# A run of one script is a word: of Chinese characters to be segmented, of hiragana, of katakana, of all other letters, marks and digits.
_RUNS = r"\p{Han}+|\p{Hiragana}+|[\p{Katakana}ー]+|[\p{L}\p{M}\p{N}&&[^\p{Han}\p{Hiragana}\p{Katakana}ー]]+"
_AT_ONCE = 2**14


def description() -> dict[str, Any]:
    """What stands in a spec and in trained weights: all that decides how a text falls into words."""
    return {"words": "letters, marks and digits", "normalisation": "NFKC", "longest": LONGEST, "chinese": f"{CHINESE} {_installed()}"}


def check(expected: Mapping[str, Any]) -> None:
    """EncoderError unless this installation segments texts as `expected`, which stands in a spec, says."""
    found = description()
    if dict(expected) != found:
        differing = ", ".join(
            f"{key} {expected.get(key)!r} (here: {value!r})" for key, value in found.items() if expected.get(key) != value
        )
        raise EncoderError(f"texts were cut into words otherwise than here: {differing}; install that version, or embed into a new table")


def words(text: str) -> list[str]:
    """The words of a text in order, as they are written but for Unicode's NFKC.

    A word is a run of letters, marks and digits; punctuation, symbols and emoji divide words and are gone ("don't" is "don" and "t").
    Chinese is cut by jieba's dictionary and its hidden Markov model for words outside it (through rjieba). Japanese is cut where its
    scripts change; Thai, Lao and Khmer, which have no spaces either, are not cut.
    """
    found: list[str] = []
    for run in _runs(unicodedata.normalize("NFKC", text)):
        if _is_han(run[0]):
            found.extend(word for word in _cut(run) if len(word) <= LONGEST)
        elif len(run) <= LONGEST:
            found.append(run)
    return found


def _runs(text: str) -> Iterator[str]:
    splitter = _splitter()
    for run, _ in splitter.pre_tokenize_str(text) if text else ():
        yield run


@lru_cache(maxsize=1)
def _splitter() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(_RUNS), behavior="removed", invert=True)


def _cut(run: str) -> Iterator[str]:
    import rjieba

    for start in range(0, len(run), _AT_ONCE):  # nobody writes that many characters without punctuation
        yield from rjieba.cut(run[start : start + _AT_ONCE])


def _is_han(character: str) -> bool:
    """Whether the run that begins so is Chinese; runs are of one script, so that its first character tells."""
    return character >= "\u2e80" and (unicodedata.name(character, "").startswith("CJK ") or character in "々〇〻")


@lru_cache(maxsize=1)
def _installed() -> str:
    return version(CHINESE)
