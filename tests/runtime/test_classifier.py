"""Photos to names in Python, with nothing of a training framework."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import softmax
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig


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
        assert answer.photo == path
        np.testing.assert_allclose(answer.probabilities, classify(path).probabilities, atol=1e-5)
    assert classify([]) == []


def test_a_list_in_a_file_gives_a_list_with_an_answer_for_a_missing_photo(
    classify: "mn.Classifier", photos: Path, tmp_path: Path
) -> None:
    good = photos / "ball" / "00.png"
    for name, line in (("list.txt", ""), ("list.csv", "path")):
        (tmp_path / name).write_text(f"{line}\n{good}\ngone.jpg\n")
    for given in (f"@{tmp_path}/list.txt", tmp_path / "list.csv"):
        several: Any = classify(given)
        first, second = several
        assert first.label == classify(good).label and first.error is None
        assert second.photo == tmp_path / "gone.jpg" and "cannot be opened" in str(second.error)


def test_what_is_no_photo(classify: "mn.Classifier", tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the photo's bytes"):
        classify(b"text")
    with pytest.raises(ImageError, match=r"an array float64 of shape \[4, 4, 3\] is no picture"):
        classify(np.zeros((4, 4, 3)))
    with pytest.raises(ImageError, match=r"none\.jpg"):
        classify(tmp_path / "none.jpg")


def test_a_folder_gives_its_answers_and_a_bad_photo_among_several_is_one(
    classify: "mn.Classifier", photos: Path
) -> None:
    found = classify([photos / "ball", b"text"])
    paths = sorted((photos / "ball").iterdir())
    assert [answer.photo for answer in found] == [*paths, None]
    assert [answer.label is None for answer in found] == [False] * 12 + [True]
    for folder in (photos / "ball", str(photos / "ball")):
        again: object = classify(folder)
        assert isinstance(again, list) and [answer.photo for answer in again] == paths


def test_an_array_of_the_networks_own_size_is_taken_as_it_is(tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.1, size=(96, 64), classes=3, head_channels=32)
    config = ModelConfig.default(spec)
    assert config.preprocessing.resize != config.preprocessing.size  # there is a margin to crop
    store.save(tmp_path / "m", config, random_arrays(spec))
    classify, loaded = mn.Classifier(tmp_path / "m"), load_model(tmp_path / "m")
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
    expected = softmax(loaded.predict(pixels[None]))[0]
    for photo in (pixels, Image.fromarray(pixels)):
        np.testing.assert_allclose(classify(photo).probabilities, expected, atol=1e-6)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    assert np.abs(classify(tmp_path / "own.png").probabilities - expected).max() > 1e-4


def test_it_says_what_it_is(classify: "mn.Classifier", model: Path) -> None:
    assert repr(classify) == f"Classifier('{model}', 3 classes, 32x32, onnxruntime)"
    assert repr(mn.Classifier()) == "Classifier('embedded', 10 classes, 32x32, onnxruntime)"
    torch = mn.Classifier(model, runtime="torch", threads=1)
    assert repr(torch).endswith("32x32, torch)")


def test_it_computes_in_pytorch_and_with_flips_too(model: Path, photos: Path) -> None:
    path = photos / "box" / "00.png"
    plain, flipped = (
        [mn.Classifier(model, runtime=runtime, flips=flips)(path).probabilities
         for runtime in ("onnxruntime", "torch")] for flips in (False, True)
    )  # fmt: skip
    np.testing.assert_allclose(plain[0], plain[1], atol=1e-4)
    np.testing.assert_allclose(flipped[0], flipped[1], atol=1e-4)
    assert np.abs(plain[0] - flipped[0]).max() > 1e-4


def test_it_loads_no_training_framework(model: Path, photos: Path) -> None:
    code = (
        "import sys, mobilenetv2 as mn\n"
        f"mn.Classifier({str(model)!r})({str(photos / 'ball' / '00.png')!r}).top(1)\n"
        "print(*(set('torch keras tensorflow jax sklearn matplotlib'.split()) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_a_network_in_memory_and_a_run_answer_as_their_folders_do(
    model: Path, trained: Path, photos: Path
) -> None:
    path, network = photos / "ball" / "00.png", mn.load(model)
    classify = mn.Classifier(network)
    expected = mn.Classifier(model)(path).probabilities
    assert repr(classify) == "Classifier('MobileNetV2', 3 classes, 32x32, onnxruntime)"
    assert classify.labels == network.config.labels.names
    np.testing.assert_array_equal(classify(path).probabilities, expected)
    (answer,) = mn.predict(path, network, runtime="torch")
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert mn.explain(path, network).answer.label == mn.Classifier(model)(path).label
    assert mn.parity(network, editions="numpy").model == "MobileNetV2"
    run = SimpleNamespace(best=trained / "best")
    found = mn.Classifier(run)(path).probabilities
    np.testing.assert_array_equal(found, mn.Classifier(trained / "best")(path).probabilities)


@pytest.mark.parametrize("given", [3, None, mn.NetworkSpec()])
def test_what_is_no_model_is_refused_with_what_is_taken(given: Any) -> None:
    with pytest.raises(mn.MobileNetV2Error, match=r"not a network .*, a model folder, .* the run"):
        mn.Classifier(given)
