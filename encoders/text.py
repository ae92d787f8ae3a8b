"""Texts through transformers: what all encoders of tokens share, and the text half of CLIP-like checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders import clip_text_numpy
from encoders.clip import check_clip_like, dimension, read_half
from encoders.clip_text_numpy import TextTower
from encoders.context import refuse_blank, refuse_longer
from encoders.errors import EmptyError
from encoders.pooling import unwrap
from encoders.pretrained import Pretrained, setting
from encoders.prompts import prompt_of
from encoders.spec import Modality, Spec
from encoders.tokenizer import read_tokenizer, text_preprocessing
from encoders.weights import locate, origin, verify

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Module


class TextEncoder(Pretrained):
    """What all text encoders share: tokens go in, padding and mask are made on the device."""

    modality: Modality = "text"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's own tokenizer, from its tokenizer.json, without the truncation and padding that may be stored in it."""
        return read_tokenizer(locate(self.spec.weights, self.spec.revision))

    def prepare(self, medium: str) -> dict[str, np.ndarray]:
        """Tokenise a text, after the spec's prompt for documents if it has one.

        Returns
        -------
        {"input_ids": int32 (length,)}, special tokens included; length is at most the spec's "context".

        Raises
        ------
        ValueError : the text is empty.
        LimitError : the text has more tokens than the model reads; nothing is ever cut off.
        EmptyError : the tokenizer finds no token in the text.
        """
        return self._tokenise(medium, prompt_of(self.spec, "document"))

    def prepare_query(self, medium: str) -> dict[str, np.ndarray]:
        """Tokenise a query, after the spec's prompt for queries if it has one; otherwise like `prepare`."""
        return self._tokenise(medium, prompt_of(self.spec, "query"))

    def _tokenise(self, medium: str, prompt: str) -> dict[str, np.ndarray]:
        refuse_blank(medium)
        encoding = self.tokenizer.encode(prompt + medium)
        ids, context = encoding.ids, self.spec.preprocessing["context"]
        refuse_longer(len(ids), context)
        nothing = len(ids) <= self.tokenizer.num_special_tokens_to_add(False)
        if nothing or (prompt and max(end for _, end in encoding.offsets) <= len(prompt)):
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
        prompt = prompt_of(self.spec, "document")
        while len(self.tokenizer.encode(prompt + text).ids) > self.spec.preprocessing["context"]:
            text = text[:-1]
        return text


class ClipText(TextEncoder):
    """The text half of a CLIP-like checkpoint (CLIP, SigLIP, Chinese-CLIP …): projected into the space it shares with pictures.

    One text alone, such as a query, goes through NumPy where the checkpoint is CLIP's and runs in float32 on the CPU: the same vector to
    rounding, without the seconds that importing torch and transformers takes.
    """

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", chunk: int = 0, overlap: int = -1) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says."""
        folder = locate(weights, revision)
        check_clip_like(folder)
        longest = setting(folder, "text_config", "max_position_embeddings")
        # SigLIP was trained on texts padded to its context without a mask, and reads the last position whatever stands there.
        fixed = setting(folder, "model_type") in {"siglip", "siglip2"}
        return Spec(
            encoder="clip-text",
            modality=cls.modality,
            dimension=dimension(folder),
            inputs="tokens",
            preprocessing=text_preprocessing(folder, longest, chunk, overlap, "context" if fixed else "longest"),
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one; several threads may call this at once."""
        if len(inputs["input_ids"]) != 1 or (self.device, self.dtype) != ("cpu", "float32") or self._alone is None:
            return super().encode(inputs)
        return self.checked(self._alone.encode(inputs["input_ids"][0])[np.newaxis])

    @cached_property
    def _alone(self) -> TextTower | None:
        folder = locate(self.spec.weights, self.spec.revision)
        verify(folder, self.spec.digest)
        return clip_text_numpy.read(folder)

    def load(self, folder: Path) -> Module:
        """The model without its picture half."""
        half: Module = read_half(folder, "text")
        return half

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Projected features."""
        seen = None if self.spec.preprocessing["pad"]["to"] == "context" else mask.long()
        return unwrap(model.get_text_features(input_ids=ids, attention_mask=seen))
