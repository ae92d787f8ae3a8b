"""Texts cut to what an encoder can take at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from encoders.chunks import Chunk, chunks
from encoders.spec import Encoder

# For an encoder that names neither: about a page, which a mean over words still says something about.
DEFAULT = {"size": 256, "overlap": 32}


def fitted(encoder: Encoder, blocks: Iterable[str]) -> Iterator[Chunk]:
    """Chunks of a text for one encoder.

    Parameters
    ----------
    encoder : its `spec.preprocessing["chunk"]` says {"size": …, "overlap": …} in tokens of its attribute `tokenizer` (of the library
        tokenizers). One without a tokenizer has its texts counted in words, Chinese in single characters; one that names no size gets 256
        with an overlap of 32.
    blocks : the text; see `encoders.texts.blocks`.
    """
    cut: Any = encoder.spec.preprocessing.get("chunk", DEFAULT)
    yield from chunks(blocks, getattr(encoder, "tokenizer", None) or words(), cut["size"], cut["overlap"])


@lru_cache(maxsize=1)
def words() -> Tokenizer:
    """A tokenizer for which every word, every Chinese or Japanese character and every punctuation mark is one token."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))  # noqa: S106 - a token of a vocabulary, no secret
    parts = Regex(r"[\p{Han}\p{Hiragana}\p{Katakana}]|[^\s\p{Han}\p{Hiragana}\p{Katakana}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(parts, behavior="removed", invert=True)
    return tokenizer
