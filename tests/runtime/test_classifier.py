"""Photos to names in Python, with nothing of a training framework."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess


@pytest.fixture(scope="module")
def classify(model: Path) -> "mn.Classifier":
    return mn.Classifier(model)


def test_every_form_of_a_photo_gives_the_editions_answer(
    classify: "mn.Classifier", model: Path, photos: Path
) -> None:
    path = photos / "ball" / "00.png"
    network = mn.load(model)
    picture = preprocess(read_photo(path), network.config.preprocessing)
    logits = edition.predictor(network)(np.stack([picture]))[0].astype(np.float64)
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    image = Image.open(path)
    for photo in (path, str(path), path.read_bytes(), image, np.asarray(image.convert("RGB"))):
        np.testing.assert_allclose(classify(photo).probabilities, expected, atol=1e-5)


def test_the_top_is_ordered_and_named(classify: "mn.Classifier", photos: Path) -> None:
    best = classify(photos / "box" / "00.png").top(2)
    assert len(best) == 2 and best[0].probability >= best[1].probability
    assert best[0].label == ("triangle", "Ball", "box, crate")[best[0].index]
    assert sum(guess.probability for guess in classify(photos / "box" / "00.png").top()) == (
        pytest.approx(1)
    )


def test_a_list_gives_a_list_in_order(classify: "mn.Classifier", photos: Path) -> None:
    paths = sorted(photos.rglob("*.*"))[:11]
    found = classify(paths)
    assert len(found) == 11
    for path, answer in zip(paths, found, strict=True):
        np.testing.assert_allclose(answer.probabilities, classify(path).probabilities, atol=1e-5)
    assert classify([]) == []


def test_what_is_no_photo(classify: "mn.Classifier", tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the photo's bytes"):
        classify(b"text")
    with pytest.raises(ImageError, match=r"an array float64 of shape \[4, 4, 3\] is no picture"):
        classify(np.zeros((4, 4, 3)))
    with pytest.raises(ImageError, match=r"none\.jpg"):
        classify(tmp_path / "none.jpg")


def test_it_loads_no_training_framework(model: Path, photos: Path) -> None:
    code = (
        "import sys, mobilenetv2 as mn\n"
        f"mn.Classifier({str(model)!r})({str(photos / 'ball' / '00.png')!r}).top(1)\n"
        "print(*(set('torch keras tensorflow jax sklearn matplotlib'.split()) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
