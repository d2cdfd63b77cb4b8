import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.dataset import Photo, Split, open_dataset
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluate.accuracy import BATCH, run
from mobilenetv2.evaluate.metrics import measure
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing(size=(8, 6), resize=(8, 6))


def flat(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 10), (level, 255 - level, 7)).save(file, "PNG")
    return file.getvalue()


def split_of(count: int) -> Split:
    """Photo i is flat, of level i, and of class i % 3; they stand in a shuffled order."""
    order = np.random.default_rng(count).permutation(count).tolist()
    source = MemorySource("place", {f"{i}.png": flat(i) for i in range(count)})
    return Split("test", source, ("a", "b", "c"), tuple(Photo(f"{i}.png", i % 3) for i in order))


class Fake:
    """Answers with the red level of each picture, and keeps the shapes it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pictures: NDArray) -> NDArray:
        assert pictures.dtype == np.uint8
        self.shapes.append(pictures.shape)
        red = pictures[..., 0].mean((1, 2))
        return np.stack([red, -red], 1)


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 5 * BATCH + 3])
def test_outputs_and_labels_come_in_the_splits_order_with_a_short_last_batch(count: int) -> None:
    split, fake = split_of(count), Fake()
    outputs, labels = run(fake, split, RECORD)
    numbers = [int(photo.name.removesuffix(".png")) for photo in split.photos]
    assert_array_equal(outputs, np.stack([numbers, np.negative(numbers)], 1))
    assert_array_equal(labels, np.array(numbers) % 3)
    assert outputs.dtype == np.float32 and labels.dtype == np.int64
    full, rest = divmod(count, BATCH)
    assert fake.shapes == [(BATCH, 8, 6, 3)] * full + [(rest, 8, 6, 3)] * bool(rest)


def test_a_predictor_sees_the_pictures_of_preprocess() -> None:
    split, seen = split_of(5), list[NDArray]()
    record = Preprocessing(size=(6, 6), resize=(9, 9), mean=(110.0,), std=(50.0,))

    def predictor(pictures: NDArray) -> NDArray:
        seen.append(pictures)
        return np.zeros((len(pictures), 3), np.float64)

    run(predictor, split, record)
    expected = [preprocess(split.image(photo), record) for photo in split.photos]
    assert_array_equal(np.concatenate(seen), expected)


def test_a_perfect_and_a_wrong_predictor_are_measured_as_such() -> None:
    split = split_of(30)

    def perfect(pictures: NDArray) -> NDArray:
        return np.where(pictures[:, 0, 0, :1] % 3 == np.arange(3), 20.0, 0.0)

    right = measure(*run(perfect, split, RECORD), split.classes)
    wrong = measure(*run(lambda p: np.roll(perfect(p), 1, 1), split, RECORD), split.classes)
    assert (right.top1, wrong.top1) == (1, 0)
    assert right.loss < 1e-6 and wrong.loss == pytest.approx(20, abs=1e-6)


@pytest.mark.parametrize("data", [b"", flat(0)[:45]], ids=["empty", "cut short"])
def test_a_photo_that_cannot_be_read_is_named(data: bytes) -> None:
    split = split_of(12)
    files = {f"{i}.png": flat(i) for i in range(12)} | {"7.png": data}
    broken = Split("test", MemorySource("place", files), split.classes, split.photos)
    with pytest.raises(ImageError, match=r"^place/7\.png: "):
        run(Fake(), broken, RECORD)


def test_real_photos_of_a_folder_without_splits_come_one_a_class(
    public_folder: Callable[[str], Path],
) -> None:
    split = open_dataset(public_folder("imagenet-samples")).split(None)
    outputs, labels = run(Fake(), split, Preprocessing(size=(32, 32), resize=(36, 36)))
    assert_array_equal(labels, np.arange(100))
    assert outputs[:, 0].std() > 10  # real photos differ
