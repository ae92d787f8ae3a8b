"""Vectors of media without any of the encoders' code: by transformers' own processors and models, or layer after layer from the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from naive_pictures import naive_vgg
from PIL import Image
from safetensors.torch import load_file
from test_sound_encoders import clap_sounds, clap_texts, masked, one_by_one, whisper
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches


def _pictures(folder: Path, some: list[Any]) -> Any:
    """Inputs from the processor that works with Pillow, whichever others are installed."""
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor([Image.fromarray(picture) for picture in some], return_tensors="pt")


def clip_image(folder: Path, some: list[Any]) -> torch.Tensor:
    """Projected features."""
    return hf.AutoModel.from_pretrained(folder).get_image_features(**_pictures(folder, some)).pooler_output


def naflex(folder: Path, some: list[Any]) -> torch.Tensor:
    """Projected features of pictures that Pillow has scaled in two steps, width first, as every Pillow before 13 does in one.

    What is already as large as its patches, the processor leaves as it is.
    """
    how = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    scaled = []
    for picture in some:
        height, width = get_image_size_for_max_num_patches(*picture.shape[:2], how.patch_size, how.max_num_patches)
        wide = Image.fromarray(picture).resize((width, picture.shape[0]), Image.Resampling.BILINEAR)
        scaled.append(np.array(wide.resize((width, height), Image.Resampling.BILINEAR)))
    return clip_image(folder, scaled)


def clip_text(folder: Path, some: list[Any]) -> torch.Tensor:
    """Projected features."""
    inputs = hf.AutoTokenizer.from_pretrained(folder)(some, padding=True, return_tensors="pt")
    return hf.AutoModel.from_pretrained(folder).get_text_features(**inputs).pooler_output


def vit(folder: Path, some: list[Any]) -> torch.Tensor:
    """The class token."""
    return hf.AutoModel.from_pretrained(folder)(**_pictures(folder, some)).last_hidden_state[:, 0]


def resnet(folder: Path, some: list[Any]) -> torch.Tensor:
    """The averaged feature map."""
    return hf.AutoModel.from_pretrained(folder)(**_pictures(folder, some)).pooler_output.flatten(1)


def convnext(folder: Path, some: list[Any]) -> torch.Tensor:
    """The averaged and normalised feature map."""
    return hf.AutoModel.from_pretrained(folder)(**_pictures(folder, some)).pooler_output


def bert(folder: Path, some: list[Any]) -> torch.Tensor:
    """The mean over the tokens of one text at a time."""
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    inputs = [tokenizer(text, truncation=False, padding=False, return_tensors="pt") for text in some]
    return torch.stack([model(**one).last_hidden_state[0].mean(0) for one in inputs])


def ast(folder: Path, some: list[Any]) -> torch.Tensor:
    """The mean of class and distillation token, through the head."""
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    longest = max(map(len, some))
    inputs = extractor([np.pad(sound, (0, longest - len(sound))) for sound in some], sampling_rate=16000, return_tensors="pt")
    head = load_file(folder / "audio_head.safetensors")
    return torch.nn.functional.linear(model(**inputs).pooler_output, head["weight"], head["bias"])


def pe_av_text(folder: Path, some: list[Any]) -> torch.Tensor:
    """Texts as matched with sounds and pictures at once."""
    inputs = hf.AutoTokenizer.from_pretrained(folder)(some, padding=True, return_tensors="pt")
    return _pe_av(folder).get_text_audio_video_embeds(inputs["input_ids"], inputs["attention_mask"])


def pe_av_audio(folder: Path, some: list[Any]) -> torch.Tensor:
    """One sound at a time: in a batch, the padding after a shorter one is heard."""
    extractor, model = hf.PeAudioFeatureExtractor.from_pretrained(folder), _pe_av(folder)
    inputs = [extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt") for sound in some]
    return torch.cat([model.get_audio_embeds(one["input_values"], one["padding_mask"]) for one in inputs])


def pe_av_video(folder: Path, some: list[Any]) -> torch.Tensor:
    """Clips, and pictures as clips of one frame; the whole model's own get_video_embeds calls what is not there (transformers 5.23)."""
    processor, model = hf.AutoVideoProcessor.from_pretrained(folder), _pe_av(folder).video_model
    clips = [torch.from_numpy(one if one.ndim == 4 else one[None]).permute(0, 3, 1, 2) for one in some]
    inputs = [processor(clip, do_sample_frames=False, return_tensors="pt")["pixel_values_videos"] for clip in clips]
    return torch.cat([model.video_head(model.video_encoder(pixels).pooler_output) for pixels in inputs])


def _pe_av(folder: Path) -> Any:
    """The whole model, for which transformers needs timm and torchvision beside it; parts that are not asked for keep random weights."""
    model = hf.PeAudioVideoModel(hf.PeAudioVideoConfig.from_pretrained(folder)).eval()
    unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"transformers has no place for {unexpected}")
    return model


REFERENCES: dict[str, Callable[[Path, list[Any]], torch.Tensor]] = {
    "clip-image": clip_image,
    "clip-text": clip_text,
    "vit": vit,
    "resnet": resnet,
    "convnext": convnext,
    "vgg": naive_vgg(11, "fc7"),  # transformers has none
    "siglip2-naflex": naflex,
    "bert": bert,
    "ast": ast,
    "clap-audio": clap_sounds,
    "clap-text": clap_texts,
    "wav2vec2": masked,
    "hubert": one_by_one,
    "wavlm": one_by_one,
    "whisper": whisper,
    "pe-av-text": pe_av_text,
    "pe-av-audio": pe_av_audio,
    "pe-av-video": pe_av_video,
    "pe-av-image": pe_av_video,
}
