"""The parts of a PE-AV checkpoint, each loaded without the others: text, sound and video towers with their heads.

The whole model would take three towers' memory for each encoder, and transformers builds it with timm and torchvision alone. Here each part
is built from its own configuration, and its weights are read by the names under which transformers saves them; tied ones stand there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.weights import read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

TEXT_HEADS = {
    "audio-video": "text_audio_video_head",
    "audio": "audio_model.text_audio_head",
    "video": "video_model.text_video_head",
}

_TEXT = ("text_model", "audio_model.text_model", "video_model.text_model")
_AUDIO = ("audio_model.audio_encoder", "audio_video_encoder.embedder.audio_encoder")
_VIDEO = ("video_model.video_encoder", "audio_video_encoder.embedder.video_encoder")
_TOWER = "embedder.vision_model.timm_model."


def text_part(folder: Path, head: str) -> Module:
    """{"tower": a ModernBERT, "head"}; `head` is a key of `TEXT_HEADS`."""
    from transformers import CONFIG_MAPPING, AutoModel

    given = _config(folder, "text_config")
    config = CONFIG_MAPPING[given.pop("model_type", "modernbert")].from_dict(given)
    width = config.hidden_size
    tower = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return _filled(folder, {"tower": (tower, _TEXT), "head": (_head(width, width), (TEXT_HEADS[head],))})


def audio_part(folder: Path) -> Module:
    """{"tower": a DAC codec's encoder and a transformer over its states, "head"}."""
    from transformers import PeAudioEncoder, PeAudioEncoderConfig

    config = PeAudioEncoderConfig.from_dict(_config(folder, "audio_video_config", "audio_config"))
    out = int(_config(folder, "text_config")["hidden_size"])
    return _filled(
        folder, {"tower": (PeAudioEncoder(config), _AUDIO), "head": (_head(config.hidden_size, out), ("audio_model.audio_head",))}
    )


def video_part(folder: Path) -> Module:
    """{"tower": Perception Encoder over each frame and a transformer over the frames, "head"}."""
    from transformers import PeVideoEncoder, PeVideoEncoderConfig, ViTConfig

    from encoders.perception import Named, PerceptionTower

    given = _config(folder, "audio_video_config", "video_config")
    vision = given.pop("vision_config", {})
    stored = _stored(folder)
    shapes = dict(_below(stored, _VIDEO, _TOWER))
    if "head.weight" not in shapes:
        raise EncoderError(f"{folder} holds no weights of a picture tower, so it is no PE-AV checkpoint that sees")
    # transformers' own class builds the tower through timm; a stand-in of the same output is built in its place and then replaced.
    stand_in: Any = ViTConfig(hidden_size=4, num_hidden_layers=0, num_attention_heads=1, image_size=2, patch_size=2)
    stand_in.num_labels = shapes["head.weight"][0]
    encoder = PeVideoEncoder(PeVideoEncoderConfig.from_dict({**given, "vision_config": stand_in}))
    architecture, arguments = vision.get("architecture", "vit_pe_core_large_patch14_336"), vision.get("model_args") or {}
    encoder.embedder.vision_model = Named(PerceptionTower(shapes, architecture, arguments))
    out = int(_config(folder, "text_config")["hidden_size"])
    head = _head(encoder.config.hidden_size, out)
    return _filled(folder, {"tower": (encoder, _VIDEO), "head": (head, ("video_model.video_head",))})


def _head(width: int, out: int) -> Module:
    from transformers.models.pe_audio_video.modeling_pe_audio_video import PeAudioVideoContrastiveHead

    head: Module = PeAudioVideoContrastiveHead(width, out)
    return head


def _config(folder: Path, *path: str) -> dict[str, Any]:
    """A part of config.json; one that it leaves out is empty, for transformers knows its defaults."""
    value: Any = read_json(folder, "config.json")
    for key in path:
        value = value.get(key) or {}
    return dict(value)


def _stored(folder: Path) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """File and shape of every tensor of a checkpoint, by name."""
    from safetensors import safe_open

    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found |= {name: (path, tuple(file.get_slice(name).get_shape())) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return found


def _below(
    stored: Mapping[str, tuple[Path, tuple[int, ...]]], places: tuple[str, ...], below: str
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, (_, shape) in stored.items():
        for place in places:
            if name.startswith(f"{place}.{below}"):
                yield name.removeprefix(f"{place}.{below}"), shape


def _filled(folder: Path, parts: Mapping[str, tuple[Module, tuple[str, ...]]]) -> Module:
    """The parts with their weights, in float32, ready to run."""
    import torch
    from safetensors import safe_open

    stored = _stored(folder)
    for part, places in parts.values():
        wanted = {name: next((f"{p}.{name}" for p in places if f"{p}.{name}" in stored), "") for name in part.state_dict()}
        missing = [name for name, at in wanted.items() if not at]
        if missing:
            raise EncoderError(
                f"{folder} has no weights for {', '.join(f'{places[0]}.{name}' for name in missing[:3])}: it is no PE-AV checkpoint"
            )
        state: dict[str, Tensor] = {}
        for path in {stored[at][0] for at in wanted.values()}:
            with safe_open(path, framework="pt") as file:
                state |= {name: file.get_tensor(at).float() for name, at in wanted.items() if stored[at][0] == path}
        part.load_state_dict(state)
    whole = torch.nn.ModuleDict({name: part for name, (part, _) in parts.items()})
    return whole.float().eval().requires_grad_(False)
