"""Tiny checkpoints of the families of pictures: milliseconds and kilobytes each, with vectors that differ clearly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import save_file
from tiny_checkpoints import CLIP_WIDE, LESS_WIDE, SMALL

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
# Convolutions of each depth between its five poolings, from table 1 of the paper, at an eighth or so of the widths.
VGG_TABLE = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (6, 8, 10, 12, 12)


def resnet(folder: Path, layer_type: str = "bottleneck", **processor: Any) -> Path:
    """ResNet: the shorter edge resized to 73 (64 / 0.875), cropped to 64."""
    config = hf.ResNetConfig(embedding_size=8, layer_type=layer_type, **STAGES)
    _save(hf.ResNetModel, config, folder)
    size = {"size": {"shortest_edge": 64}, "resample": 3, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}
    hf.models.convnext.ConvNextImageProcessorPil(**{**size, **processor}).save_pretrained(folder)
    return folder


def torchvision_resnet(folder: Path, layer_type: str = "bottleneck") -> Path:
    """The same network under torchvision's names, with timm's config.json, as timm/resnet50.tv_in1k has it."""
    torch.manual_seed(0)
    blocks = {"bottleneck": ((1, 3, 1), 4), "basic": ((3, 3), 1)}
    kernels, reduction = blocks[layer_type]
    state = _convolution("conv1", 3, 8, 7) | _normalisation("bn1", 8)
    before = 8
    for stage, (width, depth) in enumerate(zip(STAGES["hidden_sizes"], STAGES["depths"], strict=True), start=1):
        for block in range(depth):
            name, widths = f"layer{stage}.{block}", [before, *[width // reduction] * (len(kernels) - 1), width]
            for number, kernel in enumerate(kernels, start=1):
                state |= _convolution(f"{name}.conv{number}", widths[number - 1], widths[number], kernel)
                state |= _normalisation(f"{name}.bn{number}", widths[number])
            if block == 0 and (before != width or stage > 1):
                state |= _convolution(f"{name}.downsample.0", before, width, 1) | _normalisation(f"{name}.downsample.1", width)
            before = width
    state |= {"fc.weight": torch.randn(5, before), "fc.bias": torch.randn(5)}
    return _timm(folder, state, "resnet50", 64)


def convnext(folder: Path, **processor: Any) -> Path:
    """ConvNeXt, scaled as for 48 pixels: the shorter edge resized to 54."""
    _save(hf.ConvNextModel, hf.ConvNextConfig(**STAGES, layer_scale_init_value=0.5, initializer_range=0.3), folder)
    size = {"size": {"shortest_edge": 48}, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}
    hf.models.convnext.ConvNextImageProcessorPil(**{**size, **processor}).save_pretrained(folder)
    return folder


def dinov3_convnext(folder: Path) -> Path:
    """DINOv3 ConvNeXt, stretched to 64 pixels."""
    _save(hf.DINOv3ConvNextModel, hf.DINOv3ConvNextConfig(**STAGES, layer_scale_init_value=0.5, initializer_range=0.3), folder)
    return _dinov3_processor(folder, 64)


def dinov3_vit(folder: Path) -> Path:
    """DINOv3 ViT: rotary positions, four registers, stretched to 64 pixels for a model that was configured for 32."""
    wide = {"initializer_range": LESS_WIDE["initializer_range"], "layerscale_value": 0.3}
    _save(hf.DINOv3ViTModel, hf.DINOv3ViTConfig(**SMALL, **wide, image_size=32, patch_size=8, num_register_tokens=4), folder)
    return _dinov3_processor(folder, 64)


def vgg(folder: Path, depth: int = 11, normalised: bool = False, timm: bool = False) -> Path:
    """VGG with torchvision's names, or timm's for the fully connected layers: pictures of 64 pixels, 20 numbers after fc7."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    number, before = 0, 3
    for width, count in zip(VGG_WIDTHS, VGG_TABLE[depth], strict=True):
        for _ in range(count):
            state |= _convolution(f"features.{number}", before, width, 3, bias=True)
            if normalised:
                state |= _normalisation(f"features.{number + 1}", width)
            number, before = number + 2 + normalised, width
        number += 1  # the pooling
    names = ("pre_logits.fc1", "pre_logits.fc2", "head.fc") if timm else ("classifier.0", "classifier.3", "classifier.6")
    for name, rows, columns in zip(names, (24, 20, 5), (before * 49, 24, 20), strict=True):
        state |= {f"{name}.weight": torch.randn(rows, columns) / columns**0.5, f"{name}.bias": torch.randn(rows) / 20}
    if timm:
        state["pre_logits.fc1.weight"] = state["pre_logits.fc1.weight"].reshape(24, before, 7, 7)
        state["pre_logits.fc2.weight"] = state["pre_logits.fc2.weight"].reshape(20, 24, 1, 1)
    return _timm(folder, state, f"vgg{depth}{'_bn' if normalised else ''}", 64)


def naflex(folder: Path) -> Path:
    """SigLIP 2 NaFlex: at most 20 patches of 8 pixels, positions for 4 x 4 of them; Gemma's tokenizer, as on the hub."""
    config = hf.Siglip2Config(
        text_config={**SMALL, "max_position_embeddings": 24, "vocab_size": 400, "projection_size": 32},
        vision_config={**SMALL, "num_patches": 16, "patch_size": 8},
    )
    _save(hf.Siglip2Model, config, folder)
    colours = {"image_mean": [0.5, 0.45, 0.4], "image_std": [0.5, 0.4, 0.3]}  # unlike one another, which the real ones are not
    hf.models.siglip2.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20, **colours).save_pretrained(folder)
    return _gemma_tokenizer(folder)


def siglip2(folder: Path) -> Path:
    """SigLIP 2 of fixed size: the network of SigLIP with Gemma's tokenizer."""
    config = hf.SiglipConfig(
        text_config={**SMALL, "max_position_embeddings": 24, "vocab_size": 400, "projection_size": 32},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
    )
    _save(hf.SiglipModel, config, folder)
    hf.models.siglip.SiglipImageProcessorPil(size={"height": 32, "width": 32}, resample=2).save_pretrained(folder)
    return _gemma_tokenizer(folder)


def chinese_clip(folder: Path) -> Path:
    """Chinese-CLIP with WordPiece over single characters, as its vocab.txt has them; pictures are stretched to 32 pixels."""
    words = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?", *"一只红狗小猫在海边雨中唱歌杰尼龟妙蛙种子皮卡丘火龙"]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{word}" for word in words)])
    config = hf.ChineseCLIPConfig(
        text_config={**SMALL, "initializer_range": 0.4, "max_position_embeddings": 40, "vocab_size": len(vocabulary)},
        vision_config={**SMALL, **CLIP_WIDE, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    _save(hf.ChineseCLIPModel, config, folder)
    size = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": False}
    hf.models.chinese_clip.ChineseCLIPImageProcessorPil(**size).save_pretrained(folder)
    hf.BertTokenizer(vocab={word: number for number, word in enumerate(vocabulary)}).save_pretrained(folder)
    return folder


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "resnet": lambda folder: {"weights": str(resnet(folder))},
    "convnext": lambda folder: {"weights": str(convnext(folder))},
    "vgg": lambda folder: {"weights": str(vgg(folder))},
    "siglip2-naflex": lambda folder: {"weights": str(naflex(folder))},
}


def _save(model: type[hf.PreTrainedModel], config: hf.PretrainedConfig, folder: Path) -> None:
    torch.manual_seed(0)
    made = model(config).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # of a network that has seen pictures, not of a new one
            for values, centre in ((module.weight, 1.0), (module.bias, 0.0), (module.running_mean, 0.0), (module.running_var, 1.0)):
                values.data = centre + 0.3 * (torch.rand_like(values) - 0.5)
    made.save_pretrained(folder)


def _convolution(name: str, inputs: int, outputs: int, kernel: int, bias: bool = False) -> dict[str, torch.Tensor]:
    weight = torch.randn(outputs, inputs, kernel, kernel) * (2 / (inputs * kernel * kernel)) ** 0.5
    return {f"{name}.weight": weight} | ({f"{name}.bias": torch.randn(outputs) / 20} if bias else {})


def _normalisation(name: str, width: int) -> dict[str, torch.Tensor]:
    centres = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    spread = {f"{name}.{part}": centre + 0.3 * (torch.rand(width) - 0.5) for part, centre in centres.items()}
    return spread | {f"{name}.num_batches_tracked": torch.tensor(7)}


def _timm(folder: Path, state: dict[str, torch.Tensor], architecture: str, edge: int) -> Path:
    """Weights with torchvision's names beside timm's config.json, whose fields are those of timm/vgg13.tv_in1k."""
    prepared = {"input_size": [3, edge, edge], "interpolation": "bilinear", "crop_pct": 0.875, "crop_mode": "center", **IMAGENET}
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, "num_classes": 5, "pretrained_cfg": prepared}))
    save_file(state, folder / "model.safetensors")
    return folder


def _dinov3_processor(folder: Path, edge: int) -> Path:
    """Written by hand: transformers' class needs torchvision. The fields are those of its own `to_dict`, nulls included."""
    settings = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": edge, "width": edge}, "resample": 2}
    unused = dict.fromkeys(("crop_size", "do_center_crop", "device", "input_data_format"))
    colours = {"do_normalize": True, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}
    steps = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | unused | colours | steps))
    return folder


def _gemma_tokenizer(folder: Path, words: Sequence[str] = ("▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) -> Path:
    """Letters and bytes; like the checkpoints of the hub it calls itself GemmaTokenizer, which does not lower the case."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    tokenizer = hf.GemmaTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[], model_max_length=24)
    tokenizer.padding_side = "right"
    tokenizer.add_bos_token, tokenizer.add_eos_token = False, True
    tokenizer.update_post_processor()
    tokenizer.save_pretrained(folder)
    return folder
