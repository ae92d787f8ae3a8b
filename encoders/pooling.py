"""From a model's output to one vector: unwrap, pool, normalise. Works on tensors; imports no torch of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor


def unwrap(output: Any) -> Tensor:
    """The projected features in what `get_text_features` and `get_image_features` return.

    transformers 4 returned the tensor itself; transformers 5 returns an output object whose `pooler_output` is projected, while its
    `last_hidden_state` is not and often has the same width (https://github.com/huggingface/transformers/pull/42564).
    """
    features: Tensor | None = getattr(output, "pooler_output", output)
    if features is None or not hasattr(features, "ndim") or features.ndim != 2:
        raise EncoderError(f"expected features (n, dimension) from the model, got {_shape(features)}; this transformers is not supported")
    return features


def pool_tokens(states: Tensor, mask: Tensor, how: str) -> Tensor:
    """One vector for each text.

    Parameters
    ----------
    states : (n, length, width), padded on the right.
    mask : bool (n, length), False at padding.
    how : "cls" takes the first token, "last" the last real one, "mean" averages the real ones.

    Returns
    -------
    (n, width) float32.
    """
    states = states.float()
    if how == "cls":
        return states[:, 0]
    if how == "last":
        last = mask.sum(1) - 1  # (n,)
        return states[last.new_tensor(range(len(last))), last]
    if how == "mean":
        real = mask.unsqueeze(-1).float()  # (n, length, 1)
        return (states * real).sum(1) / real.sum(1)
    raise EncoderError(f"pooling {how!r} is unknown for texts; use cls, mean or last")


def pool_patches(states: Tensor, prefix: int, how: str) -> Tensor:
    """One vector for each picture.

    Parameters
    ----------
    states : (n, prefix + patches, width).
    prefix : tokens before the patches (class, distillation, registers).
    how : "cls" takes the first token, "mean" averages the patches without the prefix.

    Returns
    -------
    (n, width) float32.
    """
    states = states.float()
    if how == "cls" and prefix > 0:
        return states[:, 0]
    if how == "mean":
        return states[:, prefix:].mean(1)
    why = "this model has no class token" if how == "cls" else "it is unknown for pictures"
    raise EncoderError(f"pooling {how!r} cannot be used: {why}; use {'mean or pooler' if prefix == 0 else 'cls, mean or pooler'}")


def normalise(vectors: Tensor) -> Tensor:
    """Float32 vectors of length one; a vector of zeros stays as it is, to be refused where vectors are checked."""
    vectors = vectors.float()
    length: Tensor = vectors.norm(dim=-1, keepdim=True)  # (n, 1)
    return vectors / length.clamp_min(1e-12)


def _shape(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
