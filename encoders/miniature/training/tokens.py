"""The miniature's tokenizer: byte-level BPE in which a Chinese character never shares a token with its neighbour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = 40  # tokens, start and end included
VOCABULARY = 900
PAD, START, END = "<|pad|>", "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(captions: Iterable[str]) -> Any:
    """A fast tokenizer of transformers. Padding is id 0, the end has the highest id: both of CLIP's pooling rules find the end."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.Split(Regex(r"[\p{L}\p{N}]+|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 3,
        min_frequency=2,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words.train_from_iterator(captions, trainer)
    words.add_special_tokens([START, END])
    ends = [(name, words.token_to_id(name)) for name in (START, END)]
    words.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", pair=f"{START} $A $B {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        unk_token=END,
        model_max_length=LENGTH,
        padding_side="right",
        truncation_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


def tokens(tokenizer: Any, captions: Sequence[str]) -> NDArray[np.int16]:
    """(n, LENGTH), padded with 0."""
    coded = tokenizer(list(captions), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np")
    return np.asarray(coded["input_ids"], np.int16)
