"""The picture tower of Perception Encoder, which PE-AV looks at frames with, by the names that timm gives its weights.

Bolya et al.: Perception Encoder: The best visual embeddings are not at the output of the network, 2025 (arXiv 2504.13181). transformers
runs this tower through timm, which brings torchvision; here are its 100 lines instead, equal to timm's `vit_pe_core_*` (models/eva.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from encoders.errors import EncoderError

# Edge of the grid of patches that the positions of each architecture were trained on.
GRIDS = {
    "vit_pe_core_tiny_patch16_384": 24,
    "vit_pe_core_small_patch16_384": 24,
    "vit_pe_core_base_patch16_224": 14,
    "vit_pe_core_large_patch14_336": 24,
}
_HEAD_WIDTH = 64
_POOL_HEADS = 8
_EPS = 1e-5
_ARGUMENTS = ("num_heads", "attn_pool_num_heads", "ref_feat_shape")  # what else timm could be told is in the weights' shapes
_IN_SHAPES = ("img_size", "patch_size", "embed_dim", "depth", "num_classes")


class PerceptionTower(nn.Module):
    """A vision transformer with rotary positions in two dimensions, pooled by one learnt query.

    Parameters
    ----------
    shapes : of the tower's weights by name, from which all sizes follow.
    architecture : timm's name, a key of `GRIDS`.
    arguments : what the checkpoint's "model_args" tell timm beyond the architecture.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], architecture: str, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        _check(architecture, arguments)
        width, _, patch, _ = shapes["patch_embed.proj.weight"]
        heads = int(arguments.get("num_heads", width // _HEAD_WIDTH))
        grid = round((shapes["pos_embed"][1] - 1) ** 0.5)
        trained = arguments.get("ref_feat_shape", (GRIDS[architecture],) * 2)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch, bias=False)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(shapes["pos_embed"]))
        self.norm_pre = nn.LayerNorm(width, _EPS)
        hidden = shapes["blocks.0.mlp.fc1.weight"][0]
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks."))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, _EPS)
        self.attn_pool = Pool(width, int(arguments.get("attn_pool_num_heads", _POOL_HEADS)), shapes["attn_pool.mlp.fc1.weight"][0])
        self.head = nn.Linear(width, shapes["head.weight"][0])
        self.register_buffer(
            "rotation", rotations(grid, trained[0] if isinstance(trained, list | tuple) else trained, width // heads), False
        )

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        """`logits` (n, out) of normalised pixels (n, 3, height, width)."""
        states = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (n, patches, width)
        states = torch.cat([self.cls_token.expand(len(states), -1, -1), states], 1) + self.pos_embed
        states = self.norm_pre(states)
        for block in self.blocks:
            states = block(states, self.rotation)
        return SimpleNamespace(logits=self.head(self.attn_pool(self.norm(states))))


class Named(nn.Module):
    """A tower by the name, timm_model, under which transformers holds it and saves its weights."""

    def __init__(self, tower: PerceptionTower) -> None:
        super().__init__()
        self.timm_model = tower

    def forward(self, pixels: Tensor) -> Any:
        """What the tower makes of pixels."""
        return self.timm_model(pixels)


class Block(nn.Module):
    """Self-attention whose patches know their place by rotation, then two layers; both added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, _EPS), nn.LayerNorm(width, _EPS)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = _perceptron(width, hidden)

    def forward(self, states: Tensor, rotation: Tensor) -> Tensor:
        """(n, 1 + patches, width) to the same."""
        n, length, width = states.shape
        mixed = self.attn["qkv"](self.norm1(states)).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width of a head)
        seen = nn.functional.scaled_dot_product_attention(rotate(query, rotation), rotate(key, rotation), value)
        states = states + self.attn["proj"](seen.transpose(1, 2).reshape(n, length, width))
        return states + _through(self.mlp, self.norm2(states))


class Pool(nn.Module):
    """One learnt query attends to all tokens: (n, length, width) to (n, width)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.latent = nn.Parameter(torch.empty(1, 1, width))
        self.q, self.kv, self.proj = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, _EPS)
        self.mlp = _perceptron(width, hidden)

    def forward(self, states: Tensor) -> Tensor:
        """The query's answer, through two layers."""
        n, length, width = states.shape
        query = self.q(self.latent).view(1, 1, self.heads, -1).transpose(1, 2).expand(n, -1, -1, -1)
        key, value = self.kv(states).view(n, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        pooled = self.proj(nn.functional.scaled_dot_product_attention(query, key, value).reshape(n, width))
        answer: Tensor = pooled + _through(self.mlp, self.norm(pooled))
        return answer


def rotations(grid: int, trained: int, width: int) -> Tensor:
    """Sine and cosine (2, grid * grid, width) by which a head of some width rotates the patches of a square grid.

    Half of the width turns with x, half with y, both counted from 1 and scaled to the grid that the model was trained on; each pair of
    neighbouring numbers turns at a rate of its own, 10000 ** (-i / (width / 4)).
    """
    rates = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    place = (torch.arange(grid, dtype=torch.float32) + 1) / grid * trained
    y, x = torch.meshgrid(place, place, indexing="ij")
    angles = torch.cat([x.reshape(-1, 1) * rates, y.reshape(-1, 1) * rates], 1).repeat_interleave(2, 1)  # (patches, width)
    return torch.stack([angles.sin(), angles.cos()])


def rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """Turn all tokens but the first, which is the class token: (n, heads, 1 + patches, width) to the same."""
    first, rest = heads[:, :, :1], heads[:, :, 1:]
    sine, cosine = rotation
    turned = torch.stack([-rest[..., 1::2], rest[..., ::2]], -1).reshape(rest.shape)  # pairs (a, b) to (-b, a)
    return torch.cat([first, (rest * cosine + turned * sine).to(first.dtype)], 2)


def _perceptron(width: int, hidden: int) -> nn.ModuleDict:
    return nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})


def _through(layers: nn.ModuleDict, states: Tensor) -> Tensor:
    result: Tensor = layers["fc2"](nn.functional.gelu(layers["fc1"](states)))
    return result


def _check(architecture: str, arguments: Mapping[str, Any]) -> None:
    if architecture not in GRIDS:
        raise EncoderError(f"the picture tower {architecture!r} is not known; known: {', '.join(GRIDS)}")
    unknown = sorted(set(arguments) - {*_ARGUMENTS, *_IN_SHAPES})
    if unknown:
        raise EncoderError(f"the picture tower {architecture!r} is built with {', '.join(unknown)}, which is not supported")
