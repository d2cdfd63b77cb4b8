import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode, read_photo

ORIENTATION = 0x0112
LEVELS = np.arange(65536).reshape(256, 256)  # every 16-bit grey level once


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> NDArray:
    image = decode(data, "it")
    assert image.mode == "RGB"
    return np.asarray(image)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# Random colours in squares of 2 pixels: no symmetry, and few enough for a GIF.
COLOURS = np.random.default_rng(7).integers(0, 256, (10, 16, 3), np.uint8)
PICTURE = Image.fromarray(COLOURS.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {}), ("WEBP", {"lossless": True}),
        ("PPM", {}), ("TGA", {}), ("TGA", {"compression": "tga_rle"}), ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
        ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}),
    ],
)  # fmt: skip
def test_a_lossless_file_gives_the_very_pixels_that_were_saved(
    kind: str, options: dict[str, Any]
) -> None:
    assert np.array_equal(pixels(encode(PICTURE, kind, **options)), np.asarray(PICTURE))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("AVIF", {}), ("MPO", {}),
        ("JPEG2000", {"quality_layers": [20], "irreversible": True}),
    ],
)  # fmt: skip
def test_a_lossy_file_gives_what_pillow_decodes_close_to_what_was_saved(
    kind: str, options: dict[str, Any]
) -> None:
    smooth = PICTURE.resize((160, 100))
    data = encode(smooth, kind, **options)
    assert np.array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(pixels(data).astype(int) - np.asarray(smooth)).mean() < 8


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
    for kind in ("JPEG", "PNG"):
        found = pixels(encode(PICTURE, kind, exif=exif))
        assert np.array_equal(found, pixels(encode(PICTURE, kind)))


def test_an_odd_tag_beside_the_orientation_does_no_harm() -> None:
    exif = turned(6)
    exif[0x011A] = 72.5  # the resolution, a fraction (type 5); some cameras write text (type 2)
    data = encode(PICTURE, "PNG", exif=exif)
    odd = encode(PICTURE, "PNG", exif=exif.tobytes().replace(b"\x01\x1a\0\5", b"\x01\x1a\0\2"))
    assert odd != data
    assert np.array_equal(pixels(odd), np.rot90(np.asarray(PICTURE), -1))


def test_a_colour_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    data = encode(PICTURE, "PNG", icc_profile=profile)
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile
    assert np.array_equal(pixels(data), np.asarray(PICTURE))


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "options", "expected"),
    [
        ("1", 1, "PNG", {}, (255, 255, 255)),
        ("1", 0, "PNG", {"transparency": 0}, (255, 255, 255)),
        ("L", 77, "PNG", {}, (77, 77, 77)),
        ("L", 77, "PNG", {"transparency": 77}, (255, 255, 255)),
        ("LA", (0, 51), "PNG", {}, (204, 204, 204)),  # 0.2 of black over white
        ("RGBA", (200, 0, 100, 51), "PNG", {}, (244, 204, 224)),
        ("RGBA", (200, 0, 100, 0), "WEBP", {"lossless": True}, (255, 255, 255)),
        ("RGB", (1, 2, 3), "PNG", {"transparency": (1, 2, 3)}, (255, 255, 255)),
        ("P", 1, "PNG", {}, (0, 200, 0)),
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
    levels = LEVELS[:8, :8].astype(np.uint16)
    levels[7, 7] = 65535
    found = pixels(encode(Image.fromarray(levels), "PNG", transparency=260))
    assert np.argwhere(found[..., 1] > 7).tolist() == [[1, 4], [7, 7]]
    assert found[1, 4].tolist() == [255, 255, 255]


def test_a_tga_without_a_mark_is_one_by_its_name() -> None:
    data = encode(PICTURE, "TGA")
    old = data[: data.rindex(b"TRUEVISION") - 8]  # before 1989, files had no footer
    assert np.array_equal(np.asarray(decode(old, "scan.TGA")), np.asarray(PICTURE))
    with pytest.raises(ImageError, match="not a picture"):
        decode(old, "scan.jpg")


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PPM"), ("L", "PPM"), ("L", "TGA"), ("L", "JPEG2000")]
)
def test_grey_and_bits_of_the_newer_formats_become_rgb(mode: str, kind: str) -> None:
    image = PICTURE.convert(mode)
    assert np.array_equal(pixels(encode(image, kind)), np.asarray(image.convert("RGB")))


HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAKEAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcA"
    "AAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAAKltZGF0AAAAnSgBrwngITip//M8b/78nZe0xyeVp79Y//7gQ+yGf/cibdH6PCaMPzvU8YcV/z8JrZGTZU"
    "f/gynTIyzKR4zovte7v+sy3DtK1JjBs01i5TrEJx66eJlYq5AoHDkwHd98NoS+Pz/e5BEV0jpCYuEFmLF0H+MhILiB"
    "zaHSA9BzXxm8jUy8NHDa2uSXPh7LtbDdzZ81S8WxRPe+P4/gp4A="
)
"""Four squares, red and white above black and blue, 64 x 48 pixels, made by pillow_heif 1.x."""
TURNED_HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAFsAAgAAAAACRwABAAAAAAAAACQAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcn"
    "AAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm"
    "5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAABAAAAQAAAAAH////wAAAAAgAAAAAA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAA"
    "AOY2RzYwACAAEAAQAAAIdtZGF0AAAAVygBrwngyIGxNv/+g4LYVVC/Fi//dx2XaEyFmMGvWgk5WlAHvNX7IuSpD5/o"
    "5U7UobzNP3CMT+rJGT1QY/RBPraf32IpX9gZVkfyH6RsR9FVSwVBGRU38AAAAAZFeGlmAABNTQAqAAAACAABARIAAw"
    "AAAAEABgAAAAAAAA=="
)
"""The same, stored turned to the right, with the property 'irot', which says how to turn it."""


def test_a_phones_heic_is_read_and_upright() -> None:
    pytest.importorskip("pi_heif")
    corners = [(200, 30, 30), (240, 240, 240), (0, 0, 0), (30, 30, 200)]
    found = pixels(base64.b64decode(HEIC)).astype(int)
    assert found.shape == (48, 64, 3)
    for place, colour in zip(found[12::24, 16::32].reshape(-1, 3), corners, strict=True):
        assert np.abs(place - colour).max() < 12
    turned = base64.b64decode(TURNED_HEIC)
    angle = turned.index(b"irot") + 4
    for quarters in range(4):  # to the left
        shown = pixels(turned[:angle] + bytes([quarters]) + turned[angle + 1 :]).astype(int)
        expected = np.rot90(found, quarters - 1)
        assert shown.shape == expected.shape
        assert np.abs(shown - expected).mean() < 6


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match=r"^it: a HEIC photo; .*install it with: .*heic.*JPEG"):
        decode(base64.b64decode(HEIC), "it")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_only_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert np.abs(pixels(data).astype(int) - (255, 0, 0)).max() <= 2


def test_every_photo_at_hand_is_read(public_folder: Callable[[str], Path]) -> None:
    photos = sorted(public_folder("photos").glob("*.*"))
    assert photos
    for photo in photos:
        with Image.open(photo) as plain:
            assert np.array_equal(
                np.asarray(read_photo(photo)), np.asarray(plain.convert("RGB"))
            ), photo
