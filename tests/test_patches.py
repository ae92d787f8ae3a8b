"""Pictures become the squares and patches that the models' own processors and convolutions would make of them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from nasty_media import noise, smooth
from PIL import Image
from transformers import CLIPImageProcessorPil, DeiTImageProcessorPil, SiglipImageProcessorPil, ViTImageProcessorPil

from encoders.patches import RESAMPLES, patch_grid, patchify, resize_and_crop, resize_to_patches, unpatchify

SIZES = [(375, 500), (500, 375), (64, 64), (63, 65), (1, 1), (2, 3), (31, 400), (400, 33), (1000, 777), (17, 19)]


def photo(height: int, width: int) -> np.ndarray:
    """Coarse shapes with fine noise on them, uint8 (height, width, 3)."""
    grain = np.random.default_rng(height + width).normal(0, 20, (height, width, 3))
    return np.clip(smooth(height, width) + grain, 0, 255).astype(np.uint8)


def processed(processor, picture: np.ndarray) -> np.ndarray:
    """A processor's picture before scaling and normalising, uint8 (size, size, 3)."""
    pixels = processor(picture, do_rescale=False, do_normalize=False, return_tensors="np", input_data_format="channels_last")
    return pixels["pixel_values"][0].transpose(1, 2, 0)


def assert_equal_to_one(found: np.ndarray, expected: np.ndarray) -> None:
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert difference.max() <= 1 and (difference > 0).mean() < 0.005


def assert_equal_to_two(found: np.ndarray, expected: np.ndarray) -> None:
    """As near as transformers' two kinds of processors, Pillow's and torch's, are to each other."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert difference.max() <= 2 and difference.mean() < 0.08


def assert_as_processed(processor, picture: np.ndarray, found: np.ndarray) -> None:
    """Equal to a processor, but where Pillow 13 scales columns first: there the two round differently in between."""
    expected, (height, width) = processed(processor, picture), picture.shape[:2]
    if height > width:
        difference = np.abs(found.astype(int) - expected.astype(int))
        assert difference.max() <= 6 and difference.mean() < 0.4
    else:
        assert_equal_to_two(found, expected)


def scaled_whole(picture: np.ndarray, tall: int, wide: int, resample: str = "bicubic") -> np.ndarray:
    """The whole picture scaled, rows before columns."""
    image = Image.fromarray(picture).resize((wide, picture.shape[0]), RESAMPLES[resample])
    return np.array(image.resize((wide, tall), RESAMPLES[resample]))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("size", "edge"), [(64, 64), (224, 224), (224, 256), (64, 101)])
def test_crop_equals_the_middle_of_the_whole_picture_scaled(shape, size, edge):
    height, width = shape
    tall, wide = edge * height // min(shape), edge * width // min(shape)
    top, left = (tall - size) // 2, (wide - size) // 2
    expected = scaled_whole(photo(height, width), tall, wide)[top : top + size, left : left + size]
    assert_equal_to_two(resize_and_crop(photo(*shape), size, edge=edge), expected)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("size", "edge"), [(64, 64), (224, 224), (224, 256)])
def test_crop_equals_the_processor_of_clip(shape, size, edge):
    processor = CLIPImageProcessorPil(size={"shortest_edge": edge}, crop_size={"height": size, "width": size})
    assert_as_processed(processor, photo(*shape), resize_and_crop(photo(*shape), size, edge=edge))


@pytest.mark.parametrize("shape", SIZES)
def test_stretch_equals_the_processors_of_vit_siglip_and_deit(shape):
    picture = photo(*shape)
    assert_as_processed(ViTImageProcessorPil(), picture, resize_and_crop(picture, 224, "bilinear", "stretch"))
    assert_as_processed(SiglipImageProcessorPil(), picture, resize_and_crop(picture, 224, "bicubic", "stretch"))
    assert_as_processed(DeiTImageProcessorPil(), picture, resize_and_crop(picture, 224, "bicubic", "stretch", edge=256))


@pytest.mark.parametrize("resample", RESAMPLES)
def test_every_filter_equals_pillow_resizing_the_whole_and_cropping(resample):
    assert_equal = assert_equal_to_one if resample in ("nearest", "box", "hamming") else assert_equal_to_two
    picture = photo(90, 200)
    assert_equal(resize_and_crop(picture, 64, resample), scaled_whole(picture, 64, 142, resample)[:, 39:103])
    upright = np.ascontiguousarray(picture.transpose(1, 0, 2))
    assert_equal(resize_and_crop(upright, 64, resample), scaled_whole(upright, 142, 64, resample)[39:103])


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (2, 3_000_000)])
def test_a_very_long_picture_costs_next_to_nothing(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    begin = time.process_time()
    assert resize_and_crop(picture, 224).shape == (224, 224, 3)
    assert time.process_time() - begin < 1.0, "resized whole it would have 22 million pixels and more a row"


def test_a_picture_of_the_right_size_is_left_as_it_is():
    np.testing.assert_array_equal(resize_and_crop(noise(64, 64), 64), noise(64, 64))
    np.testing.assert_array_equal(resize_and_crop(noise(64, 100), 64), noise(64, 100)[:, 18:82])


@pytest.mark.parametrize(
    ("picture", "options", "words"),
    [
        (noise(4, 4)[..., 0], {}, r"\(height, width, 3\).*\(4, 4\)"),
        (noise(4, 4).astype(np.float32), {}, "float32"),
        (noise(4, 4)[:0], {}, r"\(0, 4, 3\)"),
        (noise(4, 4), {"resample": "cubic"}, "bicubic.*'cubic'"),
        (noise(4, 4), {"fit": "pad"}, "stretch.*'pad'"),
        (noise(4, 4), {"edge": 32}, "64 pixels.*edge of 32"),
    ],
)
def test_what_cannot_be_resized_is_refused_in_words(picture, options, words):
    with pytest.raises(ValueError, match=words):
        resize_and_crop(picture, 64, **options)


@pytest.mark.parametrize(("height", "width", "patch"), [(8, 8, 8), (24, 16, 8), (6, 9, 3), (5, 7, 1), (224, 224, 32)])
def test_patches_are_what_two_loops_cut(height, width, patch):
    picture = noise(height, width)
    naive = [picture[y : y + patch, x : x + patch].ravel() for y in range(0, height, patch) for x in range(0, width, patch)]
    np.testing.assert_array_equal(patchify(picture, patch), naive)


def test_patches_times_weights_are_the_convolution():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 20, 8, stride=8)
    picture = noise(40, 24).astype(np.float32) / 255
    expected = convolution(torch.from_numpy(picture).permute(2, 0, 1)[None]).flatten(2).transpose(1, 2)[0]
    weights = convolution.weight.detach().numpy()
    found = patchify(picture, 8) @ weights.transpose(2, 3, 1, 0).reshape(-1, 20) + convolution.bias.detach().numpy()
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)


def test_patches_are_in_the_order_of_siglip_2():
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    picture = noise(48, 32)
    np.testing.assert_array_equal(patchify(picture, 16), convert_image_to_patches(picture.transpose(2, 0, 1), 16))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_torchs_resizing_of_bytes_which_torchvision_calls_agrees_to_two_of_255(shape, resample):
    made = torch.from_numpy(photo(*shape)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(made, (224, 224), mode=resample, antialias=True, align_corners=False)
    expected = resized[0].permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(resize_and_crop(photo(*shape), 224, resample, "stretch") - expected)
    assert difference.max() <= 2 and difference.mean() < 0.1


@pytest.mark.parametrize(("patch", "most"), [(16, 256), (16, 1024), (14, 100), (8, 1)])
def test_the_grid_of_a_picture_of_any_shape_is_that_of_siglip_2(patch, most):
    from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

    shapes = [*SIZES, (1, 100_000), (100_000, 1), (4000, 6000), *np.random.default_rng(0).integers(1, 3000, (200, 2)).tolist()]
    for height, width in shapes:
        rows, columns = patch_grid(height, width, patch, most)
        assert (rows * patch, columns * patch) == get_image_size_for_max_num_patches(height, width, patch, most)
        assert 1 <= rows * columns <= most


@pytest.mark.parametrize("shape", SIZES)
def test_a_picture_of_any_shape_is_scaled_as_siglip_2_scales_it(shape):
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    processor = Siglip2ImageProcessorPil(patch_size=16, max_num_patches=60)
    made = processor(photo(*shape), do_rescale=False, do_normalize=False, return_tensors="np", input_data_format="channels_last")
    rows, columns = made["spatial_shapes"][0].tolist()
    found = resize_to_patches(photo(*shape), 16, 60)
    assert found.shape == (rows * 16, columns * 16, 3) and found.dtype == np.uint8
    difference = np.abs(patchify(found, 16).astype(int) - made["pixel_values"][0, : rows * columns].astype(int))
    tall = shape[0] > shape[1]  # Pillow 13 scales columns first in some, see assert_as_processed
    assert difference.max() <= (6 if tall else 2) and difference.mean() < (0.4 if tall else 0.1)


def test_a_long_thin_picture_costs_no_more_than_its_own_pixels():
    began = time.perf_counter()
    assert resize_to_patches(noise(100_000, 1), 16, 256).shape == (4096, 16, 3)
    assert time.perf_counter() - began < 2


def test_what_cannot_be_scaled_to_patches_is_refused_in_words():
    with pytest.raises(ValueError, match=r"uint8 \(height, width, 3\), not float64"):
        resize_to_patches(np.zeros((4, 4, 3)), 16, 256)
    with pytest.raises(ValueError, match=r"resample is one of.*'cubic'"):
        resize_to_patches(noise(4, 4), 16, 256, "cubic")
    with pytest.raises(ValueError, match=r"0 patches of 16 pixels hold no picture"):
        resize_to_patches(noise(4, 4), 16, 0)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_unpatchify_undoes_patchify_for_a_batch_too(batch):
    pictures = np.random.default_rng(0).integers(0, 256, (*batch, 12, 20, 3), dtype=np.uint8)
    flat = np.stack([patchify(picture, 4) for picture in pictures.reshape(-1, 12, 20, 3)])
    found = unpatchify(flat.reshape(*batch, 15, 48), 4, 3, 5)
    np.testing.assert_array_equal(found, pictures)


def test_what_cannot_be_cut_is_refused_in_words():
    with pytest.raises(ValueError, match=r"10 x 8 pixels.*patches of 4"):
        patchify(noise(10, 8), 4)
    with pytest.raises(ValueError, match=r"15 patches of 48 values.*4 x 4"):
        unpatchify(np.zeros((15, 48)), 4, 4, 4)
