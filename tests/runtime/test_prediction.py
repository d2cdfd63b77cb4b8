"""``predict``: a stream of answers; what is raised before the first; photos of every kind."""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.errors import DataError, MobileNetV2Error, WeightsError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.photo import Photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.answers import Answer, Features, Unreadable
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.runtime.prediction import predict


def expected(model: Path, paths: list[Path]) -> np.ndarray:
    loaded = load_model(model)
    pictures = [preprocess(read_photo(path), loaded.config.preprocessing) for path in paths]
    return probabilities(np.concatenate([loaded.predict(one[None]) for one in pictures]))


def test_a_folder_is_answered_in_order_and_a_bad_photo_is_an_answer(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos / "ball", tmp_path / "b")
    shutil.copy(photos / "box" / "00.png", tmp_path / "a.png")
    (tmp_path / "b" / "03.jpg").write_text("no picture")
    paths = [tmp_path / "a.png", *sorted((tmp_path / "b").iterdir())]
    found = list(predict(tmp_path, model))
    assert [answer.photo for answer in found] == paths
    assert [type(answer) for answer in found] == [Unreadable if i == 4 else Answer
                                                  for i in range(13)]  # fmt: skip
    assert str(found[4].error).startswith(f"{paths[4]}: not a picture")
    good = [answer for answer in found if answer.error is None]
    values = expected(model, [path for path in paths if path != paths[4]])
    for answer, row in zip(good, values, strict=True):
        np.testing.assert_allclose(answer.probabilities, row, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_batch_changes_nothing(batch: int, model: Path, photos: Path) -> None:
    paths = sorted((photos / "box").iterdir())
    found = [answer.probabilities for answer in predict(paths, model, batch=batch)]
    np.testing.assert_allclose(found, expected(model, paths), atol=1e-5)


def test_photos_in_memory_are_answered_too(model: Path, photos: Path) -> None:
    path = photos / "ball" / "00.png"
    image = Image.open(path)
    given: list[Photo] = [str(path), path.read_bytes(), image, np.asarray(image), b"text"]
    *found, last = predict(given, model)
    assert [answer.photo for answer in found] == [path, None, None, None]
    for answer in found:
        np.testing.assert_allclose(answer.probabilities, expected(model, [path])[0], atol=1e-5)
    assert isinstance(last, Unreadable) and "the photo's bytes" in str(last.error)


def test_an_endless_iterator_is_taken_as_it_comes(model: Path) -> None:
    taken = 0

    def camera() -> Iterator[Photo]:
        nonlocal taken
        for taken in itertools.count(1):
            yield np.full((32, 32, 3), taken % 256, np.uint8)

    found = list(itertools.islice(predict(camera(), model, batch=1), 5))
    assert len(found) == 5 and 5 <= taken < 40
    assert list(predict(iter([]), model)) == list(predict([], model)) == []


def test_few_photos_are_in_memory_at_a_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    def counted(*words: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return np.zeros((32, 32, 3), np.uint8), ()

    monkeypatch.setattr("mobilenetv2.runtime.stream.network_picture_noted", counted)
    stream = predict([b""] * 5000, model)
    next(stream)
    assert decoded < 4000
    assert sum(1 for _ in stream) == 4999 and decoded == 5000


def test_what_makes_no_sense_is_raised_before_the_first_answer(
    model: Path, photos: Path, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"x\.jpg and y\.jpg: no such photo or folder"):
        predict(["x.jpg", photos, "y.jpg"], model)
    with pytest.raises(DataError, match="no photos in this folder"):
        predict(tmp_path, model)
    with pytest.raises(DataError, match="a run, not photos; did you mean it as the model"):
        predict(trained)
    with pytest.raises(DataError, match="a int is neither a photo nor a list"):
        predict(5, model)  # type: ignore[call-overload]
    with pytest.raises(WeightsError, match="no such model folder"):
        predict(photos, tmp_path / "none")
    with pytest.raises(MobileNetV2Error, match="batch 0 must be at least 1"):
        predict(photos, model, batch=0)


def test_features_are_the_pooled_ones(model: Path, photos: Path) -> None:
    path = photos / "ball" / "00.png"
    good, bad = predict([path, b"text"], model, features=True)
    assert isinstance(good, Features) and isinstance(bad, Unreadable)
    network = mn.load(model)
    picture = preprocess(read_photo(path), network.config.preprocessing)
    loaded = load_model(model, "features", runtime="torch")
    np.testing.assert_allclose(good.features, loaded.predict(np.stack([picture]))[0], atol=1e-4)
    assert good.photo == path and good.features.shape == (1280,)


def test_the_progress_is_shown_where_it_is_asked_for(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = []

    def track(items: Iterator[Any], label: str, total: Callable[[], int | None]) -> Iterator[Any]:
        yield from items
        tracked.append((label, total()))

    monkeypatch.setattr("mobilenetv2.runtime.stream.track", track)
    ball = photos / "ball"
    assert len(list(predict(ball, model))) == len(list(predict(iter([ball]), model, progress=True)))
    assert tracked == []
    assert len(list(predict(ball, model, progress=True))) == 12 and tracked == [("predicting", 12)]


def test_it_loads_no_training_framework(model: Path, photos: Path) -> None:
    code = (
        "import sys, mobilenetv2 as mn\n"
        f"next(mn.predict({str(photos)!r}, {str(model)!r}))\n"
        "print(*(set('torch keras tensorflow jax sklearn matplotlib'.split()) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
