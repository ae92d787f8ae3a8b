"""From a text's bytes to its characters: streamed in blocks, whatever the encoding, without the tags of HTML."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.charset import charset_of, is_readable
from encoders.media.kinds import HEAD, Limits, Source, check_bytes, medium_by_name, open_source, type_of

BLOCK = 2**16
"""Bytes that are read at once, and so about the number of characters in a block."""

# A tag, comment or script that goes on for longer is not HTML that a person wrote; the parser holds it in memory until it ends.
_LONGEST_TAG = 2**23

_HIDDEN = frozenset({"script", "style"})
_CELLS = frozenset({"td", "th"})
# fmt: off
_LINES = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr",
    "html", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "title", "tr", "ul",
})
# fmt: on


def text_format(name: str) -> str:
    """How the text of an object is to be read, by its name: "html", or "plain" for everything else (Markdown is kept as it is written)."""
    return "html" if type_of(name) in ("html", "htm") else "plain"


def blocks(source: Source, name: str, limits: Limits | None = None) -> Iterator[str]:
    """The text of an object in blocks of about 64k characters; joined they are the whole text.

    Plain text and Markdown come as they are, line ends included, without a byte order mark: character offsets into the joined
    blocks are offsets into the decoded object. Of HTML comes what a reader sees, and offsets are offsets into that: tags,
    comments, scripts and styles are gone, entities are characters, runs of white space are one space (but in <pre>), and block
    elements begin a new line. The encoding is found as `encoders.media.charset.charset_of` tells; bytes that do not fit it become
    U+FFFD.

    Parameters
    ----------
    source : the object.
    name : its name; see `text_format`. A text that is not named as one is HTML if it begins like it.
    limits : bytes are checked before reading, characters (tags included) while decoding.

    Raises
    ------
    EmptyError("empty"), LimitError("too many bytes" | "too many characters"), UnreadableError("not text" | "corrupt")
        also after some blocks have been given: "empty" only after the last, where all were white space.
    """
    limits = limits or Limits()
    size = check_bytes(source, limits)
    if size > 4 * limits.characters:
        raise _too_many(f"at least {size // 4:,}", limits)
    with open_source(source) as stream:
        head = stream.read(HEAD)
    texts = _decoded(source, limits)
    empty = True
    for text in _shown(texts) if _is_html(name, head) else texts:
        empty = empty and text.isspace()
        yield text
    if empty:
        raise EmptyError("empty", "the text holds nothing but white space; remove it, or fill it")


def _is_html(name: str, head: bytes) -> bool:
    if medium_by_name(name) == "text":
        return text_format(name) == "html"
    return head.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _decoded(source: Source, limits: Limits) -> Iterator[str]:
    charset, errors = charset_of(_read(source))
    decoder = codecs.getincrementaldecoder(charset)(errors)
    characters = 0
    for block in chain(_read(source), [b""]):
        text = decoder.decode(block, final=not block)
        characters += len(text)
        if characters > limits.characters:
            raise _too_many("more", limits)
        if not is_readable(text):
            raise UnreadableError(
                "not text", f"the object is binary near character {characters - len(text):,}; rename it to what it is, or replace it"
            )
        if text:
            yield text


def _read(source: Source) -> Iterator[bytes]:
    with open_source(source) as stream:
        while block := stream.read(BLOCK):
            yield block


def _too_many(found: str, limits: Limits) -> LimitError:
    return LimitError(
        "too many characters", f"the text has {found}, allowed are {limits.characters:,} characters; raise the limit or split it"
    )


def _shown(texts: Iterator[str]) -> Iterator[str]:
    """What a reader of HTML sees."""
    reader = _Reader()
    for text in texts:
        reader.feed(text)
        yield from reader.take()
        if len(reader.rawdata) > _LONGEST_TAG:
            raise UnreadableError(
                "corrupt", f"a tag, comment or script of the HTML is longer than {_LONGEST_TAG:,} characters; repair it, or remove it"
            )
    # What is held back is an unfinished tag or comment, which nobody sees (and some versions of the parser search again from every "<"
    # of it), or the characters after a last "&".
    if not reader.rawdata.startswith("<"):
        reader.close()
    yield from reader.take()


class _Reader(HTMLParser):
    """Collects the text of HTML that is fed to it; `take` gives what has been collected."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._gap = ""  # the white space owed before the next word
        self._begun = self._hidden = self._as_written = False

    def take(self) -> Iterator[str]:
        if self._parts:
            yield "".join(self._parts)
            self._parts.clear()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._turn(tag, begins=True)

    def handle_endtag(self, tag: str) -> None:
        self._turn(tag, begins=False)

    def _turn(self, tag: str, begins: bool) -> None:
        if tag in _HIDDEN:
            self._hidden = begins
        elif tag in _LINES:
            self._gap = "\n"
        elif tag in _CELLS:
            self._gap = self._gap or " "
        if tag == "pre":
            self._as_written = begins

    def handle_data(self, data: str) -> None:
        if self._hidden or not data:
            return
        words = data if self._as_written else " ".join(data.split())
        if not self._as_written and data[0].isspace():
            self._gap = self._gap or " "
        if words:
            self._parts.append((self._gap if self._begun else "") + words)
            self._gap = " " if not self._as_written and data[-1].isspace() else ""
            self._begun = True

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        # Browsers take an unknown <![…]> for a comment; the standard library raises AssertionError.
        return self.parse_bogus_comment(i, bool(report))
