"""A photo in each of its forms; arrays and Pillow images of the network's own size."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.photo import Photo, network_picture, open_photo, path_of
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing(size=(24, 32), resize=(28, 38), central_fraction=0.875)
GREY = dataclasses.replace(RECORD, mean=(127.0,), std=(60.0,))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def test_every_form_of_a_photo_gives_the_same_picture(photos: Path) -> None:
    path = photos / "ball" / "01.jpg"
    expected = preprocess(read_photo(path), RECORD)
    with Image.open(path) as image:
        forms: list[Photo] = [path, str(path), path.read_bytes(), image, np.asarray(image)]
        for form in forms:
            np.testing.assert_array_equal(network_picture(form, RECORD), expected)


@pytest.mark.parametrize("record", [RECORD, GREY], ids=["colour", "grey"])
def test_arrays_and_images_of_the_networks_own_size_are_taken_as_they_are(
    record: Preprocessing,
) -> None:
    pixels = noise(24, 32, 3)
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    expected = grey[..., None] if record.channels == 1 else pixels
    for form in (pixels, image):
        np.testing.assert_array_equal(network_picture(form, record), expected)
    expected = np.repeat(grey[..., None], record.channels, 2)
    np.testing.assert_array_equal(network_picture(grey, record), expected)


def test_of_a_file_and_at_any_other_size_the_preprocessing_is_done(tmp_path: Path) -> None:
    pixels = noise(24, 32, 3)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    found = network_picture(tmp_path / "own.png", RECORD)
    np.testing.assert_array_equal(found, preprocess(Image.fromarray(pixels), RECORD))
    assert (found != pixels).any()
    turned = noise(32, 24, 3)
    found = network_picture(turned, RECORD)
    np.testing.assert_array_equal(found, preprocess(Image.fromarray(turned), RECORD))


def test_a_pillow_image_is_upright_and_white_behind_as_its_file_is(tmp_path: Path) -> None:
    turned, path = Image.fromarray(noise(20, 30, 3)), tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(path, exif=exif)
    transparent = tmp_path / "transparent.png"
    Image.fromarray(noise(20, 30, 4)).save(transparent)
    for name, size in ((path, (20, 30)), (transparent, (30, 20))):
        with Image.open(name) as image:
            found = open_photo(image)
        assert found.size == size and found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), np.asarray(read_photo(name)))


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (b"text", "the photo's bytes: not a picture"),
        (np.zeros((4, 4, 3)), r"an array float64 of shape \[4, 4, 3\] is no picture"),
        (noise(2, 8, 8, 3), r"an array uint8 of shape \[2, 8, 8, 3\] is no picture"),
        (noise(8, 8, 5), "is no picture"),
        (noise(8), "is no picture"),
        (noise(2, 8, 3), "the smallest side must be 4"),
        (17, "a int is no photo: a path"),
        ("none.jpg", r"none\.jpg: cannot be opened"),
    ],
)
def test_what_is_no_photo(photo: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_photo(photo)


def test_a_damaged_pillow_image_is_an_error_of_ours(photos: Path) -> None:
    whole = (photos / "ball" / "00.png").read_bytes()
    with (
        Image.open(io.BytesIO(whole[: len(whole) // 2])) as image,
        pytest.raises(ImageError, match="photo: damaged or truncated"),
    ):
        open_photo(image)


def test_only_names_have_a_path() -> None:
    assert path_of("a.jpg") == path_of(Path("a.jpg")) == Path("a.jpg")
    assert path_of(b"a.jpg") is None and path_of(noise(8, 8, 3)) is None
