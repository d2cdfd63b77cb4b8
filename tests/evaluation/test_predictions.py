"""Answers taken some rows at a time are those of all at once, and take little memory."""

import io
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.dataset import Photo, Split, open_dataset
from mobilenetv2.data.opening import find_photos
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluation import predictions
from mobilenetv2.evaluation.calibration import measure_calibration
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.evaluation.predictions import (
    Predictions,
    answers_of,
    load_pictures,
    predict_split,
)
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.outputs import softmax
from mobilenetv2.runtime.bulk import BATCH
from mobilenetv2.spec.network import NetworkSpec, Outputs
from mobilenetv2.spec.records import Preprocessing

RECORD = Preprocessing(size=(8, 6), resize=(8, 6))


def numbered(logits: NDArray, labels: NDArray) -> Predictions:
    return Predictions(logits, labels, tuple(map(str, range(logits.shape[1]))))


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
    outputs, labels = predict_split(fake, split, RECORD)
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

    predict_split(predictor, split, record)
    expected = [preprocess(split.image(photo), record) for photo in split.photos]
    assert_array_equal(np.concatenate(seen), expected)


def test_a_perfect_and_a_wrong_predictor_are_measured_as_such() -> None:
    split = split_of(30)

    def perfect(pictures: NDArray) -> NDArray:
        return np.where(pictures[:, 0, 0, :1] % 3 == np.arange(3), 20.0, 0.0)

    right = measure(Predictions(*predict_split(perfect, split, RECORD), split.classes))
    rolled = predict_split(lambda p: np.roll(perfect(p), 1, 1), split, RECORD)
    wrong = measure(Predictions(*rolled, split.classes))
    assert (right.top1, wrong.top1) == (1, 0)
    assert right.loss < 1e-6 and wrong.loss == pytest.approx(20, abs=1e-6)


@pytest.mark.parametrize("data", [b"", flat(0)[:45]], ids=["empty", "cut short"])
def test_a_photo_that_cannot_be_read_is_named(data: bytes) -> None:
    split = split_of(12)
    files = {f"{i}.png": flat(i) for i in range(12)} | {"7.png": data}
    broken = Split("test", MemorySource("place", files), split.classes, split.photos)
    with pytest.raises(ImageError, match=r"^place/7\.png: "):
        predict_split(Fake(), broken, RECORD)


def test_real_photos_of_a_folder_without_splits_come_one_a_class(
    public_folder: Callable[[str], Path],
) -> None:
    split = open_dataset(public_folder("imagenet-samples")).split(None)
    outputs, labels = predict_split(Fake(), split, Preprocessing(size=(32, 32), resize=(36, 36)))
    assert_array_equal(labels, np.arange(100))
    assert outputs[:, 0].std() > 10  # real photos differ


def drawn(photos: int, classes: int) -> tuple[NDArray, NDArray]:
    random = np.random.default_rng([photos, classes])
    logits = random.normal(0, 3, (photos, classes)).astype(np.float32)
    return logits, random.integers(0, classes, photos)


def test_rows_are_divided_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "AT_ONCE", 30)
    for shape, lengths in (
        ((10, 7), [4, 4, 2]),
        ((3, 100), [1, 1, 1]),
        ((0, 5), []),
        ((2, 0), [2]),
    ):
        parts = [part for part, _ in numbered(np.zeros(shape), np.zeros(shape[0], int)).parts()]
        assert [part.stop - part.start for part in parts] == lengths
        assert [row for part in parts for row in range(part.start, part.stop)] == list(
            range(shape[0])
        )


@pytest.mark.parametrize("at_once", [1, 40, 2**20])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_they_are_those_of_all_probabilities(
    at_once: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "AT_ONCE", at_once)
    logits, truth = drawn(50, 9)
    found = answers_of(numbered(logits, truth).scaled(scale))
    probabilities = softmax(scale * logits)
    assert_array_equal(found.classes, logits.argmax(1))
    assert_array_equal(found.right, logits.argmax(1) == truth)
    assert_allclose(found.confidence, probabilities.max(1), rtol=1e-12)
    assert_allclose(found.of_truth, probabilities[np.arange(50), truth], rtol=1e-12)
    squares = ((probabilities - np.eye(9)[truth]) ** 2).sum(1)
    assert_allclose(found.distance, squares, rtol=1e-12)


def test_a_certain_and_right_answer_is_at_no_distance() -> None:
    found = answers_of(numbered(np.array([[40.0, 0.0], [0.0, 700.0]]), np.array([0, 1])))
    assert (found.distance >= 0).all() and found.distance.max() < 1e-30


def test_where_the_network_gives_no_numbers_there_are_none() -> None:
    logits = np.array([[np.nan, 1.0], [np.inf, 0.0], [0.0, 1.0]])
    found = answers_of(numbered(logits, np.array([0, 0, 1])))
    assert [math.isnan(value) for value in found.confidence] == [True, True, False]
    assert_array_equal(np.isnan(found.of_truth), np.isnan(found.distance))


def test_figures_take_less_memory_than_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "AT_ONCE", 2**16)
    logits, truth = drawn(20_000, 200)
    names = tuple(map(str, range(200)))
    tracemalloc.start()
    try:
        measure(Predictions(logits, truth, names))
        measure_calibration(numbered(logits, truth))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * logits.nbytes


def test_pictures_are_preprocessed_and_stacked(photos: Path) -> None:
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    paths = find_photos([str(photos / "ball")])
    found = load_pictures(paths, record)
    assert found.shape == (12, 32, 32, 3)
    expected = preprocess(read_photo(photos / "ball" / "02.png"), record)
    assert_array_equal(found[2], expected)


NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("logits", "truth", "names", "outputs"),
    [
        ((4, 3), (4, 3), NAMES, "softmax"),
        ((4, 2), (4,), NAMES, "softmax"),
        ((4, 3), (3,), NAMES, "softmax"),
        ((4, 3), (4, 2), NAMES, "sigmoid"),
        ((4, 3), (4,), NAMES, "logit"),
        ((4, 1), (4,), NAMES, "logit"),
        ((4, 2), (4,), NAMES[:2], "logit"),
        ((4, 1), (4, 2), NAMES[:2], "logit"),
    ],
)
def test_what_does_not_fit_is_refused(
    logits: tuple[int, ...], truth: tuple[int, ...], names: tuple[str, ...], outputs: Outputs
) -> None:
    with pytest.raises(ValueError, match=f"{outputs!r}"):
        Predictions(np.zeros(logits), np.zeros(truth, int), names, outputs)


def test_any_of_n_is_a_yes_or_no_to_each_class_of_each_photo() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 3.0]])
    given = Predictions(logits, np.array([[1, 0], [0, 0]]), ("a", "b"), "sigmoid")
    found = given.decisions()
    assert (found.outputs, found.names) == ("logit", ("no", "yes"))
    assert found.logits.tolist() == [[2], [-1], [0.5], [3]] and found.truth.tolist() == [1, 0, 0, 0]
    answered = answers_of(found)
    assert answered.right.tolist() == [True, True, False, False]
    sigmoid = 1 / (1 + np.exp(-logits))
    assert_allclose(answered.confidence, np.maximum(sigmoid, 1 - sigmoid).ravel())
    labelled = Predictions(logits, np.array([0, 1]), ("a", "b"), "sigmoid")
    assert labelled.targets.tolist() == [[True, False], [False, True]]
    assert given.several and not labelled.several


def test_the_answer_of_one_logit_is_the_side_of_0_on_which_it_lies() -> None:
    given = Predictions(np.array([[3.0], [-1.0], [0.0]]), np.array([1, 1, 0]), ("a", "b"), "logit")
    found = answers_of(given)
    assert found.classes.tolist() == [1, 0, 0]
    assert_allclose(found.confidence, [1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1)), 0.5])
    assert_allclose(found.of_truth, [1 / (1 + np.exp(-3)), 1 / (1 + np.e), 0.5])
