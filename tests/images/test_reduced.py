"""JPEG files decoded at a part of their size."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images import memory
from mobilenetv2.images.decode import LIMITS, Limits, decode, decode_noted, stored_size
from mobilenetv2.images.photo import network_picture
from mobilenetv2.images.preprocess import least_size, preprocess
from mobilenetv2.spec.records import Preprocessing


def jpeg(width: int, height: int, orientation: int = 1, **how: object) -> bytes:
    """A smooth picture with a bright corner, top left as it is stored."""
    rows, columns = np.mgrid[0:height, 0:width]
    levels = np.stack([rows / height, columns / width, (rows + columns) / (width + height)], -1)
    levels[: height // 4, : width // 4] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray((200 * levels).astype(np.uint8)).save(
        buffer, "JPEG", quality=95, exif=exif, **how
    )
    return buffer.getvalue()


def at_least(width: int, height: int) -> object:
    return lambda size: (width, height)


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        ((640, 480), (640, 480)), ((321, 240), (640, 480)), ((320, 241), (640, 480)),
        ((320, 240), (320, 240)), ((161, 1), (320, 240)), ((160, 120), (160, 120)),
        ((80, 60), (80, 60)), ((1, 1), (80, 60)), ((700, 700), (640, 480)),
    ],
)  # fmt: skip
def test_the_smallest_part_that_is_large_enough(
    least: tuple[int, int], expected: tuple[int, int]
) -> None:
    found = decode(jpeg(640, 480), "a", least=lambda size: least)
    assert found.size == expected
    whole = decode(jpeg(640, 480), "a").resize(expected, Image.Resampling.BOX)
    difference = np.abs(np.asarray(found, int) - np.asarray(whole, int))
    assert difference.mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_measured_upright(orientation: int) -> None:
    asked: list[tuple[int, int]] = []

    def least(size: tuple[int, int]) -> tuple[int, int]:
        asked.append(size)
        return size[0] // 3, size[1] // 3

    data = jpeg(640, 320, orientation)
    whole, found = decode(data, "a"), decode(data, "a", least=least)
    assert asked == [whole.size]
    assert found.size == (whole.width // 2, whole.height // 2)
    small = whole.resize(found.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(found, int) - np.asarray(small, int)).mean() < 1.5


@pytest.mark.parametrize("how", [{}, {"progressive": True}])
def test_a_file_that_ends_early_is_decoded_whole(how: dict[str, Any]) -> None:
    data = jpeg(640, 480, **how)
    cut = data[: -len(data) // 60]
    found, whole = decode_noted(cut, "a", least=lambda size: (10, 10)), decode_noted(cut, "a")
    assert found.image.size == (640, 480) and found.notes == whole.notes
    assert found.image.tobytes() == whole.image.tobytes()
    with pytest.raises(ImageError, match="a: damaged or truncated"):
        decode(data[: len(data) // 3], "a", least=lambda size: (10, 10))


def test_other_formats_are_decoded_whole() -> None:
    image = decode(jpeg(640, 480), "a")
    for kind in ("PNG", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        assert decode(buffer.getvalue(), "a", least=lambda size: (10, 10)).size == (640, 480)


def test_grey_and_cmyk_are_reduced_too() -> None:
    image = decode(jpeg(640, 480), "a")
    for mode in ("L", "CMYK"):
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, "JPEG", quality=95)
        small = decode(buffer.getvalue(), "a", least=lambda size: (160, 120))
        assert (small.mode, small.size) == ("RGB", (160, 120))


@pytest.mark.parametrize("fit", ["cover", "stretch", "none"])
@pytest.mark.parametrize("fraction", [1.0, 0.875])
@pytest.mark.parametrize("shape", [(1600, 1200), (1200, 1600), (1000, 400), (448, 448)])
def test_nothing_is_enlarged_that_would_not_have_been(
    fit: str, fraction: float, shape: tuple[int, int]
) -> None:
    record = Preprocessing(fit=fit, central_fraction=fraction, decode="reduced")  # type: ignore[arg-type]
    least = least_size(record)
    if fit == "none":
        assert least is None
        return
    assert least is not None
    data = jpeg(*shape)
    small = decode(data, "a", least=least)
    width, height = (round(side * fraction) for side in small.size)
    covered = (
        min(width / 256, height / 256) if fit == "stretch" else max(min(width, height) / 256, 0)
    )
    assert covered >= 0.99
    whole = dataclasses.replace(record, decode="whole")
    difference = np.abs(network_picture(data, record).astype(int) - network_picture(data, whole))
    assert difference.mean() < 2.5


def test_a_whole_record_and_a_picture_in_memory_are_not_reduced() -> None:
    assert least_size(Preprocessing()) is None
    record = Preprocessing(decode="reduced")
    image = decode(jpeg(1600, 1200), "a")
    assert (network_picture(image, record) == preprocess(image, record)).all()


def test_what_is_decoded_small_takes_little_memory() -> None:
    data = jpeg(2400, 1800)
    limits = Limits(memory=memory.MOST // 64)
    with pytest.raises(ImageError, match="2,400 x 1,800 pixels"):
        decode(data, "a", limits)
    assert decode(data, "a", limits, lambda size: (256, 256)).size == (600, 450)
    progressive = jpeg(2400, 1800, progressive=True)  # all coefficients stay in memory
    with pytest.raises(ImageError, match="2,400 x 1,800 pixels"):
        decode(progressive, "a", limits, lambda size: (256, 256))


def test_limits_are_those_of_the_file() -> None:
    with pytest.raises(ImageError, match="more than the limit"):
        decode(jpeg(640, 480), "a", dataclasses.replace(LIMITS, pixels=640 * 479),
               lambda size: (10, 10))  # fmt: skip
    with pytest.raises(ImageError, match="too few"):
        decode(jpeg(640, 3), "a", least=lambda size: (1, 1))


def test_the_size_is_read_without_decoding() -> None:
    data = jpeg(640, 480)
    assert stored_size(data, "a") == (640, 480)
    assert stored_size(data[: len(data) // 2], "a") == (640, 480)
    with pytest.raises(ImageError, match="a: not a picture"):
        stored_size(b"text, no picture", "a")
