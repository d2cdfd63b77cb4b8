"""The data that scikit-learn carries."""

import numpy as np
from sklearn.datasets import load_digits

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.data.sources import digits, photographs
from mobilenetv2.images.decode import decode


def test_there_are_1797_digits_of_10_classes_and_the_last_360_are_the_test() -> None:
    dataset = open_dataset("digits")
    assert dataset.classes == tuple("0123456789")
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 1437, "test": 360,
    }  # fmt: skip
    numbers = {
        name: sorted(int(photo.name[-8:-4]) for photo in split.photos)
        for name, split in dataset.splits.items()
    }
    assert numbers == {"train": list(range(1437)), "test": list(range(1437, 1797))}
    assert (dataset.ignored, dataset.split(None).name) == ((), "test")


def test_every_pixel_and_label_is_scikit_learns_dark_on_white() -> None:
    bunch = load_digits()
    dataset = open_dataset("digits")
    for split in dataset.splits.values():
        for photo in split.photos:
            index = int(photo.name[-8:-4])
            pixels = np.asarray(split.image(photo))
            assert pixels.shape == (8, 8, 3)
            assert (pixels == pixels[..., :1]).all()
            # 16 levels of ink: none is white, all of it is black, and nothing is lost.
            assert np.array_equal(np.round((255 - pixels[..., 0]) / 255 * 16), bunch.images[index])
            assert photo.label == bunch.target[index]


def test_the_levels_span_black_to_white() -> None:
    source = digits()
    names = [name for name in source.names() if name.endswith(".png")]
    levels = np.stack([np.asarray(decode(source.read(name), name)) for name in names[:200]])
    assert (levels.min(), levels.max(), len(np.unique(levels))) == (0, 255, 17)
    assert np.median(levels) > 150  # paper, not ink


def test_the_digits_pass_the_check_with_nothing_left_out() -> None:
    checked = check_dataset(open_dataset("digits"))
    assert checked.notes == []
    assert sum(map(len, checked.dataset.splits.values())) == 1797


def test_two_real_photographs() -> None:
    found = photographs()
    assert [(photo.mode, photo.size) for photo in found] == [("RGB", (640, 427))] * 2
    # Not the same, and not flat.
    pixels = [np.asarray(photo, np.float32) for photo in found]
    assert all(picture.std() > 30 for picture in pixels)
    assert np.abs(pixels[0] - pixels[1]).mean() > 20
