"""What the two halves of a CLIP-like checkpoint have in common (CLIP, SigLIP, Chinese-CLIP …)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from encoders.errors import EncoderError
from encoders.pretrained import read_model, setting
from encoders.weights import read_json

Half = Literal["text", "vision"]


def is_clip_like(folder: Path) -> bool:
    """Whether a checkpoint has a text half and a picture half."""
    return {"text_config", "vision_config"} <= set(read_json(folder, "config.json"))


def check_clip_like(folder: Path) -> None:
    """EncoderError unless a checkpoint has both halves."""
    if not is_clip_like(folder):
        kind = read_json(folder, "config.json").get("model_type", "no named model")
        raise EncoderError(
            f"{folder} holds {kind}, which has no text_config and vision_config; for one modality use the encoders vit or bert"
        )


def dimension(folder: Path) -> int:
    """Length of the vectors of both halves."""
    if setting(folder, "model_type").startswith("siglip"):  # projects texts to the width of its pictures
        return int(setting(folder, "vision_config", "hidden_size"))
    return int(setting(folder, "projection_dim"))


def read_half(folder: Path, half: Half) -> Any:
    """The model without its other half, which would take memory for nothing."""
    model = read_model(folder)
    other = "vision" if half == "text" else "text"
    for name, _ in list(model.named_children()):
        if name.startswith(other) or (other == "vision" and name.startswith("visual")):
            delattr(model, name)
    return model
