"""Texts through transformers: the text half of CLIP-like checkpoints, and BERT-like ones by themselves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.clip import check_clip_like, dimension, is_clip_like, read_half
from encoders.errors import EmptyError, EncoderError, LimitError
from encoders.pooling import pool_tokens, unwrap
from encoders.pretrained import Pretrained, read_model, setting
from encoders.spec import Modality, Spec
from encoders.tokenizer import positions, read_tokenizer, text_preprocessing
from encoders.weights import digest, locate, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module

BERT_POOLINGS = ("cls", "mean", "last")


class TextEncoder(Pretrained):
    """What all text encoders share: tokens go in, padding and mask are made on the device."""

    modality: Modality = "text"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's own tokenizer, from its tokenizer.json, without the truncation and padding that may be stored in it."""
        return read_tokenizer(locate(self.spec.weights, self.spec.revision))

    def prepare(self, medium: str) -> dict[str, np.ndarray]:
        """Tokenise a text.

        Returns
        -------
        {"input_ids": int32 (length,)}, special tokens included; length is at most the spec's "context".

        Raises
        ------
        ValueError : the text is empty.
        LimitError : the text has more tokens than the model reads; nothing is ever cut off.
        EmptyError : the tokenizer finds no token in the text.
        """
        if not medium.strip():
            raise ValueError("a text of no characters, or of blanks alone, has no vector; leave it out")
        ids = self.tokenizer.encode(medium).ids
        context = self.spec.preprocessing["context"]
        if len(ids) > context:
            raise LimitError("too many tokens", f"the text has {len(ids)} tokens, the model reads {context}; cut it into chunks first")
        if len(ids) <= self.tokenizer.num_special_tokens_to_add(False):
            raise EmptyError("no tokens", f"the tokenizer finds nothing it knows in {medium[:40]!r}")
        return {"input_ids": np.array(ids, np.int32)}

    def vectors(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Pooled or projected states; `inputs` as `Encoder.encode` says, without "lengths" where all texts are equally long."""
        import torch

        pad = self.spec.preprocessing["pad"]
        ids = inputs["input_ids"].long()  # (n, longest)
        lengths = inputs.get("lengths", ids.new_full((len(ids),), ids.shape[1]))
        if pad["to"] == "context":
            ids = torch.nn.functional.pad(ids, (0, self.spec.preprocessing["context"] - ids.shape[1]))
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)  # (n, width)
        return self.features(model, ids.masked_fill(~mask, pad["id"]), mask)

    @abstractmethod
    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Vectors (n, dimension) from token ids and their mask, both (n, width)."""

    def probe(self) -> Sequence[str]:
        """Two sentences and a number, each cut to what the model reads."""
        return [self._cut(text) for text in ("a small red bird sings in the rain", "一只红色的小鸟在雨中唱歌", "42")]

    def _cut(self, text: str) -> str:
        while len(self.tokenizer.encode(text).ids) > self.spec.preprocessing["context"]:
            text = text[:-1]
        return text


class ClipText(TextEncoder):
    """The text half of a CLIP-like checkpoint (CLIP, SigLIP, Chinese-CLIP …): projected into the space it shares with pictures."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", chunk: int = 0, overlap: int = -1) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says."""
        folder = locate(weights, revision)
        check_clip_like(folder)
        longest = setting(folder, "text_config", "max_position_embeddings")
        # SigLIP was trained on texts padded to its context without a mask, and reads the last position whatever stands there.
        fixed = setting(folder, "model_type") == "siglip"
        return Spec(
            encoder="clip-text",
            modality=cls.modality,
            dimension=dimension(folder),
            inputs="tokens",
            weights=weights,
            revision=revision,
            digest=digest(folder),
            preprocessing=text_preprocessing(folder, longest, chunk, overlap, "context" if fixed else "longest"),
            pooling="projection",
            licence=licence,
        )

    def load(self, folder: Path) -> Module:
        """The model without its picture half."""
        half: Module = read_half(folder, "text")
        return half

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Projected features."""
        seen = None if self.spec.preprocessing["pad"]["to"] == "context" else mask.long()
        return unwrap(model.get_text_features(input_ids=ids, attention_mask=seen))


class Bert(TextEncoder):
    """A BERT-like checkpoint, also one of sentence-transformers, pooled over its tokens."""

    @classmethod
    def describe(
        cls, weights: str = "", revision: str = "", licence: str = "", pooling: str = "", chunk: int = 0, overlap: int = -1
    ) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says.

        Parameters
        ----------
        pooling : "cls" takes the first token, "mean" averages all, "last" takes the last; "" is what sentence-transformers stored with the
            checkpoint, or else "mean".
        """
        folder = locate(weights, revision)
        _check_encoder_only(folder)
        pooling = pooling or _stored_pooling(folder)
        if pooling not in BERT_POOLINGS:
            raise EncoderError(f"pooling {pooling!r} is unknown for texts; use {', '.join(BERT_POOLINGS)}")
        return Spec(
            encoder="bert",
            modality=cls.modality,
            dimension=setting(folder, "hidden_size"),
            inputs="tokens",
            weights=weights,
            revision=revision,
            digest=digest(folder),
            preprocessing=text_preprocessing(folder, positions(folder), chunk, overlap),
            pooling=pooling,
            licence=licence,
        )

    def load(self, folder: Path) -> Module:
        """The model, whose own pooler is not used."""
        model: Module = read_model(folder, unused=("pooler.",))
        return model

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Pooled states of the last layer."""
        states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return pool_tokens(states, mask, self.spec.pooling)


def _check_encoder_only(folder: Path) -> None:
    """Refuse checkpoints that need more than one pass over the tokens."""
    if is_clip_like(folder):
        raise EncoderError(f"{folder} is a CLIP-like checkpoint with two halves; use the encoders clip-text and clip-image")
    if read_json(folder, "config.json").get("is_encoder_decoder"):
        raise EncoderError(f"{folder} is an encoder with a decoder, which has no vector of a text; use a BERT-like checkpoint")
    others = {module["type"].rpartition(".")[2] for module in read_json(folder, "modules.json") or ()} - {
        "Transformer",
        "Pooling",
        "Normalize",
    }
    if others:
        raise EncoderError(f"{folder} has more after its pooling ({', '.join(sorted(others))} in modules.json), which is not supported")
    if read_json(folder, "sentence_bert_config.json").get("do_lower_case"):
        raise EncoderError(f"{folder} lowers the case of texts outside its tokenizer (sentence_bert_config.json), which is not supported")


def _stored_pooling(folder: Path) -> str:
    """The pooling of a checkpoint of sentence-transformers by our names; "mean" where none is stored."""
    stored = read_json(folder, "1_Pooling/config.json")
    if not stored:
        return "mean"
    names = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    chosen = [key.removeprefix("pooling_mode_") for key, on in stored.items() if key.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or chosen[0] not in names:
        raise EncoderError(f"{folder} pools by {' and '.join(chosen) or 'nothing known'}; known are {', '.join(names)}")
    return names[chosen[0]]
