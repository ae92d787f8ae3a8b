"""How many tokens texts have, and how many go into one request; counted where the tokenizer is known, bounded or guessed where not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from encoders.prompts import prompt_of
from encoders.spec import Spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES_A_TOKEN = 3.0  # of cl100k_base: 4 in English, 2.5 in Chinese, 1.06 in the rarest signs, never below 1
SPECIAL_TOKENS = 4  # room for those that a server adds, where its tokenizer is not known


@dataclass(frozen=True)
class ByteEncoding:
    """A text whose tokens are its bytes."""

    text: str

    @property
    def ids(self) -> bytes:
        """The bytes."""
        return self.text.encode(errors="replace")

    @property
    def tokens(self) -> list[str]:
        """Each byte in two hex digits."""
        return [f"{byte:02x}" for byte in self.ids]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The character that each byte belongs to."""
        return [(place, place + 1) for place, character in enumerate(self.text) for _ in character.encode(errors="replace")]

    @property
    def special_tokens_mask(self) -> list[int]:
        """No byte is special."""
        return [0] * len(self.ids)


class ByteTokenizer:
    """What this project needs of a tokenizer, with each byte of UTF-8 as a token: the most that a byte-level vocabulary makes of a text.

    Ten times as fast as the same tokenizer made of parts of the library tokenizers.
    """

    truncation = None
    padding = None

    def encode(self, text: str, add_special_tokens: bool = True) -> ByteEncoding:
        """A text in bytes; there are no special tokens."""
        return ByteEncoding(text)

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = True) -> list[ByteEncoding]:
        """Each text in bytes."""
        return [self.encode(text) for text in texts]

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """None."""
        return 0


def byte_tokenizer() -> Tokenizer:
    """A `ByteTokenizer` where one of the library tokenizers is expected."""
    return cast("Tokenizer", ByteTokenizer())


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
