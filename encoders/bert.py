"""Texts through BERT and its heirs: encoders, decoders that were trained to embed, and what sentence-transformers puts behind them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.clip import is_clip_like
from encoders.errors import EncoderError
from encoders.pooling import pool_tokens
from encoders.pretrained import read_model, setting
from encoders.prompts import prompts
from encoders.sentence_transformers import check_modules, read_dense, stored_pooling, width
from encoders.spec import Spec
from encoders.text import TextEncoder
from encoders.tokenizer import positions, text_preprocessing
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

POOLINGS = ("cls", "mean", "last")

# Of these, transformers has the encoder as a model by itself.
HALVED = frozenset({"t5", "mt5", "umt5"})


class Bert(TextEncoder):
    """A BERT-like checkpoint, also one of sentence-transformers, pooled over its tokens.

    Encoders (BERT, RoBERTa, XLM-R, MPNet, DistilBERT, ModernBERT, the encoder of T5) and decoders (Qwen3-Embedding, EmbeddingGemma) alike.
    """

    @classmethod
    def describe(  # noqa: PLR0913 - each is a key of a space's TOML section
        cls,
        weights: str = "",
        revision: str = "",
        licence: str = "",
        *,
        pooling: str = "",
        dimension: int = 0,
        query_prompt: str = "",
        document_prompt: str = "",
        stored_prompts: bool = True,
        context: int = 0,
        chunk: int = 0,
        overlap: int = -1,
    ) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says.

        Parameters
        ----------
        pooling : "cls" takes the first token, "mean" averages all, "last" takes the last; "" is what sentence-transformers stored with the
            checkpoint, or else "last" for a causal language model and "mean" for all others.
        dimension : numbers of a vector that are kept, the first ones, before it is brought to length one; 0 keeps all. For checkpoints
            trained to be cut so (Kusupati et al. 2022, Matryoshka Representation Learning, arXiv 2205.13147).
        query_prompt, document_prompt, stored_prompts : as `prompts.prompts` says.
        context : tokens read at once, at most and by default (0) what the model, its tokenizer and sentence-transformers allow.
        """
        folder = locate(weights, revision)
        _check_one_pass(folder)
        return Spec(
            encoder="bert",
            modality=cls.modality,
            dimension=_dimension(folder, dimension),
            inputs="tokens",
            preprocessing=text_preprocessing(
                folder,
                _longest(folder, context),
                chunk,
                overlap,
                prompts=prompts(folder, query_prompt, document_prompt, stored_prompts),
            ),
            pooling=_pooling(folder, pooling),
            **origin(folder, weights, revision, licence),
        )

    def load(self, folder: Path) -> Module:
        """The model, whose own pooler is not used, and the dense layers behind it."""
        from torch.nn import ModuleList

        half = read_json(folder, "config.json").get("model_type") in HALVED
        model = read_model(folder, unused=("pooler.",), kind="AutoModelForTextEncoding" if half else "AutoModel")
        model.config.use_cache = False  # a decoder's keys and values are for the next token, which nobody asks for
        return ModuleList([model, read_dense(folder)])

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Pooled states of the last layer, through the dense layers, cut to the spec's dimension."""
        states = model[0](input_ids=ids, attention_mask=mask.long()).last_hidden_state
        pooled = pool_tokens(states, mask, self.spec.pooling)
        vectors: Tensor = model[1](pooled.to(states.dtype))  # (n, width)
        return vectors[:, : self.spec.dimension]


def _check_one_pass(folder: Path) -> None:
    """Refuse checkpoints that are no single pass over the tokens."""
    if is_clip_like(folder):
        raise EncoderError(f"{folder} is a CLIP-like checkpoint with two halves; use the encoders clip-text and clip-image")
    config = read_json(folder, "config.json")
    if config.get("is_encoder_decoder") and config.get("model_type") not in HALVED:
        raise EncoderError(f"{folder} is an encoder with a decoder, which has no vector of a text; use a BERT-like checkpoint")
    check_modules(folder)


def _pooling(folder: Path, asked: str) -> str:
    causal = any(str(name).endswith("ForCausalLM") for name in read_json(folder, "config.json").get("architectures") or ())
    chosen = asked or stored_pooling(folder) or ("last" if causal else "mean")
    if chosen not in POOLINGS:
        raise EncoderError(f"pooling {chosen!r} is unknown for texts; use {', '.join(POOLINGS)}")
    return chosen


def _dimension(folder: Path, asked: int) -> int:
    full = width(folder, setting(folder, "hidden_size"))
    if not 0 <= asked <= full:
        raise EncoderError(
            f"dimension {asked} is not to be had: {folder} gives vectors of {full} numbers; ask for 1 to {full}, or 0 for all"
        )
    return asked or full


def _longest(folder: Path, asked: int) -> int:
    """Tokens read at once, 0 where neither the model nor whoever asks sets a limit."""
    has = positions(folder)
    if asked < 0 or (has and asked > has):
        raise EncoderError(f"context {asked} is not to be had: {folder} reads up to {has or 'any number of'} tokens")
    return asked or has
