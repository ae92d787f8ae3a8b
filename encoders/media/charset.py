"""Which character encoding a text is in, from its bytes alone."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16: asked first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# All below the space but backspace, tab, line feed, form feed, carriage return and escape (coloured logs); and delete.
_CONTROLS = bytes(b for b in range(32) if b not in b"\b\t\n\f\r\x1b") + b"\x7f"
_LEGACY = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*(gb\w+|big5[\w-]*|shift_jis|euc-\w+|iso-8859-\d+|windows-125\d|koi8-\w)", re.IGNORECASE
)
_HIGH = bytes(range(128, 256))


def is_text(head: bytes) -> bool:
    """Whether the beginning of an object is text, in any encoding that `charset_of` knows; see `is_readable`."""
    wide = wide_charset(head)
    return is_readable(head.decode(wide, "replace")) if wide else _has_few_controls(head)


def is_readable(text: str) -> bool:
    """Whether at most one in a hundred characters is a control character.

    Of random bytes one in nine is; every common binary format has more than one in a hundred in its first 4 kB.
    """
    return _has_few_controls(text.encode("utf-8", "replace"))


def _has_few_controls(data: bytes) -> bool:
    return 100 * (len(data) - len(data.translate(None, _CONTROLS))) <= len(data)


def wide_charset(head: bytes) -> str | None:
    """The encoding that a byte order mark names or NUL bytes make evident, or None: one byte a character, or UTF-8.

    Text in UTF-16 without a mark has a NUL in every character of ASCII and Latin-1, at odd places (little-endian) or at even places
    (big-endian). That is evident where it holds for at least half of all characters; Chinese needs its mark.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    even, odd = head[::2].count(0), head[1::2].count(0)
    if 4 * max(even, odd) < len(head) or 4 * min(even, odd) > max(even, odd):
        return None
    name = "utf-16-le" if odd > even else "utf-16-be"
    return name if _decodes(head, name) else None


def charset_of(blocks: Iterable[bytes]) -> tuple[str, str]:
    """The encoding of a whole text and how to treat bytes that do not fit it, both as `bytes.decode` takes them.

    The whole text is read once, so that a single odd byte at its end cannot change its first half. In this order:

    1. a byte order mark, or UTF-16 without one where NUL bytes make it evident;
    2. UTF-8, if it is valid, or if damaged places are fewer than a tenth of the good multi-byte characters (they become U+FFFD): a text
       cut in the middle of a character is still UTF-8;
    3. the legacy encoding that a <meta charset> in the first block names;
    4. GB 18030, if the first block is valid in it and a third of its bytes are not ASCII (Chinese has pairs of such bytes, words of
       European languages single ones, mostly followed by an ASCII letter or space that is invalid there);
    5. Windows-1252, which is Latin-1 with quotes and dashes; five bytes it leaves undefined become U+FFFD.
    """
    head, good, bad = b"", 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in blocks:
        if not head:
            head = block
            if wide := wide_charset(head):
                return wide, "replace"
        text = decoder.decode(block)
        wrong = text.count("\ufffd") - block.count(b"\xef\xbf\xbd")
        good, bad = good + len(block) - len(text), bad + max(wrong, 0)
    bad += len(decoder.decode(b"", final=True))
    if 10 * bad <= good:
        return "utf-8", "replace"
    return _legacy_charset(head), "replace"


def _legacy_charset(head: bytes) -> str:
    if declared := _LEGACY.search(head[:4096]):
        name = declared[1].decode().lower()
        return "gb18030" if name.startswith("gb") and _known("gb18030") else name if _known(name) else "cp1252"
    foreign = len(head) - len(head.translate(None, _HIGH))
    return "gb18030" if 3 * foreign > len(head) and _decodes(head, "gb18030") else "cp1252"


def _known(name: str) -> bool:
    try:
        codecs.lookup(name)
    except LookupError:
        return False
    return True


def _decodes(head: bytes, name: str) -> bool:
    """Whether `head`, which may end in the middle of a character, is valid in the encoding `name`."""
    try:
        codecs.getincrementaldecoder(name)("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return True
