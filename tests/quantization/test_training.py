"""Quantisation-aware training mends a scheme that is deliberately bad."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mobilenetv2.cli.main import main
from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.editions.torch.network import normalise
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.calibration import observe
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.quantization.training import FakeQuantised, Recipe, loss_of, train
from mobilenetv2.spec.network import ClassifierSpec, Outputs
from mobilenetv2.spec.records import Labels, ModelConfig

OUTPUTS = [1, 2, 0]
"""Ball, box, triangle -> the outputs of the fixture ``model``."""


@pytest.fixture(scope="module")
def given(model: Path, photos: Path) -> tuple[ModelConfig, Arrays, Split, NDArray]:
    """A network, some photos, and these as uint8 pictures."""
    config, arrays = store.load(model)
    split = open_dataset(photos).splits["all"]
    pictures = np.stack([preprocess(split.image(p), config.preprocessing) for p in split.photos])
    return config, arrays, split, pictures


def bad_scheme(config: ModelConfig, arrays: Arrays, pictures: NDArray, times: float) -> Scheme:
    """Ranges so much too wide that little is left of eight bits: 16 times leaves four."""
    folded = fold(config.spec, arrays)
    ranges = {
        name: Range(times * float(one.low.min()), times * float(one.high.max()))
        for name, one in observe(lower_folded(config, folded), pictures).items()
    }
    ranges["input"] = Range(ranges["input"].low / times, ranges["input"].high / times)
    return Scheme(config, folded, ranges, method="bad")


def losses(
    scheme: Scheme, arrays: Arrays, pictures: NDArray, truth: list[int]
) -> tuple[float, float]:
    """(cross-entropy with the labels, divergence from the float network)."""
    x = torch.from_numpy(engine_input(pictures, scheme.config.preprocessing))
    with torch.no_grad():
        logits = FakeQuantised(scheme)(x)
        wanted = GraphModule(lower_folded(scheme.config, fold(scheme.config.spec, arrays)))(
            x
        ).softmax(1)
        return (
            float(functional.cross_entropy(logits, torch.tensor(truth))),
            float(functional.kl_div(logits.log_softmax(1), wanted, reduction="batchmean")),
        )


@pytest.fixture(scope="module")
def taught(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, quick: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """A network that knows the photos."""
    run = tmp_path_factory.mktemp("taught") / "shapes"
    assert main(["train", str(photos), "--output", str(run), "--epochs", "10", *quick]) == 0
    return store.load(run / "best")


@pytest.mark.slow
@pytest.mark.parametrize(("distillation", "left"), [(0.0, 0.5), (1.0, 0.8)])
def test_it_lowers_the_loss_of_a_bad_scheme(
    distillation: float,
    left: float,
    taught: tuple[ModelConfig, Arrays],
    given: tuple[ModelConfig, Arrays, Split, NDArray],
) -> None:
    (config, arrays), (_, _, split, pictures) = taught, given
    truth = [photo.label for photo in split.photos]
    scheme = bad_scheme(config, arrays, pictures, 16)
    still = Augmentation("none", flip=False, jitter=0.0)
    recipe = Recipe(epochs=12, batch_size=12, distillation=distillation, augmentation=still)
    trained = train(scheme, arrays, split, range(3), recipe)
    before, after = (losses(one, arrays, pictures, truth) for one in (scheme, trained))
    which = round(distillation)  # the labels, or the float network
    assert before[which] > 0.1 and after[which] < left * before[which]
    assert trained.ranges == scheme.ranges and trained.config == scheme.config
    assert trained.method == "bad, 12 epochs of quantisation-aware training"
    write_onnx(trained.quantised())  # what writes the one writes the other


def test_the_same_seed_gives_the_same_weights_and_a_little_moves_every_layer(
    given: tuple[ModelConfig, Arrays, Split, NDArray], capsys: pytest.CaptureFixture[str]
) -> None:
    config, arrays, split, pictures = given
    split = split.with_photos(split.photos[::3])
    scheme = bad_scheme(config, arrays, pictures, 1)
    recipe = Recipe(epochs=1, batch_size=4)
    one, two = (train(scheme, arrays, split, OUTPUTS, recipe) for _ in range(2))
    other = train(scheme, arrays, split, OUTPUTS, dataclasses.replace(recipe, seed=1))
    for name, (weight, bias) in scheme.folded.items():
        assert (one.folded[name][0] == two.folded[name][0]).all()
        assert (one.folded[name][1] == two.folded[name][1]).all()
        assert one.folded[name][0].dtype == one.folded[name][1].dtype == np.float32
        # Three steps of at most 1e-4 of the channel's largest.
        peaks = np.abs(weight).reshape(len(weight), -1).max(1)
        moved = np.abs(one.folded[name][0] - weight).reshape(len(weight), -1).max(1) / peaks
        assert 0 < moved.max() < 4e-4
        assert not (one.folded[name][1] == bias).all()
    assert any((one.folded[n][0] != other.folded[n][0]).any() for n in one.folded)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("quantisation-aware epoch 1/1: loss ") and len(lines) == 3


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid", "logit"])
def test_loss_and_answers_go_by_what_the_outputs_mean(
    outputs: Outputs,
    given: tuple[ModelConfig, Arrays, Split, NDArray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of one step without augmentation they are those of the network before it."""
    config, arrays, split, pictures = given
    names = ("ball", "box", "triangle")[: 2 if outputs == "logit" else 3]
    split = split.with_photos(tuple(p for p in split.photos if p.label < len(names)))
    spec = config.spec.replace(classes=len(names), classifier=ClassifierSpec(outputs=outputs))
    config = dataclasses.replace(config, spec=spec, labels=Labels(names))
    last = {f"classifier.{part}": arrays[f"classifier.{part}"] for part in ("weight", "bias")}
    arrays = arrays | {name: values[: spec.logits] for name, values in last.items()}
    scheme = bad_scheme(config, arrays, pictures, 1)
    with torch.no_grad():
        x = normalise(pictures[: len(split)], config.preprocessing)
        logits = FakeQuantised(scheme)(x).numpy()
    truth = np.array([photo.label for photo in split.photos])
    expected = measure(Predictions(logits, truth, names, outputs))
    still = Augmentation("none", flip=False, jitter=0.0)
    train(scheme, arrays, split, range(3), Recipe(1, len(split), 0.0, still))
    line = capsys.readouterr().err
    assert f"loss {expected.loss:.3f} top-1 {expected.top1:.1%}" in line


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid", "logit"])
def test_only_the_teachers_answers_are_without_loss(outputs: Outputs) -> None:
    shape = (4, 1 if outputs == "logit" else 3)
    answers, labels = torch.linspace(-2, 3, 4 * shape[1]).reshape(shape), torch.zeros(shape)
    logits = answers.clone().requires_grad_()
    loss = loss_of(logits, labels, answers, outputs, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6
    assert loss_of(answers + torch.eye(*shape), labels, answers, outputs, 1.0) > 0.01
