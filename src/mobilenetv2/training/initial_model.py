"""The network that a run begins with: given weights with a new classifier, or from scratch.

The new classifier may be fitted on cached features before the network moves: every photo goes
through the frozen network once. That is logistic regression, a convex problem with one solution, so
scikit-learn's solver replaces a training loop: no learning rate, no epochs, seconds instead of
minutes.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.rebasing import rebase_on
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError, require
from mobilenetv2.evaluation.calibration import measure_tempered
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Predictions, predict_split
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import initialise, replace_classifier
from mobilenetv2.progress import say, track
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Outputs
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.training.job import Run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import sample

INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""scikit-learn's C; the one with the lowest validation loss is kept."""
MOST_ITERATIONS = 300
PLAIN = ClassifierSpec()
REBASED_ON = 256
"""Photos whose activations give a folded network its BatchNorm statistics."""


def initial_model(
    weights: Path | None, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """Return given weights with a new classifier, or a network from scratch.

    Raise RecipeError if the classes do not allow the classifier or it cannot be fitted alone.
    """
    labels, network, head = Labels(classes), recipe.network, recipe.classifier
    if head.outputs == "logit" and len(classes) != 2:
        raise RecipeError(
            f"classifier.outputs = 'logit' tells two classes apart, and these are {len(classes)}; "
            "set classifier.outputs=softmax (one of them) or sigmoid (any of them)"
        )
    if head.outputs == "softmax" and len(classes) == 1:
        raise RecipeError(
            f"classifier.outputs = 'softmax' chooses between classes, and {classes[0]!r} is the "
            "only one: it would always be the answer; give a second class folder, of what is not "
            "in this one (one number can tell the two apart: set classifier.outputs=logit)"
        )
    if weights is None:
        own = {"width": network.width, "size": network.size}
        changes = {name: value for name, value in own.items() if value is not None}
        spec = published(network.name, classes=len(classes), background=None, **changes)
        spec = spec.replace(classifier=_classifier(spec, recipe))
        seen = Preprocessing.default(spec)
        if recipe.data.view == "largest":
            seen = seen.largest()
        config = ModelConfig(spec, seen, labels, Origin("trained here"))
        return config, untrained(spec, recipe)
    config, given = store.load(weights)
    size = network.size or config.spec.size
    seen = config.preprocessing.at(size)
    config = dataclasses.replace(
        config,
        spec=config.spec.replace(size=size),
        preprocessing=seen.largest() if recipe.data.view == "largest" else seen,
    )
    classifier = _classifier(config.spec, recipe)
    config, arrays = replace_classifier(
        config, given, labels, network.initialisation, recipe.seed, classifier
    )
    new = [n for n in arrays if n.startswith("hidden.") and arrays[n] is not given.get(n)]
    if new and recipe.trained == "head":
        raise RecipeError(
            "trained = 'head' fits one linear layer, and classifier.hidden asks for new layers "
            "before it, which take steps; set trained=all or later, or leave classifier.hidden "
            "out"
        )
    return config, arrays


def _classifier(spec: NetworkSpec, recipe: Recipe) -> ClassifierSpec:
    """Return the classifier that a recipe asks for on a network."""
    known, asked = spec.classifier, recipe.classifier
    hidden = known.hidden if asked.hidden is None else asked.hidden
    return ClassifierSpec(asked.pooling or known.pooling, hidden, asked.bias, asked.outputs)


def untrained(spec: NetworkSpec, recipe: Recipe) -> Arrays:
    """Return fresh weights of a network."""
    return initialise(parameter_shapes(spec), recipe.network.initialisation, recipe.seed)


def rebased(config: ModelConfig, arrays: Arrays, train: Split) -> tuple[ModelConfig, Arrays]:
    """Give a network whose BatchNorm came folded the statistics of some training photos."""
    used = sample(train, REBASED_ON, 0)
    say(f"BatchNorm came folded: rebasing it on {len(used)} photos")
    pictures = [preprocess(used.image(photo), config.preprocessing) for photo in used.photos]
    return rebase_on(pictures, "training photos", config, arrays)


def fit_head(run: Run) -> None:
    """Fit the last layer on features that are computed once; ``run.fitted`` has its figures.

    Hidden layers stay as they are: with them the problem would not be convex.
    """
    answer, arrays = run.trainer.predictor("features"), run.trainer.dump()
    seen, spec, names = run.config.preprocessing, run.config.spec, run.splits.train.classes
    train, selection = (
        _through_hidden_layers(
            *predict_split(answer, split, seen, f"features of {split.name}"), spec, arrays
        )
        for split in (run.splits.train, run.splits.selection)
    )
    if spec.classifier.hidden:
        say("hidden layers stay as they are while the last one is fitted on what they give")
    head = fit_logistic(train, selection, names, spec.classifier)
    run.trainer.load(arrays | head.arrays)
    tempered = measure_tempered(
        predict_linear(head.arrays, selection, names, spec.classifier.outputs)
    )
    say(
        f"head on cached features: train top-1 {head.train.top1:.1%} | validation loss "
        f"{tempered.loss:.3f} top-1 {head.selection.top1:.1%} (C = {head.inverse_penalty:g})"
    )
    # Epoch 0, which may stay the best. Its training figures are of the photos as they are, those of
    # later epochs of augmented ones.
    run.fitted = {
        "epoch": 0, "learning_rate": 0.0, "train_loss": head.train.loss,
        "train_top1": head.train.top1, "selection_loss": tempered.loss,
        "selection_top1": tempered.top1, "seconds": 0.0, "images_per_second": 0.0,
    }  # fmt: skip


def _through_hidden_layers(
    features: NDArray, labels: NDArray, spec: NetworkSpec, arrays: Arrays
) -> tuple[NDArray, NDArray]:
    for layer in resolve(spec).linears[:-1]:
        features = features @ arrays[f"{layer.name}.weight"].T
        features = features + arrays.get(f"{layer.name}.bias", np.float32(0))
        if layer.activation:
            features = features.clip(0, 6 if layer.activation == "relu6" else None)
    return features, labels


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted last layer and how it was chosen."""

    arrays: Arrays
    """float32 ``classifier.weight`` (logits, features) and, with a bias, ``classifier.bias``."""
    inverse_penalty: float
    train: Metrics
    selection: Metrics


def fit_logistic(
    train: tuple[NDArray, NDArray], selection: tuple[NDArray, NDArray], names: tuple[str, ...],
    classifier: ClassifierSpec = PLAIN,
) -> Head:  # fmt: skip
    """Fit one layer for each penalty and keep the one with the lowest validation loss.

    Features are standardised while fitting, and that is folded into the result.

    Args:
        train: (float (photos, features), int (photos,)); every class has photos.
        selection: the same of the validation split.
        names: of the classes.
        classifier: what the outputs mean: one problem of n classes, one for each class ('sigmoid')
            or one for the second of two ('logit'); without a bias there is no intercept.
    """
    std = np.maximum(train[0].std(0), 1e-6)
    mean = train[0].mean(0) if classifier.bias else np.float32(0)
    standard = (train[0] - mean) / std

    def fitted(c: float) -> Head:
        coefficients, intercept = _solve(standard, train[1], len(names), c, classifier)
        arrays = {"classifier.weight": (coefficients / std).astype(np.float32)}
        if classifier.bias:
            shift = arrays["classifier.weight"] @ mean
            arrays["classifier.bias"] = (intercept - shift).astype(np.float32)
        measured = [
            measure(predict_linear(arrays, part, names, classifier.outputs))
            for part in (train, selection)
        ]
        return Head(arrays, c, *measured)

    todo = track(INVERSE_PENALTIES, "fitting the head", len(INVERSE_PENALTIES))
    return max(map(fitted, todo), key=_rank)


def predict_linear(
    arrays: Arrays, part: tuple[NDArray, NDArray], names: tuple[str, ...], outputs: Outputs
) -> Predictions:
    """Return what a last layer gives for (features, labels)."""
    features, labels = part
    logits = features @ arrays["classifier.weight"].T
    logits = logits + arrays.get("classifier.bias", np.float32(0))
    return Predictions(logits, labels, names, outputs)


def _solve(
    features: NDArray, labels: NDArray, classes: int, c: float, classifier: ClassifierSpec
) -> tuple[NDArray, NDArray]:
    """Return scikit-learn's solution: weights (logits, features) and biases (logits,)."""
    linear = require("sklearn.linear_model")

    def fit(wanted: NDArray) -> tuple[NDArray, NDArray]:
        model = linear.LogisticRegression(
            C=c, max_iter=MOST_ITERATIONS, fit_intercept=classifier.bias
        )
        with warnings.catch_warnings():
            # Not converged is fine: the validation split judges the result as it is.
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
            model.fit(features, wanted)
        return np.asarray(model.coef_), np.asarray(model.intercept_)

    if classifier.outputs == "sigmoid":
        rows = [fit(labels == index) for index in range(classes)]
        return np.concatenate([w for w, _ in rows]), np.concatenate([b for _, b in rows])
    coefficients, intercept = fit(labels)
    if classifier.outputs == "softmax" and classes == 2:  # one row, its sign telling which
        return (
            np.concatenate([-coefficients, coefficients]) / 2,
            np.concatenate([-intercept, intercept]) / 2,
        )
    return coefficients, intercept


def _rank(head: Head) -> tuple[float, float]:
    # As for epochs, the loss: top-1 accuracy is chance where the validation split is small.
    # Not tempered, for where photos are few no temperature follows.
    return -head.selection.loss, head.selection.top1
