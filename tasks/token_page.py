"""A page of HTML that shows the chunks of a text and the tokens they are cut into."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_STYLE = """
body { font: 16px/1.7 system-ui, sans-serif; max-width: 60em; margin: 2em auto; color: #282828 }
section { margin: 1.5em 0; padding: 1em; border: 1px solid #ccc; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere }
h2 { font-size: 1em; margin: 0 0 .5em; color: #666; font-weight: normal; white-space: normal }
span { border-radius: 3px; padding: 0 1px } .a { background: #cfe3f5 } .b { background: #d9f0c9 } .s { background: #ddd; color: #666 }
"""


class Token(NamedTuple):
    """A token's place in its text, in characters; `special` is the name of one that stands for no part of it, or ""."""

    start: int
    end: int
    special: str


def tokens(tokenizer: Tokenizer, text: str) -> list[Token]:
    """The parts of a text that its tokens stand for, in order.

    Of several tokens that share a character (bytes of it), the first has it and the others are empty.
    """
    encoded = tokenizer.encode(text)
    found, done = [], 0
    for name, (start, end), special in zip(encoded.tokens, encoded.offsets, encoded.special_tokens_mask, strict=True):
        if special:
            found.append(Token(done, done, name))
        else:
            begin, done = min(max(start, done), max(end, done)), max(end, done)
            found.append(Token(begin, done, ""))
    return found


def page(title: str, chunks: list[tuple[str, str]], tokenizer: Tokenizer | None) -> str:
    """The page.

    Parameters
    ----------
    chunks : heading and text of each.
    tokenizer : None shows the words without tokens.
    """
    parts = "\n".join(f"<section><h2>{escape(heading)}</h2>{_marked(text, tokenizer)}</section>" for heading, text in chunks)
    return f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>\n{parts}\n'


def _marked(text: str, tokenizer: Tokenizer | None) -> str:
    parts, done = [], 0
    for number, token in enumerate(tokens(tokenizer, text) if tokenizer else []):
        kind, shown = ("s", token.special) if token.special else ("ab"[number % 2], text[token.start : token.end])
        parts.append(f'{escape(text[done : token.start])}<span class="{kind}">{escape(shown)}</span>')
        done = token.end
    return "".join(parts) + escape(text[done:])
