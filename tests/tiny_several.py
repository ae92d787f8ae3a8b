"""A tiny PE-AV checkpoint, with the names under which transformers saves one, and without timm, which transformers would build it with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import save_file
from tiny_checkpoints import _byte_tokenizer
from transformers.models.pe_audio_video.modeling_pe_audio_video import PeAudioVideoContrastiveHead

WIDTH, SEEN = 32, 24  # numbers of a vector, and of what the picture tower makes of a frame
TOWER = {"img_size": 42, "embed_dim": 64, "depth": 2, "num_heads": 4, "attn_pool_num_heads": 2}  # nine patches of 14 pixels
TEXT = {
    "model_type": "modernbert",
    "vocab_size": 300,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "global_attn_every_n_layers": 1,
    "initializer_range": 0.4,
}
STACK = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 24,
    "initializer_range": 0.3,
}
DAC = {"model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [2, 4], "codebook_dim": 8, "hidden_size": 16, "hop_length": 8}
AUDIO = {"model_type": "pe_audio_encoder", **STACK, "dac_config": DAC}
VISION = {
    "model_type": "timm_wrapper",
    "architecture": "vit_pe_core_large_patch14_336",
    "num_labels": SEEN,
    "do_pooling": True,
    "model_args": TOWER,
}
VIDEO = {"model_type": "pe_video_encoder", **STACK, "vision_config": VISION}
RATE = 800
FRAMES = {"size": {"height": 42, "width": 42}, "do_resize": True, "do_rescale": True, "do_normalize": True}
COLOURS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


def pe_av(folder: Path) -> Path:
    """PE-AV: 32 numbers, texts of 64 tokens, sounds at 800 Hz, frames of 42 pixels."""
    folder.mkdir(exist_ok=True)
    config = {
        "model_type": "pe_audio_video",
        "text_config": TEXT,
        "audio_video_config": {**STACK, "audio_config": AUDIO, "video_config": VIDEO},
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    save_file(dict(_weights()), folder / "model.safetensors", {"format": "pt"})
    hf.PeAudioFeatureExtractor(sampling_rate=RATE, hop_length=8).save_pretrained(folder)
    settings = {"video_processor_type": "PeVideoVideoProcessor", "resample": 2, **FRAMES, **COLOURS}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))
    return _byte_tokenizer(folder, context=64)


def _weights() -> list[tuple[str, torch.Tensor]]:
    """The towers of transformers' own classes, the heads, and the picture tower by timm's names."""
    text = {key: value for key, value in TEXT.items() if key != "model_type"}
    parts = {
        "text_model": hf.ModernBertModel(hf.ModernBertConfig(**text)),
        "audio_model.audio_encoder": hf.PeAudioEncoder(hf.PeAudioEncoderConfig.from_dict(AUDIO)),
        "video_model.video_encoder": hf.PeVideoEncoder(hf.PeVideoEncoderConfig.from_dict({**VIDEO, "vision_config": _stand_in()})),
        "text_audio_video_head": PeAudioVideoContrastiveHead(WIDTH, WIDTH),
        "audio_model.text_audio_head": PeAudioVideoContrastiveHead(WIDTH, WIDTH),
        "video_model.text_video_head": PeAudioVideoContrastiveHead(WIDTH, WIDTH),
        "audio_model.audio_head": PeAudioVideoContrastiveHead(STACK["hidden_size"], WIDTH),
        "video_model.video_head": PeAudioVideoContrastiveHead(STACK["hidden_size"], WIDTH),
    }
    named = [(f"{place}.{name}", tensor) for place, part in parts.items() for name, tensor in part.state_dict().items()]
    kept = [(name, tensor.contiguous()) for name, tensor in named if ".embedder.vision_model." not in name]
    tower = "video_model.video_encoder.embedder.vision_model.timm_model."
    return kept + [(tower + name, _random(name, shape)) for name, shape in tower_shapes().items()]


def _stand_in() -> hf.ViTConfig:
    return hf.ViTConfig(hidden_size=4, num_hidden_layers=0, num_attention_heads=1, image_size=2, patch_size=2, num_labels=SEEN)


def tower_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of timm's `vit_pe_core_large_patch14_336` of these sizes."""
    width, hidden, out = TOWER["embed_dim"], 4 * TOWER["embed_dim"], SEEN

    def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    def two(name: str) -> dict[str, tuple[int, ...]]:
        return linear(f"{name}.fc1", hidden, width) | linear(f"{name}.fc2", width, hidden)

    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 10, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
    }
    shapes |= norm("norm_pre") | norm("norm") | {"attn_pool.latent": (1, 1, width)} | linear("head", out, width)
    for number in range(TOWER["depth"]):
        block = f"blocks.{number}"
        shapes |= norm(f"{block}.norm1") | norm(f"{block}.norm2") | two(f"{block}.mlp")
        shapes |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
    pool = linear("attn_pool.q", width, width) | linear("attn_pool.kv", 2 * width, width) | linear("attn_pool.proj", width, width)
    return shapes | pool | norm("attn_pool.norm") | two("attn_pool.mlp")


def _random(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if len(shape) == 1:
        return 0.1 * torch.randn(shape) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return torch.randn(shape) * (
        0.5 if name in {"cls_token", "pos_embed", "attn_pool.latent"} else 1.5 / torch.tensor(shape[1:]).prod() ** 0.5
    )


def _described(**options: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"weights": str(pe_av(folder)), **options}


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "pe-av-text": _described(),
    "pe-av-audio": _described(seconds=0.4),
    "pe-av-video": _described(frames=3, seconds=1.5),
    "pe-av-image": _described(),
}
