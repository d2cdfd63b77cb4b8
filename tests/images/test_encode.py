import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.images.encode import SMALL, data_url, jpeg, png


def smooth(height: int, width: int, channels: int = 3) -> NDArray:
    rows, columns = np.mgrid[:height, :width]
    planes = [120 + 60 * np.sin((rows + k * columns) / 30) for k in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_nearly_as_it_was(channels: int) -> None:
    picture = smooth(90, 60, channels)
    with Image.open(io.BytesIO(jpeg(picture))) as image:
        assert (image.format, image.size) == ("JPEG", (60, 90))
        assert image.mode == ("L" if channels == 1 else "RGB")
        found = np.asarray(image).reshape(picture.shape)
    assert np.abs(found.astype(int) - picture).mean() < 3


def test_only_large_pictures_are_made_smaller_and_keep_their_shape() -> None:
    for size, expected in (((50, 100), (32, 16)), ((100, 50), (16, 32)), ((20, 20), (20, 20))):
        with Image.open(io.BytesIO(jpeg(smooth(*size), 32))) as image:
            assert image.size == expected


def test_an_address_holds_the_same_file() -> None:
    start, _, text = data_url(smooth(SMALL, 8)).partition(",")
    assert start == "data:image/jpeg;base64"
    assert base64.b64decode(text, validate=True) == jpeg(smooth(SMALL, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_picture_is_shown_pixel_by_pixel(channels: int) -> None:
    shape = (32, SMALL - 1, channels)
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    start, _, text = data_url(picture).partition(",")
    assert start == "data:image/png;base64"
    assert base64.b64decode(text, validate=True) == png(picture)
    with Image.open(io.BytesIO(png(picture))) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(shape), picture)
    assert data_url(picture, most=SMALL - 2).startswith("data:image/jpeg")  # it is made smaller


def test_part_of_a_larger_array_is_taken_as_it_is() -> None:
    picture = smooth(40, 40)
    assert jpeg(picture[::2, ::-1]) == jpeg(picture[::2, ::-1].copy())
