"""Grey of more than 8 bits: white is what the file declares, else what its levels need."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode_noted
from mobilenetv2.images.levels import DEPTHS

RAMP = np.linspace(0, 1, 240).reshape(12, 20)


def encode(values: NDArray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def seen(data: bytes) -> tuple[NDArray, list[str]]:
    """(the grey that is shown, the texts of its notes)."""
    decoded = decode_noted(data, "it")
    return np.asarray(decoded.image)[..., 0], [note.text for note in decoded.notes]


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize(
    ("kind", "type_"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)]
)
def test_the_depth_that_holds_the_largest_level_is_shown_from_black_to_white(
    bits: int, kind: str, type_: Any
) -> None:
    levels = np.rint(RAMP * (2**bits - 1)).astype(type_)
    found, notes = seen(encode(levels, kind))
    assert np.abs(found.astype(float) - RAMP * 255).max() <= 0.51 + 255 / 2**bits
    assert notes == ([] if bits == 16 else [f"{bits} of {8 * levels.itemsize} bits"])


def test_eight_bits_in_sixteen_are_the_very_picture() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint16)
    levels[0, 0] = 200
    assert np.array_equal(seen(encode(levels, "PNG"))[0], levels)


def test_a_photo_brightens_no_further_than_a_depth() -> None:
    dim = np.rint(RAMP * 0.6 * 4095).astype(np.uint16)  # it does not use all of its 12 bits
    assert seen(encode(dim, "PNG"))[0].max() == round(0.6 * 255)


def pgm(levels: NDArray, white: int) -> bytes:
    head = f"P5\n{levels.shape[1]} {levels.shape[0]}\n{white}\n".encode()
    return head + levels.astype(">u2" if white > 255 else np.uint8).tobytes()


def test_a_pgm_says_what_white_is() -> None:
    dim = np.rint(RAMP * 800).astype(np.uint16)
    found, notes = seen(pgm(dim, 4095))
    assert notes == [] and found.max() == round(800 / 4095 * 255)
    found, notes = seen(pgm(dim, 65535))  # as libraries write any uint16 array
    assert notes == ["10 of 16 bits"] and found.max() == round(800 / 1023 * 255)
    assert seen(pgm(RAMP * 100, 255))[0].max() == 100


def test_a_tiff_of_twelve_bits_a_sample_says_so() -> None:
    levels = np.rint(RAMP * 600).astype(np.uint16)
    high, low = levels.reshape(-1, 2).T
    packed = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], 1).astype(np.uint8)
    tags = {256: 20, 257: 12, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 12, 279: packed.size}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = struct.pack("<2sHI", b"II", 42, 8 + packed.size) + packed.tobytes()
    data += struct.pack("<H", len(tags)) + entries + bytes(4)
    found, notes = seen(data)
    assert notes == [] and found.max() == round(600 / 4095 * 255)


@pytest.mark.parametrize(("largest", "bits"), [(4095, 12), (16383, 14), (800, 10), (65535, 10)])
def test_a_tiffs_largest_value_counts_if_it_is_that_of_a_depth(largest: int, bits: int) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[281] = largest
    levels = np.rint(RAMP * 1020).astype(np.uint16)
    found, notes = seen(encode(levels, "TIFF", tiffinfo=tags))
    assert found.max() == round(1020 / (2**bits - 1) * 255)
    depths = [note for note in notes if "bits" in note]  # another note says how dark it is
    assert depths == ([] if largest in (4095, 16383) else ["10 of 16 bits"])


def test_a_jpeg_2000_of_sixteen_bits() -> None:
    levels = np.rint(RAMP * 4095).astype(np.uint16)
    found, notes = seen(encode(levels, "JPEG2000"))
    assert notes == ["12 of 16 bits"] and np.abs(found - RAMP * 255).max() < 1


@pytest.mark.parametrize("white", [1.0, 255.0, 4095.0, 65535.0])
def test_floating_point_is_scaled_by_its_range(white: float) -> None:
    found, notes = seen(encode((RAMP * white).astype(np.float32), "TIFF"))
    assert np.abs(found - RAMP * 255).max() <= 0.5 + 1e-3
    assert notes == [f"numbers from 0 to {white:g}"]


def test_a_little_overshoot_of_a_resized_picture_is_cut_off() -> None:
    values = (RAMP * 1.015 - 0.008).astype(np.float32)
    found, notes = seen(encode(values, "TIFF"))
    assert (found.min(), found.max()) == (0, 255) and notes == ["numbers from 0 to 1"]


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf, 70_000])
def test_numbers_that_no_scale_explains_are_refused(wrong: float) -> None:
    values = RAMP.astype(np.float32)
    values[3, 3] = wrong
    with pytest.raises(ImageError, match=r"^it: floating-point picture with levels.*save it with"):
        seen(encode(values, "TIFF"))


@pytest.mark.parametrize("wrong", [-1, 65536])
def test_integers_that_no_scale_explains_are_refused(wrong: int) -> None:
    levels = np.full((5, 5), 100, np.int32)
    levels[2, 2] = wrong
    with pytest.raises(ImageError, match="outside 0 to 65535; save it"):
        seen(encode(levels, "TIFF"))


def test_a_picture_that_is_black_throughout() -> None:
    found, notes = seen(encode(np.zeros((6, 6), np.uint16), "PNG"))
    assert found.max() == 0 and "no level above 0 of 255" in notes
