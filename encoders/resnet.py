"""ResNets from both kinds of checkpoint: those of transformers, and those with torchvision's names, which are given transformers' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.pretrained import read_model, setting
from encoders.timm import shapes, tensors
from encoders.weights import read_json

if TYPE_CHECKING:
    from torch.nn import Module

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")
_KINDS = {"conv": "convolution", "bn": "normalization"}


def resnet_dimension(folder: Path) -> int:
    """Channels of the last feature map; EncoderError for anything but a ResNet."""
    kind = read_json(folder, "config.json").get("model_type")
    if kind == "resnet":
        return int(setting(folder, "hidden_sizes")[-1])
    if kind is not None:
        raise EncoderError(f"{folder} holds {kind}, no ResNet; try the encoders convnext, vit or clip-image")
    return int(_configuration(folder)["hidden_sizes"][-1])


def read_resnet(folder: Path) -> Module:
    """The network without its classifier, in float32 on the CPU."""
    if "model_type" in read_json(folder, "config.json"):
        model: Module = read_model(folder)
        return model
    return _read_torchvision(folder)


def _read_torchvision(folder: Path) -> Module:
    """transformers' ResNetModel with torchvision's weights.

    torchvision halves the picture in the second convolution of a bottleneck ("ResNet v1.5"), which is what transformers does by default.
    """
    from transformers import ResNetConfig, ResNetModel

    model: Any = ResNetModel(ResNetConfig(**_configuration(folder)))
    named = {_renamed(name): tensor for name, tensor in tensors(folder).items() if not name.startswith("fc.")}
    try:
        report = model.load_state_dict(named, strict=False)
    except RuntimeError as problem:  # tensors of other shapes, as in ResNeXt and wide ResNets
        raise EncoderError(f"{folder} is a variant of ResNet that is not known: {problem}") from problem
    wrong = [name for name in report.missing_keys if not name.endswith("num_batches_tracked")] + report.unexpected_keys
    if wrong:
        raise EncoderError(f"{folder} is a variant of ResNet that is not known; it lacks or has beside: {', '.join(wrong[:5])}")
    network: Module = model.eval().requires_grad_(False)
    return network


def _renamed(name: str) -> str:
    """transformers' name of a tensor with torchvision's name; a name that is neither's stays as it is."""
    stem = re.fullmatch(r"(conv|bn)1\.(\w+)", name)
    if stem:
        return f"embedder.embedder.{_KINDS[stem[1]]}.{stem[2]}"
    block = _BLOCK.fullmatch(name)
    if not block:
        return name
    stage, layer, kind, number, last = int(block[1]) - 1, block[2], block[3], int(block[4]), block[5]
    if kind == "downsample.":
        return f"encoder.stages.{stage}.layers.{layer}.shortcut.{('convolution', 'normalization')[number]}.{last}"
    return f"encoder.stages.{stage}.layers.{layer}.layer.{number - 1}.{_KINDS[kind]}.{last}"


def _configuration(folder: Path) -> dict[str, Any]:
    """Depths and widths of a ResNet, read off the shapes of its tensors by torchvision's names."""
    found = shapes(folder)
    last = "conv3" if "layer1.0.conv3.weight" in found else "conv2"
    depths = [sum(f"layer{stage}.{block}.conv1.weight" in found for block in range(len(found))) for stage in range(1, 5)]
    if "conv1.weight" not in found or 0 in depths:
        raise EncoderError(f"{folder} holds no ResNet: no weights are called conv1.weight, layer1.0.conv1.weight … layer4.0.conv1.weight")
    return {
        "layer_type": "bottleneck" if last == "conv3" else "basic",
        "embedding_size": found["conv1.weight"][0],
        "depths": depths,
        "hidden_sizes": [found[f"layer{stage}.0.{last}.weight"][0] for stage in range(1, 5)],
    }
