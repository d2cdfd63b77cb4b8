import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import FORMATS, Limits, decode, read

PHOTOS = Path(__file__).parents[2].parent / "shared/data/photos"
ORIENTATION = 0x0112
LEVELS = np.arange(65536).reshape(256, 256)  # every 16-bit grey level once


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes, limits: Limits = Limits()) -> NDArray:
    image = decode(data, "it", limits)
    assert image.mode == "RGB"
    return np.asarray(image)


def refusal(data: bytes, limits: Limits = Limits()) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, "it", limits)
    message = str(caught.value)
    assert message.startswith("it: ")
    assert "\n" not in message
    return message


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def noise(height: int, width: int, coarse: int = 1) -> Image.Image:
    """Random colours in squares of ``coarse`` pixels: no symmetry, at most 255 of them."""
    colours = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(colours.repeat(coarse, 0).repeat(coarse, 1))


PICTURE = noise(10, 16, coarse=2)
FILES = {kind: encode(PICTURE, kind) for kind in FORMATS}
FILES["progressive"] = encode(PICTURE, "JPEG", progressive=True)
FILES["compressed TIFF"] = encode(PICTURE, "TIFF", compression="tiff_lzw")
FILES["palette"] = encode(PICTURE.quantize(16), "PNG", transparency=3)
FILES["16-bit"] = encode(Image.fromarray(LEVELS[:9, :9].astype(np.uint16)), "TIFF")
FILES["phone"] = encode(PICTURE, "MPO", exif=turned(6), save_all=True, append_images=[PICTURE])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "compressed TIFF", "WEBP"])
def test_a_lossless_file_gives_the_very_pixels_that_were_saved(kind: str) -> None:
    data = encode(PICTURE, "WEBP", lossless=True) if kind == "WEBP" else FILES[kind]
    assert np.array_equal(pixels(data), np.asarray(PICTURE))


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "WEBP", "AVIF"])
def test_a_lossy_file_gives_what_pillow_decodes_close_to_what_was_saved(kind: str) -> None:
    smooth = PICTURE.resize((96, 60))
    data = encode(smooth, "JPEG", progressive=True) if kind[0] == "p" else encode(smooth, kind)
    decoded = pixels(data)
    assert np.array_equal(decoded, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(decoded.astype(int) - np.asarray(smooth)).mean() < 8


def test_any_orientation_stands_upright_in_every_format_that_records_it() -> None:
    stored = np.asarray(PICTURE)
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.transpose(1, 0, 2), 6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2), 8: np.rot90(stored),
    }  # fmt: skip
    for orientation, expected in upright.items():
        exif = turned(orientation)
        for kind in ("PNG", "TIFF", "WEBP"):
            options = {"lossless": True} if kind == "WEBP" else {}
            found = pixels(encode(PICTURE, kind, exif=exif, **options))
            assert np.array_equal(found, expected), (kind, orientation)
        jpeg = pixels(encode(PICTURE, "JPEG", exif=exif, quality=100, subsampling=0))
        assert jpeg.shape == expected.shape, orientation
        assert np.abs(jpeg.astype(int) - expected).max() < 16, orientation


@pytest.mark.parametrize("exif", [turned(99), turned(0), b"Exif\0\0rubbish", b"Exif\0\0MM\0*"])
def test_damaged_metadata_leaves_the_picture_as_it_is(exif: Image.Exif | bytes) -> None:
    assert np.array_equal(pixels(encode(PICTURE, "JPEG", exif=exif)), pixels(FILES["JPEG"]))


def test_a_colour_profile_changes_nothing() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    data = encode(PICTURE, "PNG", icc_profile=profile)
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile
    assert np.array_equal(pixels(data), np.asarray(PICTURE))


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "options", "expected"),
    [
        ("1", 1, "PNG", {}, (255, 255, 255)),
        ("1", 0, "TIFF", {}, (0, 0, 0)),
        ("1", 0, "PNG", {"transparency": 0}, (255, 255, 255)),
        ("L", 77, "PNG", {}, (77, 77, 77)),
        ("L", 77, "PNG", {"transparency": 77}, (255, 255, 255)),
        ("L", 77, "PNG", {"transparency": 76}, (77, 77, 77)),
        ("LA", (0, 51), "PNG", {}, (204, 204, 204)),  # 0.2 of black over white
        ("RGBA", (200, 0, 100, 51), "PNG", {}, (244, 204, 224)),
        ("RGBA", (200, 0, 100, 0), "WEBP", {"lossless": True}, (255, 255, 255)),
        ("RGBA", (200, 0, 100, 51), "TIFF", {}, (244, 204, 224)),
        ("RGB", (1, 2, 3), "PNG", {"transparency": (1, 2, 3)}, (255, 255, 255)),
        ("P", 1, "PNG", {}, (0, 200, 0)),
        ("P", 1, "PNG", {"transparency": 1}, (255, 255, 255)),
        ("P", 1, "PNG", {"transparency": bytes([255, 51])}, (204, 244, 204)),
        ("P", 1, "GIF", {"transparency": 1}, (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), "TIFF", {}, (0, 255, 255)),
        ("CMYK", (0, 0, 0, 255), "JPEG", {}, (0, 0, 0)),
        ("YCbCr", (90, 128, 128), "TIFF", {}, (90, 90, 90)),
        ("LAB", (128, 128, 128), "TIFF", {}, (119, 119, 119)),  # L* 50.2 in sRGB
    ],
)
def test_every_mode_becomes_rgb_over_white(
    mode: str, colour: Any, kind: str, options: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    image = Image.new(mode, (6, 5), colour)
    if mode == "P":
        image.putpalette([200, 0, 0, 0, 200, 0])
    found = pixels(encode(image, kind, **options))
    assert found.shape == (5, 6, 3)
    assert np.abs(found.astype(int) - expected).max() <= (1 if mode == "LAB" else 0)


def test_a_turned_transparent_palette_is_turned_and_over_white() -> None:
    image = Image.fromarray(np.array([[0, 1, 1, 1, 1]] * 4, np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    found = pixels(encode(image, "PNG", transparency=0, exif=turned(6)))
    assert found.shape == (5, 4, 3)
    assert found[0].tolist() == [[255] * 3] * 4
    assert found[1:].reshape(-1, 3).tolist() == [[0, 200, 0]] * 16


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF big-endian", "TIFF 32-bit"])
def test_sixteen_bit_grey_keeps_its_upper_eight_bits_rounded(kind: str) -> None:
    image = Image.fromarray(LEVELS.astype(np.int32 if "32" in kind else np.uint16))
    if "big" in kind:
        image = Image.frombytes("I;16B", image.size, LEVELS.astype(">u2").tobytes())
    expected = np.rint(LEVELS * 255 / 65535).astype(np.uint8)
    assert np.array_equal(pixels(encode(image, kind[:4].strip())), np.dstack([expected] * 3))


def test_the_transparent_level_of_a_sixteen_bit_png_is_white() -> None:
    image = Image.fromarray(LEVELS[:8, :8].astype(np.uint16))
    found = pixels(encode(image, "PNG", transparency=9))
    assert np.argwhere(found[..., 0] == 255).tolist() == [[1, 1]] if LEVELS[1, 1] == 9 else True
