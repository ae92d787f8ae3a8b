"""Words that strangers wrote, made harmless for what reads them next: a language model, or a terminal."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable

# Marks by which models tell who speaks. A server that does not escape them would let a file speak for the user.
_ROLES = re.compile(r"<\|[^<>|\n]{0,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<\|", re.IGNORECASE)

# Format characters that letters need: joiners of Persian, Indic scripts and emoji, and the soft hyphen.
_SHAPING = frozenset("\u200c\u200d\u00ad")


def visible(text: str) -> str:
    """The same without what a reader does not see.

    Gone are control characters (a terminal obeys them) but for line feed and tab, and format characters that reorder or hide text: marks
    of direction ("Trojan Source", Boucher and Anderson 2021) and Unicode's tags, in which instructions can be hidden from people.
    """
    return "".join(sign for sign in text if sign in "\n\t" or sign in _SHAPING or unicodedata.category(sign) not in ("Cc", "Cf"))


def spoken_by_nobody(text: str) -> str:
    """`visible`, with a blank inside each mark by which models tell who speaks, such as <|im_start|> and [INST]."""
    return _ROLES.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", visible(text))


def fence(texts: Iterable[str]) -> str:
    """A word that nobody could foresee and that is in none of the texts, to stand around each of them."""
    held = list(texts)
    while True:
        word = f"fence-{secrets.token_hex(8)}"
        if not any(word in text for text in held):
            return word
