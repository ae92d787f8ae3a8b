"""How many tokens texts have, and how many go into one request; counted where the tokenizer is known, bounded or guessed where not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from encoders.prompts import prompt_of
from encoders.spec import Spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES_A_TOKEN = 3.0  # of cl100k_base: 4 in English, 2.5 in Chinese, 1.06 in the rarest signs, never below 1
SPECIAL_TOKENS = 4  # room for those that a server adds, where its tokenizer is not known


def byte_tokenizer() -> Tokenizer:
    """A tokenizer for which each byte of UTF-8 is a token: the most tokens that a byte-level vocabulary can make of a text."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))  # noqa: S106 - a token of a vocabulary, no secret
    single = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), single])
    return tokenizer


def requests(tokens: Sequence[int], most_tokens: int, most_inputs: int) -> Iterator[range]:
    """Cut texts in a row into requests of at most so many tokens and texts; a text with more tokens goes alone."""
    first = held = 0
    for row, count in enumerate(tokens):
        if row > first and (held + count > most_tokens or row - first >= most_inputs):
            yield range(first, row)
            first, held = row, 0
        held += count
    if tokens:
        yield range(first, len(tokens))


def expected_tokens(spec: Spec, sizes: Sequence[int]) -> int:
    """About how many tokens texts of these sizes in bytes will cost: a third of their bytes, what chunks repeat, and prompts."""
    cut, prompt = spec.preprocessing["chunk"], len(prompt_of(spec, "document").encode())
    room = cut["size"] * (BYTES_A_TOKEN if spec.weights else 1.0)
    step = room * (1 - cut["overlap"] / cut["size"])
    size = np.asarray(sizes, np.float64)
    chunks = 1 + np.ceil(np.maximum(size - room, 0) / step)
    sent = size + (chunks - 1) * (room - step) + chunks * prompt
    return int(np.ceil(sent.sum() / BYTES_A_TOKEN))
