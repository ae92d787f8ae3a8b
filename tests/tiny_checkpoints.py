"""Tiny checkpoints of every family, made from configurations: a few milliseconds and kilobytes each, with vectors that differ clearly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WIDE = {"initializer_range": 0.4}  # at the usual 0.02 all inputs would give nearly the same vector, and any comparison would pass
LESS_WIDE = {"initializer_range": 0.2, "layerscale_value": 0.3}
PICTURE = {"image_size": 32, "patch_size": 8}
CLIP_WIDE = {"initializer_factor": 8.0}


def clip(folder: Path, **processor: Any) -> Path:
    """CLIP: projected to 16 numbers, pictures of 32 pixels, texts of 24 tokens."""
    config = hf.CLIPConfig(
        text_config={**SMALL, **CLIP_WIDE, "max_position_embeddings": 24, "vocab_size": 300, "eos_token_id": 258, "pad_token_id": 0},
        vision_config={**SMALL, **CLIP_WIDE, **PICTURE},
        projection_dim=16,
    )
    _save(hf.CLIPModel, config, folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    hf.models.clip.CLIPImageProcessorPil(**{**size, **processor}).save_pretrained(folder)
    return _byte_tokenizer(folder, context=24)


def chinese_clip(folder: Path) -> Path:
    """Chinese-CLIP: its text half is a BERT."""
    config = hf.ChineseCLIPConfig(
        text_config={**SMALL, **WIDE, "max_position_embeddings": 24, "vocab_size": 300},
        vision_config={**SMALL, "initializer_factor": 3.0, **PICTURE},
        projection_dim=16,
    )
    _save(hf.ChineseCLIPModel, config, folder)
    size = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": False}
    hf.models.chinese_clip.ChineseCLIPImageProcessorPil(**size).save_pretrained(folder)
    return _byte_tokenizer(folder, context=24)


def siglip(folder: Path) -> Path:
    """SigLIP: texts are padded to the context without a mask; the patch of 8 does not divide the picture of 36."""
    config = hf.SiglipConfig(
        text_config={**SMALL, "max_position_embeddings": 24, "vocab_size": 300, "projection_size": 32},
        vision_config={**SMALL, "image_size": 36, "patch_size": 8},
    )
    _save(hf.SiglipModel, config, folder)
    hf.models.siglip.SiglipImageProcessorPil(size={"height": 36, "width": 36}).save_pretrained(folder)
    return _byte_tokenizer(folder, context=24, pad=1)


def vit(folder: Path) -> Path:
    """ViT: stretched to 32 pixels, bilinear."""
    _save(hf.ViTModel, hf.ViTConfig(**SMALL, initializer_range=0.2, **PICTURE), folder)
    hf.models.vit.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def deit(folder: Path) -> Path:
    """DeiT: stretched to 40, cropped to 32; a class and a distillation token."""
    _save(hf.DeiTModel, hf.DeiTConfig(**SMALL, **WIDE, **PICTURE), folder)
    hf.models.deit.DeiTImageProcessorPil(size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """DINOv2: trained on pictures of 70 pixels, fed with 56, the shorter edge first resized to 64."""
    _save(hf.Dinov2Model, hf.Dinov2Config(**SMALL, **LESS_WIDE, image_size=70, patch_size=14), folder)
    hf.models.bit.BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}).save_pretrained(folder)
    return folder


def dinov2_with_registers(folder: Path) -> Path:
    """DINOv2 with four registers between the class token and the patches."""
    _save(hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig(**SMALL, **LESS_WIDE, image_size=56, patch_size=14), folder)
    hf.models.bit.BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}).save_pretrained(folder)
    return folder


def bert(folder: Path, pooling: str = "") -> Path:
    """BERT with 40 positions, of which sentence-transformers uses 32; its tokenizer.json cuts and pads, as theirs do."""
    config = hf.BertConfig(**SMALL, **WIDE, max_position_embeddings=40, vocab_size=300)
    _save(hf.BertModel, config, folder)
    _byte_tokenizer(folder, context=512)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    if pooling:
        modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder


def roberta(folder: Path) -> Path:
    """RoBERTa: its 42 positions begin after the padding token's, so that it reads 40 tokens."""
    _save(hf.RobertaModel, hf.RobertaConfig(**SMALL, **WIDE, max_position_embeddings=42, vocab_size=300, pad_token_id=1), folder)
    return _byte_tokenizer(folder, context=512, pad=1)


def ast(folder: Path, head: bool = True) -> Path:
    """AST with 32 bands and 64 frames, whose patches of 16 overlap; with a linear head to 24 numbers."""
    strides = {"frequency_stride": 10, "time_stride": 10}
    _save(hf.ASTModel, hf.ASTConfig(**SMALL, **WIDE, num_mel_bins=32, max_length=64, patch_size=16, **strides), folder)
    hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-3.0, std=2.0).save_pretrained(folder)
    if head:
        save_file({"weight": torch.randn(24, 32), "bias": torch.randn(24)}, folder / "audio_head.safetensors")
    return folder


def _save(model: type[hf.PreTrainedModel], config: hf.PretrainedConfig, folder: Path) -> None:
    torch.manual_seed(0)
    model(config).eval().save_pretrained(folder)


def _byte_tokenizer(folder: Path, context: int, pad: int = 0) -> Path:
    """One token per byte, between a token that begins and one that ends a text."""
    specials = {"[PAD]": pad, "[BOS]": 1 - pad, "[UNK]": 257, "[EOS]": 258}
    vocabulary = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet())[:254], start=2)}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, **specials}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", specials["[BOS]"]), ("[EOS]", specials["[EOS]"])]
    )
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=context)
    fast.save_pretrained(folder)
    return folder
