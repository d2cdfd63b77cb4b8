"""The network that a run begins with: given weights with a new classifier, or from scratch.

The new classifier may be fitted on cached features before the network moves: every photo goes
through the frozen network once. That is multinomial logistic regression, a convex problem with one
solution, so scikit-learn's solver replaces a training loop: no learning rate, no epochs, seconds
instead of minutes.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import require
from mobilenetv2.evaluate.calibration import measure_tempered
from mobilenetv2.evaluate.metrics import Metrics, measure
from mobilenetv2.evaluate.predictions import Predictions, predict_split
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.classifier import replace_classifier
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.progress import say, track
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.train.job import Run
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.splits import sample

INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""scikit-learn's C: the choice is made on the selection photos."""
MOST_ITERATIONS = 300
REBASED_ON = 256
"""Photos whose activations give a folded network its BatchNorm statistics."""


def initial_model(
    weights: Path | None, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """Given weights with a new classifier, or a network from scratch: alike in every edition."""
    labels, network = Labels(classes), recipe.network
    if weights is None:
        changes = {"size": network.size} if network.size else {}
        spec = published(
            network.name, width=network.width, classes=len(classes), background=None, **changes
        )
        seen = Preprocessing.default(spec)
        if recipe.data.view == "largest":
            seen = seen.largest()
        config = ModelConfig(spec, seen, labels, Origin("trained here"))
        return config, untrained(spec, recipe)
    config, arrays = store.load(weights)
    size = network.size or config.spec.size
    seen = config.preprocessing.at(size)
    config = dataclasses.replace(
        config,
        spec=config.spec.replace(size=size),
        preprocessing=seen.largest() if recipe.data.view == "largest" else seen,
    )
    return replace_classifier(config, arrays, labels, network.initialisation, recipe.seed)


def untrained(spec: NetworkSpec, recipe: Recipe) -> Arrays:
    """Return fresh weights of a network."""
    return initialise(parameter_shapes(spec), recipe.network.initialisation, recipe.seed)


def rebased(config: ModelConfig, arrays: Arrays, train: Split) -> tuple[ModelConfig, Arrays]:
    """Give a network whose BatchNorm came folded the statistics of some training photos.

    Raises:
        MissingExtra: PyTorch, in which it is done for every edition, is not installed.
    """
    require("torch")
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import normalise
    from mobilenetv2.train.steps.torch_network import rebase

    photos_used = sample(train, REBASED_ON, 0)
    say(f"BatchNorm came folded: rebasing it on {len(photos_used)} photos")
    photos = [preprocess(photos_used.image(p), config.preprocessing) for p in photos_used.photos]
    network = edition.MobileNetV2(config, seed=0)
    edition.load(network, arrays)
    rebase(
        network,
        (
            normalise(np.stack(photos[i : i + 32]), config.preprocessing)
            for i in range(0, len(photos), 32)
        ),
    )
    assert config.origin is not None
    note = f"{config.origin.note} Rebased on measured activations.".strip()
    origin = dataclasses.replace(config.origin, folded=False, note=note)
    return dataclasses.replace(config, origin=origin), edition.dump(network)


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted classifier and how it was chosen."""

    weight: NDArray
    """float32 (classes, features)."""
    bias: NDArray
    """float32 (classes,)."""
    inverse_penalty: float
    train: Metrics
    selection: Metrics


def fit_head(run: Run) -> None:
    """Fit the classifier on features that are computed once; ``run.fitted`` has its figures."""
    features, seen = run.trainer.predictor("features"), run.config.preprocessing
    train, selection = (
        predict_split(features, split, seen, f"features of {split.name}")
        for split in (run.splits.train, run.splits.selection)
    )
    classes = run.splits.train.classes
    head = fit_logistic(train, selection, classes)
    classifier = {"classifier.weight": head.weight, "classifier.bias": head.bias}
    run.trainer.load(run.trainer.dump() | classifier)
    logits = selection[0] @ head.weight.T + head.bias
    tempered = measure_tempered(Predictions(logits, selection[1], classes))
    say(
        f"head on cached features: train top-1 {head.train.top1:.1%} | selection loss "
        f"{tempered.loss:.3f} top-1 {head.selection.top1:.1%} (C = {head.inverse_penalty:g})"
    )
    # Epoch 0, which may stay the best. Its training figures are of the photos as they are, those of
    # later epochs of augmented ones.
    run.fitted = {
        "epoch": 0, "learning_rate": 0.0, "train_loss": head.train.loss,
        "train_top1": head.train.top1, "selection_loss": tempered.loss,
        "selection_top1": tempered.top1, "seconds": 0.0, "images_per_second": 0.0,
    }  # fmt: skip


def fit_logistic(
    train: tuple[NDArray, NDArray], selection: tuple[NDArray, NDArray], names: tuple[str, ...]
) -> Head:
    """Fit one classifier for each penalty and keep that of the lowest loss on the selection photos.

    Features are standardised while fitting, and that is folded into the result.

    Args:
        train: (float (photos, features), int (photos,)); every class has photos.
        selection: the same for the photos that choose.
        names: of the classes.
    """
    linear = require("sklearn.linear_model")
    mean = train[0].mean(0)
    std = np.maximum(train[0].std(0), 1e-6)
    standard = (train[0] - mean) / std
    best: Head | None = None
    for c in track(INVERSE_PENALTIES, "fitting the head", len(INVERSE_PENALTIES)):
        model = linear.LogisticRegression(C=c, max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings():
            # Not converged is fine: the selection photos judge the result as it is.
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
            model.fit(standard, train[1])
        coefficients, intercept = _for_every_class(model, len(names))
        weight = (coefficients / std).astype(np.float32)
        bias = (intercept - weight @ mean).astype(np.float32)
        measured = [
            measure(Predictions(features @ weight.T + bias, labels, names))
            for features, labels in (train, selection)
        ]
        head = Head(weight, bias, c, *measured)
        if best is None or _rank(head) > _rank(best):
            best = head
    assert best is not None
    return best


def _for_every_class(model: object, classes: int) -> tuple[NDArray, NDArray]:
    """(classes, features) and (classes,): two classes come as one row, its sign telling which."""
    coefficients = np.asarray(model.coef_)  # type: ignore[attr-defined]
    intercept = np.asarray(model.intercept_)  # type: ignore[attr-defined]
    if classes == 2:
        return (
            np.concatenate([-coefficients, coefficients]) / 2,
            np.concatenate([-intercept, intercept]) / 2,
        )
    return coefficients, intercept


def _rank(head: Head) -> tuple[float, float]:
    # As for epochs, the loss: the share of right ones is chance where few photos choose. Not
    # tempered, for where photos are few no temperature follows.
    return -head.selection.loss, head.selection.top1
