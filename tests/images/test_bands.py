"""Pictures worked on in bands equal those that are made at once."""

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.images import bands

SIZE = (37, 50)


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND", 37 * 7)


def picture(mode: str) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (50, 37, 4), np.uint8)
    image = Image.fromarray(noise)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def test_bands_cover_every_row_once(small_bands: None) -> None:
    rows = [row for _, top, _, bottom in bands.bands(SIZE) for row in range(top, bottom)]
    assert rows == list(range(50))
    assert {(left, right) for left, _, right, _ in bands.bands(SIZE)} == {(0, 37)}
    assert list(bands.bands((10**7, 2))) == [(0, 0, 10**7, 1), (0, 1, 10**7, 2)]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK", "YCbCr", "LAB", "HSV", "1"])
def test_a_picture_becomes_rgb_as_at_once(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("RGB").convert("LAB") if mode == "LAB" else picture(mode)
    if mode == "LA":
        image.putalpha(picture("L"))
    if mode == "P":
        image.info["transparency"] = bytes(range(256))
    at_once, clear = bands.rgb(image)
    monkeypatch.setattr(bands, "BAND", 37 * 7)
    in_bands, found = bands.rgb(image)
    assert in_bands.tobytes() == at_once.tobytes()
    assert at_once.mode == "RGB"
    assert clear == found == (mode in ("RGBA", "LA", "P"))


def test_a_picture_in_rgb_is_not_copied() -> None:
    image = picture("RGB")
    assert bands.rgb(image)[0] is image
    image.info["transparency"] = image.getpixel((0, 0))
    found, clear = bands.rgb(image)
    assert clear and found.getpixel((0, 0)) == (255, 255, 255)


def test_one_transparent_pixel_in_the_last_band_is_found(small_bands: None) -> None:
    image = picture("RGB").convert("RGBA")
    opaque, clear = bands.rgb(image)
    assert not clear and opaque.tobytes() == picture("RGB").tobytes()
    assert not bands.rgb(picture("RGB"))[1]
    image.putpixel((36, 49), (1, 2, 3, 254))
    assert bands.rgb(image)[1]


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_channels_turn_as_their_picture_does(turn: Image.Transpose) -> None:
    image = picture("RGB")
    assert bands.turned(list(image.split()), turn).tobytes() == image.transpose(turn).tobytes()


@pytest.mark.parametrize("turn", list(Image.Transpose))
@pytest.mark.parametrize("height", [50, 49, 1])
def test_a_picture_flips_in_its_own_memory(
    turn: Image.Transpose, height: int, small_bands: None
) -> None:
    image = picture("RGB").crop((0, 0, 37, height))
    right = image.transpose(turn)
    assert bands.is_transposing(turn) == (right.size != image.size)
    if not bands.is_transposing(turn):
        bands.flip(image, turn)
        assert image.tobytes() == right.tobytes()
