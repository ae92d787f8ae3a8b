"""Pictures are decoded as a person would see them, and nothing but pictures is."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
import pytest
from nasty_media import alpha_ramp, encoded, grey16, noise, orientation, png_header, smooth, transparent_palette
from PIL import Image

from encoders.errors import LimitError, UnreadableError
from encoders.media.kinds import Limits
from encoders.media.pictures import decode


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_every_pixel_back(kind, options):
    picture = noise(31, 57)
    np.testing.assert_array_equal(decode(encoded(picture, kind, **options)), picture)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_lossy_formats_give_nearly_every_pixel_back(kind):
    picture = smooth(60, 80)
    assert np.abs(decode(encoded(picture, kind)).astype(int) - picture).mean() < (12 if kind == "GIF" else 2)


def test_a_path_gives_what_bytes_give(tmp_path):
    data = encoded(noise(9, 7), "PNG")
    (tmp_path / "a b#.png").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "a b#.png"), decode(data))


# What a camera stores for each orientation, so that turning it as EXIF says gives the upright picture.
STORED = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("value", STORED)
def test_the_orientation_of_exif_is_applied(value, kind):
    upright = noise(20, 31)
    stored = np.ascontiguousarray(STORED[value](upright))
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode(encoded(stored, kind, exif=orientation(value), **options)), upright)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_exif_does_not_know_changes_nothing(value):
    np.testing.assert_array_equal(decode(encoded(noise(5, 6), "PNG", exif=orientation(value))), noise(5, 6))


def test_cmyk_is_converted_by_multiplying_inks():
    inks = np.zeros((32, 48, 4), np.uint8)
    inks[:, :16], inks[:, 16:32], inks[:, 32:] = (0, 0, 0, 0), (200, 30, 100, 50), (0, 255, 255, 0)
    paper = 255 - inks.astype(float)
    expected = paper[..., :3] * paper[..., 3:] / 255
    found = decode(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert np.abs(found - expected).max() <= 1
    assert np.abs(decode(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)) - expected).max() <= 8, "inverted, as Adobe writes it"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    grey = grey16(40, 50)
    expected = np.rint(grey / 257.0)
    found = decode(encoded(grey, kind))
    np.testing.assert_array_equal(found, np.dstack([expected] * 3))
    assert decode(encoded(grey // 300, kind)).max() == 1, "dark stays dark, whatever its greatest value"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 128.0, 255.0], [0, 128, 255]),
        ([0.0, 32896.0, 65535.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-1e30, np.nan, 1e30], [0, 128, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_floating_point_is_taken_in_the_smallest_range_that_holds_it(values, expected):
    found = decode(encoded(np.array([values], np.float32), "TIFF"))
    np.testing.assert_array_equal(found[0, :, 0], expected)


def test_integers_of_32_bits_are_not_clipped_at_255():
    found = decode(encoded(Image.fromarray(np.array([[0, 32896, 65535]], np.int32)), "TIFF"))
    np.testing.assert_array_equal(found[0, :, 0], [0, 128, 255])


def on_white(picture: np.ndarray) -> np.ndarray:
    colour, alpha = picture[..., :3].astype(float), picture[..., 3:] / 255
    return colour * alpha + 255 * (1 - alpha)


def test_transparency_is_laid_on_white():
    picture = alpha_ramp(24, 60)
    assert np.abs(decode(encoded(picture, "PNG")) - on_white(picture)).max() <= 1
    grey = np.array(Image.fromarray(picture).convert("LA"))
    assert np.abs(decode(encoded(Image.fromarray(grey, "LA"), "PNG")) - on_white(grey[..., [0, 0, 0, 1]])).max() <= 1
    assert np.abs(decode(encoded(picture, "WEBP", lossless=True, exact=True)) - on_white(picture)).max() <= 1


def test_transparency_of_a_palette_and_of_a_single_colour_is_laid_on_white():
    np.testing.assert_array_equal(decode(transparent_palette())[0], [[255, 0, 0], [127, 255, 127], [255, 255, 255], [255, 0, 0]])
    picture = noise(4, 4)
    picture[1, 1] = picture[2, 3] = (1, 2, 3)
    expected = np.where((picture == (1, 2, 3)).all(axis=2, keepdims=True), 255, picture)
    np.testing.assert_array_equal(decode(encoded(picture, "PNG", transparency=(1, 2, 3))), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_taken(kind):
    frames = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (200, 10, 90)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.unique(decode(data)).tolist() == [200]


def test_the_size_is_checked_before_a_pixel_is_decoded():
    with pytest.raises(LimitError, match=r"too many pixels.*10,000 x 9,000.*1,000,000"):
        decode(png_header(10_000, 9_000), Limits(pixels=1_000_000))
    with pytest.raises(LimitError, match="too many pixels"):
        decode(png_header(60_000, 60_000), Limits(pixels=10**12))
    assert decode(encoded(noise(10, 10), "PNG"), Limits(pixels=100)).shape == (10, 10, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_picture_cut_short_is_truncated_wherever_it_is_cut(kind, share):
    data = encoded(noise(60, 80), kind)
    with pytest.raises(UnreadableError) as failure:
        decode(data[: int(share * len(data))])
    assert failure.value.reason == "truncated"


def test_any_damage_gives_a_picture_or_a_medium_error():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        data = encoded(noise(16, 16), kind)
        for _ in range(40):
            damaged = np.frombuffer(data, np.uint8).copy()
            damaged[rng.integers(0, len(data), 8)] = rng.integers(0, 256, 8)
            try:
                decode(damaged.tobytes(), Limits(pixels=100_000))
            except (UnreadableError, LimitError) as error:
                assert error.reason in ("truncated", "corrupt", "too many pixels")


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", b"P6 1 1 255 abc", b"nothing", b"\x00" * 50])
def test_no_other_decoder_runs(data):
    with pytest.raises(UnreadableError, match=r"corrupt.*JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF"):
        decode(data)


def test_warnings_of_pillow_do_not_leak_whatever_the_filters_and_threads():
    large = png_header(9_500, 9_500)  # Pillow itself warns of 90 million pixels
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(LimitError):
            decode(large, Limits(pixels=1000))
        threads = [threading.Thread(target=lambda: [decode(encoded(noise(3, 3), "PNG")) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not seen
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(large))
    assert seen, "the picture above is one that Pillow warns of"
