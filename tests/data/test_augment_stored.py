"""Views of recipes that exist stay as they were, and what 'shifted' moves in."""

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

ROWS, COLUMNS = np.mgrid[:60, :80]
PHOTO = Image.fromarray(
    np.stack([ROWS * 4, COLUMNS * 3, (ROWS * COLUMNS) % 251], axis=-1).astype(np.uint8)
)
COLOUR = Preprocessing(size=(32, 32), resize=(36, 36))
GREY = Preprocessing(size=(32, 32), resize=(36, 36), mean=(118.0,), std=(57.0,))


@pytest.mark.parametrize(
    "crop, stored",
    [
        ("resized", "807bcc8acdb2f259"),
        ("shifted", "659246073c3e1399"),
        ("none", "f137a15f71b51309"),
    ],
)
def test_views_are_those_that_earlier_versions_made(crop: Any, stored: str) -> None:
    # Made before there were policies, erasing and borders: what was measured then holds now.
    found = hashlib.sha256()
    for record in (COLOUR, GREY):
        for i in range(50):
            random = generator(5, i % 7, i)
            found.update(augment(PHOTO, Augmentation(crop), record, (32, 24), random).tobytes())
    assert found.hexdigest()[:16] == stored


@pytest.mark.parametrize(
    "border, mode", [("edge", "edge"), ("reflection", "reflect"), ("black", "constant")]
)
@pytest.mark.parametrize("record", [COLOUR, GREY], ids=["colour", "grey"])
def test_shifted_is_a_crop_of_the_padded_picture(
    border: Any, mode: Any, record: Preprocessing
) -> None:
    size = (32, 24)
    whole = preprocess(PHOTO, record.at(size))
    padded = np.pad(whole, ((4, 4), (3, 3), (0, 0)), mode=mode)
    crops = {
        padded[top : top + 32, left : left + 24].tobytes(): (top, left)
        for top in range(9)
        for left in range(7)
    }
    how = Augmentation("shifted", flip=False, jitter=0, border=border)
    places = [
        crops[augment(PHOTO, how, record, size, generator(0, epoch, 1)).tobytes()]
        for epoch in range(600)
    ]
    # Every place comes, about equally often: 600 draws of 63.
    counts = np.unique(places, axis=0, return_counts=True)[1]
    assert len(counts) == 63 and counts.max() < 30


def test_a_border_is_of_no_account_where_nothing_moves() -> None:
    for crop in ("none", "resized"):
        views = [
            augment(PHOTO, Augmentation(crop, border=border), COLOUR, (32, 32), generator(0, 0, 0))
            for border in ("edge", "reflection", "black")
        ]
        assert_array_equal(views[0], views[1])
        assert_array_equal(views[0], views[2])
