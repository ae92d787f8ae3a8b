"""Texts cut to what an encoder can take at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from encoders.chunks import Chunk, chunks
from encoders.errors import LimitError
from encoders.prompts import Role, prompt_of
from encoders.spec import Encoder

# For an encoder that names neither: about a page, which a mean over words still says something about.
DEFAULT = {"size": 256, "overlap": 32}


def fitted(encoder: Encoder, blocks: Iterable[str], role: Role = "document") -> Iterator[Chunk]:
    """Chunks of a text for one encoder.

    A chunk leaves room for the words that the encoder puts before it (see `encoders.prompts`), which are no part of it.

    Parameters
    ----------
    encoder : its `spec.preprocessing["chunk"]` says {"size": …, "overlap": …} in tokens of its attribute `tokenizer` (of the library
        tokenizers). One without a tokenizer has its texts counted in words, Chinese in single characters; one that names no size gets 256
        with an overlap of 32.
    blocks : the text; see `encoders.media.texts.blocks`.
    role : what the text is to the encoder. Chunks of a query are smaller where its prompt is longer.
    """
    how: Any = encoder.spec.preprocessing
    cut = how.get("chunk", DEFAULT)
    tokenizer, prompt = getattr(encoder, "tokenizer", None) or words(), prompt_of(encoder.spec, role)
    size = min(cut["size"], room(tokenizer, how["context"], prompt)) if prompt and "context" in how else cut["size"]
    overlap = cut["overlap"] if size == cut["size"] else min(cut["overlap"], (size - 1) // 2)
    yield from chunks(blocks, tokenizer, size, overlap, prompt)


def room(tokenizer: Tokenizer, context: int, prompt: str = "") -> int:
    """Tokens of a text that fit a context beside the special ones and a prompt."""
    return context - tokenizer.num_special_tokens_to_add(False) - len(tokenizer.encode(prompt, add_special_tokens=False).ids)


def refuse_blank(text: str) -> None:
    """ValueError for a text that has no vector."""
    if not text.strip():
        raise ValueError("a text of no characters, or of blanks alone, has no vector; leave it out")


def refuse_longer(tokens: int, context: int) -> None:
    """LimitError for more tokens than a model reads: nothing is ever cut off."""
    if tokens > context:
        raise LimitError("too many tokens", f"the text has {tokens} tokens, the model reads {context}; cut it into chunks first")


@lru_cache(maxsize=1)
def words() -> Tokenizer:
    """A tokenizer for which every word, every Chinese or Japanese character and every punctuation mark is one token."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))  # noqa: S106 - a token of a vocabulary, no secret
    parts = Regex(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[^\s\p{Han}\p{Hiragana}\p{Katakana}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(parts, behavior="removed", invert=True)
    return tokenizer
