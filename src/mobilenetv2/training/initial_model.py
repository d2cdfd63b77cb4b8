"""The initial network of a run: given weights with a new classifier, or from scratch.

The new classifier may be fitted on cached features before the whole network is trained. Each photo
then goes through the frozen network once. Fitting the classifier is logistic regression, a convex
problem, so that scikit-learn's solver replaces the training loop. It needs no learning rate and no
epochs, and takes seconds instead of minutes.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.rebasing import rebase_on
from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import RecipeError, recipe_key, require
from mobilenetv2.evaluation.calibration import measure_tempered
from mobilenetv2.evaluation.metrics import Metrics, measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.card import title
from mobilenetv2.model.initialisation import initialise, replace_classifier
from mobilenetv2.progress import say, track
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Outputs
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import TRAINED_HERE, Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.text import counted, escaped
from mobilenetv2.training.job import Run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import sample

INVERSE_PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Values of scikit-learn's C to try; the one with the lowest validation loss is kept."""
MOST_ITERATIONS = 300
PLAIN = ClassifierSpec()
REBASED_ON = 256
"""Number of photos that give a network with folded BatchNorm its new statistics."""


def initial_model(
    weights: Path | None, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """Return given weights with a new classifier, or a network from scratch.

    The config's origin is that of the weights; :func:`trained_origin` makes the run's of it.

    Raises:
        RecipeError: the recipe's classifier does not suit the classes, or cannot be fitted alone.
    """
    labels, network, head = Labels.of_folders(classes), recipe.network, recipe.classifier
    if head.outputs == "logit" and len(classes) != 2:
        raise RecipeError(
            f"classifier.outputs = 'logit' needs two classes, and the data has {len(classes)}; "
            "set classifier.outputs=softmax (one class per photo) or sigmoid (any number of "
            "classes per photo)"
        )
    if head.outputs == "softmax" and len(classes) == 1:
        raise RecipeError(
            f"classifier.outputs = 'softmax' needs at least two classes, and {classes[0]!r} is the "
            "only one; add a class folder of other photos (a single output can then separate the "
            "two: set classifier.outputs=logit)"
        )
    if weights is None:
        own = {"width": network.width, "size": network.size}
        changes = {name: value for name, value in own.items() if value is not None}
        spec = published(network.name, classes=len(classes), background=None, **changes)
        spec = spec.replace(classifier=_classifier(spec, recipe))
        seen = dataclasses.replace(Preprocessing.default(spec), decode=recipe.data.decode)
        if recipe.data.view == "largest":
            seen = seen.largest()
        config = ModelConfig(spec, seen, labels, Origin(TRAINED_HERE))
        return config, untrained(spec, recipe)
    config, given = store.load(weights)
    origin = config.origin
    size = network.size or config.spec.size
    seen = dataclasses.replace(config.preprocessing.at(size), decode=recipe.data.decode)
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
            "trained = 'head' fits only the last linear layer, and classifier.hidden adds new "
            "layers before it, which need training steps; give "
            f"{recipe_key('trained', 'all')} or {recipe_key('trained', 'later')}, or leave "
            "classifier.hidden out"
        )
    return dataclasses.replace(config, origin=origin), arrays


def trained_origin(config: ModelConfig, weights: Path | None, photos: int, data: str) -> Origin:
    """Return the origin of the network that a run trains.

    Args:
        config: as :func:`initial_model` returns it, with the origin of the initial weights.
        weights: the model folder of the initial weights; None for training from scratch.
        photos: number of training photos.
        data: name of the data; '' if it is private.
    """
    place = f" of {escaped(data)}" if data else ""
    step = f"on {counted(photos, 'photo')}{place} ({counted(config.classes, 'class')})."
    before = config.origin or Origin(TRAINED_HERE)
    if weights is None:
        return before.followed_by(f"Trained from scratch {step}")
    name = escaped(title(weights)) if before.source == TRAINED_HERE else before.source
    return before.followed_by(f"Fine-tuned from {name} {step}")


def _classifier(spec: NetworkSpec, recipe: Recipe) -> ClassifierSpec:
    """Return the classifier of a recipe for a network."""
    known, asked = spec.classifier, recipe.classifier
    hidden = known.hidden if asked.hidden is None else asked.hidden
    return ClassifierSpec(asked.pooling or known.pooling, hidden, asked.bias, asked.outputs)


def untrained(spec: NetworkSpec, recipe: Recipe) -> Arrays:
    """Return newly initialised weights for a network."""
    return initialise(parameter_shapes(spec), recipe.network.initialisation, recipe.seed)


def rebased(config: ModelConfig, arrays: Arrays, train: Split) -> tuple[ModelConfig, Arrays]:
    """Restore the BatchNorm layers of a folded network, with statistics of training photos."""
    used = sample(train, REBASED_ON, 0)
    say(f"the weights have folded BatchNorm: measuring new statistics on {len(used)} photos")
    pictures = [used.picture(photo, config.preprocessing) for photo in used.photos]
    return rebase_on(pictures, "training photos", config, arrays)


def fit_head(run: Run) -> None:
    """Fit the last layer on cached features, and store its figures in ``run.fitted``.

    Hidden layers are not changed: with them the problem would not be convex.
    """
    answer, arrays = run.trainer.predictor("features"), run.trainer.dump()
    spec, names = run.config.spec, run.splits.train.classes
    train, selection = (
        _through_hidden_layers(
            *run.answers(answer, split, f"features of {split.name}"), spec, arrays
        )
        for split in (run.splits.train, run.splits.selection)
    )
    if spec.classifier.hidden:
        say("only the last layer is fitted now; the hidden layers are not changed")
    head = run.group.first(lambda: fit_logistic(train, selection, names, spec.classifier))
    run.trainer.load(arrays | head.arrays)
    tempered = measure_tempered(
        predict_linear(head.arrays, selection, names, spec.classifier.outputs)
    )
    say(
        f"new classifier on cached features: train top-1 {head.train.top1:.1%} | validation loss "
        f"{tempered.loss:.3f} top-1 {head.selection.top1:.1%} (C = {head.inverse_penalty:g})"
    )
    # Epoch 0, which may remain the best. Its training figures are on photos without augmentation,
    # those of later epochs on augmented photos.
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
    """A fitted last layer, its penalty and its figures."""

    arrays: Arrays
    """Arrays of the layer, float32: ``classifier.weight`` (logits, features), and with a bias
    ``classifier.bias`` (logits,)."""
    inverse_penalty: float
    train: Metrics
    selection: Metrics


def fit_logistic(
    train: tuple[NDArray, NDArray], selection: tuple[NDArray, NDArray], names: tuple[str, ...],
    classifier: ClassifierSpec = PLAIN,
) -> Head:  # fmt: skip
    """Fit one layer for each penalty and return the one with the lowest validation loss.

    Features are standardised for fitting; the result applies to the features without it.

    Args:
        train: features, float (photos, features), and labels, int (photos,), of the training
            split; every class has photos.
        selection: features and labels of the validation split.
        names: names of the classes.
        classifier: meaning of the outputs. 'softmax' is one problem of n classes, 'sigmoid' one
            problem for each class, 'logit' one problem for the second of two classes. Without a
            bias there is no intercept.
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

    todo = track(INVERSE_PENALTIES, "fitting the classifier", len(INVERSE_PENALTIES))
    return max(map(fitted, todo), key=_rank)


def predict_linear(
    arrays: Arrays, part: tuple[NDArray, NDArray], names: tuple[str, ...], outputs: Outputs
) -> Predictions:
    """Return the predictions of a last layer for (features, labels)."""
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
            # A fit that has not converged is acceptable: the validation loss selects the best one.
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
            model.fit(features, wanted)
        return np.asarray(model.coef_), np.asarray(model.intercept_)

    if classifier.outputs == "sigmoid":
        rows = [fit(labels == index) for index in range(classes)]
        return np.concatenate([w for w, _ in rows]), np.concatenate([b for _, b in rows])
    coefficients, intercept = fit(labels)
    if classifier.outputs == "softmax" and classes == 2:  # one row, whose sign decides
        return (
            np.concatenate([-coefficients, coefficients]) / 2,
            np.concatenate([-intercept, intercept]) / 2,
        )
    return coefficients, intercept


def _rank(head: Head) -> tuple[float, float]:
    # The loss, as for epochs: with a small validation split, top-1 accuracy is mostly chance.
    # It is not temperature-scaled, since with few photos no temperature is fitted later.
    return -head.selection.loss, head.selection.top1
