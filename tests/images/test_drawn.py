"""Images that are drawn: the same ones every time, and as different as photos are."""

import numpy as np

from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing


def test_they_are_the_same_every_time_and_differ_from_each_other() -> None:
    record = Preprocessing.default(NetworkSpec(size=(48, 64)))
    found = sample_pictures(record, 5)
    assert found.shape == (5, 48, 64, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, sample_pictures(record, 5))
    np.testing.assert_array_equal(found[:2], sample_pictures(record, 2))
    flat = found.reshape(5, -1).astype(float)
    assert (np.abs(np.corrcoef(flat)[np.triu_indices(5, 1)]) < 0.9).all()
    assert (flat.std(1) > 20).all()


def test_grey_networks_get_grey_ones() -> None:
    record = Preprocessing.default(NetworkSpec(size=(32, 32), input_channels=1))
    assert sample_pictures(record).shape == (4, 32, 32, 1)
