"""VGG and ResNet written down from their papers, layer after layer, by torchvision's names: what our own modules are held against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiny_pictures
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F  # noqa: N812 - as everyone calls it


def timm_pixels(media: list[np.ndarray], edge: int) -> torch.Tensor:
    """timm's evaluation transform: shorter edge to edge / 0.875, bilinear, the square in the middle, ImageNet's mean and deviation."""
    shorter, squares = int(edge / 0.875), []
    for picture in media:
        height, width = picture.shape[:2]
        tall, wide = shorter * height // min(height, width), shorter * width // min(height, width)
        resized = np.array(Image.fromarray(picture).resize((wide, tall), Image.Resampling.BILINEAR))
        top, left = (tall - edge) // 2, (wide - edge) // 2
        squares.append(resized[top : top + edge, left : left + edge])
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(tiny_pictures.IMAGENET[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (pixels - mean) / std


def naive_vgg(depth: int, pooling: str, timm: bool = False, edge: int = 64) -> Callable[[Path, list[np.ndarray]], torch.Tensor]:
    """VGG written down from table 1 of the paper: blocks of convolutions, each block ended by a pooling, then fully connected layers."""

    def reference(folder: Path, media: list[np.ndarray]) -> torch.Tensor:
        state = load_file(folder / "model.safetensors")
        x, number = timm_pixels(media, edge), 0
        for count in tiny_pictures.VGG_TABLE[depth]:
            for _ in range(count):
                x = F.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1)
                if f"features.{number + 1}.running_mean" in state:
                    x, number = naive_normalisation(state, f"features.{number + 1}", x), number + 1
                x, number = F.relu(x), number + 2
            x, number = F.max_pool2d(x, 2), number + 1
        if pooling == "mean":
            return x.mean((2, 3))
        x = F.adaptive_avg_pool2d(x, 7)
        if timm:  # convolutions over the whole grid, as timm computes them
            x = F.relu(F.conv2d(x, state["pre_logits.fc1.weight"], state["pre_logits.fc1.bias"]))
            return F.relu(F.conv2d(x, state["pre_logits.fc2.weight"], state["pre_logits.fc2.bias"])).flatten(1)
        x = F.relu(x.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"])
        return F.relu(x @ state["classifier.3.weight"].T + state["classifier.3.bias"])

    return reference


def naive_resnet(folder: Path, media: list[np.ndarray]) -> torch.Tensor:
    """ResNet v1.5 by torchvision's names: stem, four stages of blocks, each with its shortcut, global average pooling."""
    state = load_file(folder / "model.safetensors")
    x = F.relu(naive_normalisation(state, "bn1", F.conv2d(timm_pixels(media, 64), state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, depth in enumerate(tiny_pictures.STAGES["depths"], start=1):
        for block in range(depth):
            x = naive_block(state, f"layer{stage}.{block}", x, 2 if stage > 1 and block == 0 else 1)
    return x.mean((2, 3))


def naive_block(state: dict[str, torch.Tensor], name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
    bottleneck = f"{name}.conv3.weight" in state
    y = x
    for number in (1, 2, 3) if bottleneck else (1, 2):
        weight = state[f"{name}.conv{number}.weight"]
        step = stride if number == (2 if bottleneck else 1) else 1
        y = naive_normalisation(state, f"{name}.bn{number}", F.conv2d(y, weight, stride=step, padding=weight.shape[2] // 2))
        y = y if number == (3 if bottleneck else 2) else F.relu(y)
    if f"{name}.downsample.0.weight" in state:
        x = naive_normalisation(state, f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride))
    return F.relu(x + y)


def naive_normalisation(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    weight, bias, mean, var = (state[f"{name}.{part}"].view(-1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var"))
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias
