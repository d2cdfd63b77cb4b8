"""A network's preprocessing as a callable that gives the numbers of the library."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import normalise, preprocess
from mobilenetv2.images.transform import ArrayTransform, PlanarTransform, Transform
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing(size=(48, 32), resize=(56, 40))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_every_form_of_a_photo_gives_the_numbers_of_the_library(photo: Path) -> None:
    image = read_photo(photo)
    expected = normalise(preprocess(image, RECORD), RECORD)
    transform = ArrayTransform(RECORD)
    for form in (photo, str(photo), photo.read_bytes(), image, np.asarray(image)):
        found = transform(form)
        assert found.dtype == np.float32 and found.shape == (48, 32, 3)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(PlanarTransform(RECORD)(photo), expected.transpose(2, 0, 1))


def test_an_array_of_the_networks_own_size_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 3), np.uint8)
    np.testing.assert_array_equal(ArrayTransform(RECORD).picture(pixels), pixels)


def test_without_a_photo_it_is_the_callable_itself() -> None:
    transform = ArrayTransform(RECORD)
    assert transform() is transform


@pytest.mark.parametrize("kind", [ArrayTransform, PlanarTransform])
def test_it_can_be_pickled_and_compared(kind: type[Transform[object]], photo: Path) -> None:
    transform = kind(RECORD)
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform and hash(again) == hash(transform)
    assert again != kind(Preprocessing()) and again != RECORD
    np.testing.assert_array_equal(again(photo), transform(photo))


def test_it_says_what_it_does_in_one_short_line() -> None:
    assert repr(ArrayTransform(RECORD)).startswith(
        "ArrayTransform(resize 56x40 bilinear, crop 48x32, mean (123.675"
    )
    stretched = Preprocessing(resize=(224, 224), fit="stretch", central_fraction=0.875)
    assert "central 87.5%, resize 224 bilinear (stretched), mean" in repr(ArrayTransform(stretched))
    assert "(no resize, crop 48x32, mean" in repr(ArrayTransform(RECORD.unresized()))


def test_what_is_no_photo_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="gone"):
        ArrayTransform(RECORD)(tmp_path / "gone.jpg")
    with pytest.raises(NotImplementedError):
        Transform(RECORD).finish(np.zeros((1, 1, 3), np.uint8))
