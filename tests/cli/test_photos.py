"""Photos named on a command line, as networks take them."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.cli.photos import photos as named
from mobilenetv2.cli.photos import pictures
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing


def test_folders_give_their_photos_at_any_depth_in_order(photos: Path) -> None:
    one = photos / "box" / "03.jpg"
    found = named([str(one), str(photos)])
    assert found[0] == one and len(found) == 37
    assert found[1:] == sorted(found[1:])
    with pytest.raises(DataError, match="no such photo or folder"):
        named([str(photos / "none")])


def test_pictures_are_preprocessed_and_stacked(photos: Path) -> None:
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    found = pictures([str(photos / "ball")], record)
    assert found.shape == (12, 32, 32, 3)
    expected = preprocess(read_photo(photos / "ball" / "02.png"), record)
    np.testing.assert_array_equal(found[2], expected)
