"""The towers: transformers' CLIPModel and ASTModel with a linear head, their first weights, and a fast way through them for training.

The way through is the library's own, operation by operation, but for three things that cost most of the time otherwise: attention as two
plain products (in bfloat16 some five times as fast on a CPU as the library's kernel at these lengths), matrices in bfloat16, where the
processor multiplies it, while sums, norms and losses stay in float32, and patches that are left out altogether.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders import hardware
from encoders.miniature.pictures import PIXELS
from encoders.miniature.synthesis import RATE
from encoders.miniature.training.material import BANDS, FRAMES, PATCH
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.tokens import LENGTH

SOUND_PATCH = 16
MEL_MEAN, MEL_STD = -3.2, 1.9
PICTURE_MEAN, PICTURE_STD = 0.5, 0.25
TIMES = (FRAMES - SOUND_PATCH) // SOUND_PATCH + 1
KEPT_AFTER = 3  # layers, after which the training-only heads look at patches


class Seen(NamedTuple):
    """What a tower makes of its inputs: vectors of unit length, the pooled state, and states of the patches after some layers."""

    vectors: Tensor
    pooled: Tensor
    patches: Tensor


class Miniature(nn.Module):
    """The three towers."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        from transformers import ASTConfig, ASTModel, CLIPConfig, CLIPModel

        super().__init__()
        self.heads = recipe.heads
        sizes: dict[str, Any] = {
            "hidden_size": recipe.width,
            "intermediate_size": recipe.hidden,
            "num_attention_heads": recipe.heads,
            "hidden_act": "gelu",
        }
        ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        words: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": LENGTH,
            "num_hidden_layers": recipe.text_layers,
            **ends,
        }
        look: dict[str, Any] = {"image_size": PIXELS, "patch_size": PATCH, "num_hidden_layers": recipe.layers}
        shared: dict[str, Any] = {"projection_dim": recipe.dimension}
        config = CLIPConfig(text_config={**sizes, **words, **shared}, vision_config={**sizes, **look, **shared}, **shared)
        self.clip: Any = CLIPModel(config)
        still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        stride: dict[str, Any] = {"patch_size": SOUND_PATCH, "frequency_stride": SOUND_PATCH, "time_stride": SOUND_PATCH}
        hears: dict[str, Any] = {"max_length": FRAMES, "num_mel_bins": BANDS, "num_hidden_layers": recipe.layers}
        self.ast: Any = ASTModel(ASTConfig(**sizes, **still, **stride, **hears))
        self.head = nn.Linear(recipe.width, recipe.dimension, bias=False)

    def texts(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and pooled states of int64 (n, at most 40) tokens."""
        tower = self.clip.text_model
        x = tower.embeddings.token_embedding(tokens) + tower.embeddings.position_embedding.weight[: tokens.shape[1]]
        mask = torch.full((tokens.shape[1],) * 2, -torch.inf, dtype=dtype()).triu(1)
        for layer in tower.encoder.layers:
            x = block(x, _clip_parts(layer), self.heads, mask)
        pooled = norm(x[torch.arange(len(x)), tokens.argmax(1)], tower.final_layer_norm)  # the end has the highest id
        return functional.normalize(self.clip.text_projection(pooled), dim=-1), pooled

    def pictures(self, pixels: Tensor, kept: Tensor | None = None) -> Seen:
        """Of normalised float32 (n, 3, 64, 64), looking only at the patches `kept` (n, k) if given."""
        tower = self.clip.vision_model
        embeddings = tower.embeddings
        side = PIXELS // PATCH
        patches = pixels.view(-1, 3, side, PATCH, side, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(len(pixels), side * side, -1)
        places = embeddings.position_embedding.weight
        x = linear(patches, embeddings.patch_embedding.weight.flatten(1)).float() + places[1:]
        x = torch.cat([(embeddings.class_embedding + places[0]).expand(len(x), 1, -1), _keep(x, kept)], 1)
        x, states = _through(norm(x, tower.pre_layrnorm), [_clip_parts(layer) for layer in tower.encoder.layers], self.heads)
        pooled = norm(x[:, 0], tower.post_layernorm)
        return Seen(functional.normalize(self.clip.visual_projection(pooled), dim=-1), pooled, states[:, 1:])

    def sounds(self, mel: Tensor, kept: Tensor | None = None) -> Seen:
        """Of normalised float32 (n, frames, bands)."""
        embeddings = self.ast.embeddings
        project = embeddings.patch_embeddings.projection
        p = SOUND_PATCH
        patches = mel[:, : TIMES * p].view(len(mel), TIMES, p, -1, p).permute(0, 3, 1, 4, 2).reshape(len(mel), -1, p * p)  # bands first
        places = embeddings.position_embeddings[0]
        x = linear(patches, project.weight.flatten(1), project.bias).float() + places[2:]
        ends = torch.cat([embeddings.cls_token, embeddings.distillation_token], 1) + places[:2]
        x = torch.cat([ends.expand(len(x), -1, -1), _keep(x, kept)], 1)
        x, states = _through(x, [_ast_parts(layer) for layer in self.ast.layers], self.heads)
        pooled = norm(x[:, :2], self.ast.layernorm).mean(1)
        return Seen(functional.normalize(self.head(pooled), dim=-1), pooled, states[:, 2:])

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by."""
        scale: Tensor = self.clip.logit_scale.exp()
        return scale

    def save(self, folder: Path, tokenizer: Any) -> None:
        """Two standard folders, clip/ and audio/, which transformers loads by itself."""
        from safetensors.torch import save_file
        from transformers import ASTFeatureExtractor, CLIPImageProcessor

        self.clip.save_pretrained(folder / "clip")
        self.ast.save_pretrained(folder / "audio")
        tokenizer.save_pretrained(folder / "clip")
        CLIPImageProcessor(
            do_resize=True,
            size={"shortest_edge": PIXELS},
            do_center_crop=True,
            crop_size={"height": PIXELS, "width": PIXELS},
            image_mean=[PICTURE_MEAN] * 3,
            image_std=[PICTURE_STD] * 3,
            do_convert_rgb=True,
        ).save_pretrained(folder / "clip")
        ASTFeatureExtractor(  # type: ignore[no-untyped-call]
            feature_size=1,
            num_mel_bins=BANDS,
            max_length=FRAMES,
            sampling_rate=RATE,
            mean=MEL_MEAN,
            std=MEL_STD,
            do_normalize=True,
            return_attention_mask=False,
        ).save_pretrained(folder / "audio")
        save_file({"weight": self.head.weight.detach().contiguous()}, folder / "audio" / "audio_head.safetensors")


@dataclass(frozen=True)
class Parts:
    """The layers of a block, whatever its model calls them."""

    before: Any
    attention: Any
    out: Any
    after: Any
    mlp: Any


def block(x: Tensor, parts: Parts, heads: int, mask: Tensor | None = None) -> Tensor:
    """One block with its norms first: float32 (n, t, width)."""
    n, t, width = x.shape
    a = parts.attention
    weight = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight])
    bias = torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias])
    wide = linear(norm(x, parts.before), weight, bias).view(n, t, 3, heads, width // heads)
    q, k, v = wide.permute(2, 0, 3, 1, 4).reshape(3, n * heads, t, width // heads)
    cosines = torch.bmm(q * (width // heads) ** -0.5, k.transpose(1, 2))
    shares = (cosines if mask is None else cosines + mask).softmax(-1)
    mixed = torch.bmm(shares, v).view(n, heads, t, -1).transpose(1, 2).reshape(n, t, width)
    x = x + linear(mixed, parts.out.weight, parts.out.bias)
    inner = functional.gelu(linear(norm(x, parts.after), parts.mlp.fc1.weight, parts.mlp.fc1.bias))
    return x + linear(inner, parts.mlp.fc2.weight, parts.mlp.fc2.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """In `dtype`."""
    return functional.linear(x.to(dtype()), weight.to(dtype()), None if bias is None else bias.to(dtype()))


@cache
def dtype() -> torch.dtype:
    """What matrices are multiplied in: bfloat16 where the processor has it, float32 where it would be emulated, several times slower."""
    return torch.bfloat16 if hardware.bfloat16_in_silicon() else torch.float32


def norm(x: Tensor, layer: Any) -> Tensor:
    """In float32."""
    return functional.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def normal_pictures(pictures: np.ndarray) -> Tensor:
    """uint8 (n, 64, 64, 3) as the picture tower wants it: float32 (n, 3, 64, 64)."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    return ((pixels / 255 - PICTURE_MEAN) / PICTURE_STD).contiguous()


def normal_sounds(mel: np.ndarray) -> Tensor:
    """Log-mel spectrograms as the sound tower wants them."""
    return (torch.from_numpy(np.ascontiguousarray(mel)).float() - MEL_MEAN) / (2 * MEL_STD)


@torch.no_grad()
def first_weights(model: Miniature, pictures: Tensor, mel: Tensor, seed: int) -> None:
    """Weights to start from: blocks by their fan-in, patch embeddings whitened principal components, places sines.

    Patches of one picture are much alike; on plain random filters the towers would at first see mean colours alone.
    """
    g = torch.Generator().manual_seed(seed)
    for tower, layers in ((model.clip.text_model, 3), (model.clip.vision_model, 4), (model.ast, 4)):
        for name, layer in tower.named_modules():
            if isinstance(layer, nn.Linear):
                ends_branch = name.endswith(("out_proj", "fc2", "o_proj"))
                layer.weight.normal_(std=0.06 / math.sqrt(2 * layers) if ends_branch else layer.in_features**-0.5, generator=g)
                layer.bias.zero_()
    words, look, hear = model.clip.text_model.embeddings, model.clip.vision_model.embeddings, model.ast.embeddings
    words.token_embedding.weight.normal_(std=0.3, generator=g)
    words.position_embedding.weight.normal_(std=0.1, generator=g)
    width = len(look.class_embedding)
    for layer in (model.clip.text_projection, model.clip.visual_projection, model.head):
        layer.weight.normal_(std=width**-0.5, generator=g)
    side = PIXELS // PATCH
    patches = pictures.view(-1, 3, side, PATCH, side, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3 * PATCH * PATCH)
    filters, middle = _whitened(patches[::7], width)
    look.patch_embedding.weight.copy_(filters.view_as(look.patch_embedding.weight))
    look.class_embedding.normal_(std=0.5, generator=g)
    look.position_embedding.weight[1:] = _sines(side, side, width) - filters @ middle
    look.position_embedding.weight[0] = 0
    p = SOUND_PATCH
    cut = mel[:, : TIMES * p].view(len(mel), TIMES, p, -1, p).permute(0, 3, 1, 4, 2).reshape(-1, p * p)
    filters, middle = _whitened(cut[::5], width)
    project = hear.patch_embeddings.projection
    project.weight.copy_(filters.view_as(project.weight))
    project.bias.copy_(-filters @ middle)
    hear.position_embeddings[0, 2:] = _sines(BANDS // p, TIMES, width)
    hear.position_embeddings[0, :2].normal_(std=0.5, generator=g)
    for token in (hear.cls_token, hear.distillation_token):
        token.normal_(std=0.02, generator=g)
    model.clip.logit_scale.fill_(math.log(1 / 0.07))


def _keep(x: Tensor, kept: Tensor | None) -> Tensor:
    return x if kept is None else x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))


def _through(x: Tensor, layers: list[Parts], heads: int) -> tuple[Tensor, Tensor]:
    for number, parts in enumerate(layers, 1):
        x = block(x, parts, heads)
        if number == KEPT_AFTER:
            states = x
    return x, states


def _clip_parts(layer: Any) -> Parts:
    return Parts(layer.layer_norm1, layer.self_attn, layer.self_attn.out_proj, layer.layer_norm2, layer.mlp)


def _ast_parts(layer: Any) -> Parts:
    return Parts(layer.layernorm_before, layer.attention, layer.attention.o_proj, layer.layernorm_after, layer.mlp)


def _whitened(patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Principal components (count, size) of the patches, each scaled by (variance + 0.02) to the power -0.35, and the patches' mean."""
    values = patches.numpy().astype(np.float64)
    spread, vectors = np.linalg.eigh(np.cov((values - values.mean(0)).T))
    largest = np.argsort(-spread)[:count]
    filters = vectors[:, largest].T * (spread[largest].clip(0) + 0.02)[:, None] ** -0.35
    filters /= (values @ filters.T).std()
    return torch.tensor(filters, dtype=torch.float32), torch.tensor(values.mean(0), dtype=torch.float32)


def _sines(height: int, width: int, size: int) -> Tensor:
    """Places in two dimensions as sines and cosines: (height * width, size)."""
    rates = 1 / 50 ** (np.arange(size // 4) / (size // 4))
    places = [place.reshape(-1, 1) * rates for place in np.mgrid[:height, :width]]
    return torch.tensor(np.concatenate([f(place) for place in places for f in (np.sin, np.cos)], 1), dtype=torch.float32)
