"""Conversion of logits to probabilities, for every kind of outputs."""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import OutputError, SpecError, argument
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.network import Outputs

MOST_ANSWERS = 5
"""Default number of classes in an answer."""


def softmax(logits: NDArray) -> NDArray:
    """Return probabilities that sum to 1 over the last axis, float64.

    They are NaN if a logit is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        exponents = np.exp(shifted)
        return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def sigmoid(logits: NDArray) -> NDArray:
    """Return a separate probability for each logit, float64, without overflow."""
    return np.asarray(np.exp(log_sigmoid(logits)))


def log_sigmoid(logits: NDArray) -> NDArray:
    """Return the logarithm of :func:`sigmoid`, float64.

    ``log_sigmoid(-logits)`` is the logarithm of 1 - sigmoid. A NaN stays NaN.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))


def probabilities(logits: NDArray, outputs: Outputs = "softmax") -> NDArray:
    """Return a probability for each class.

    Args:
        logits: (..., classes), or (..., 1) for the outputs 'logit'.
        outputs: meaning of the logits, one of :data:`mobilenetv2.spec.network.Outputs`.

    Returns:
        float64 (..., classes). With 'logit' the two columns are 1 - sigmoid for the first class and
        sigmoid for the second. With 'sigmoid' they do not sum to 1.
    """
    if outputs == "softmax":
        return softmax(logits)
    if outputs == "sigmoid":
        return sigmoid(logits)
    if outputs == "logit":
        logits = np.asarray(logits, np.float64)
        return sigmoid(np.concatenate([-logits, logits], axis=-1))
    assert_never(outputs)


def logits_of(values: NDArray, outputs: Outputs) -> NDArray:
    """Return logits whose :func:`probabilities` are the given ones.

    Args:
        values: what a network with probabilities gives: (..., classes); with 'logit' outputs
            (..., 1), the probability of the second class.
        outputs: meaning of the network's logits.

    Returns:
        float64 (..., classes), or (..., 1) for 'logit'. With 'softmax' they differ from the
        network's own by one number for each image, which no answer depends on. A probability of 0
        becomes the least that a float32 holds.
    """
    given = np.asarray(values, np.float64)
    least = float(np.finfo(np.float32).tiny)
    logarithm = np.log(np.maximum(given, least))
    if outputs == "softmax":
        return np.asarray(logarithm)
    return np.asarray(logarithm - np.log(np.maximum(1 - given, least)))


def require_finite(values: NDArray, where: str) -> NDArray:
    """Return a network's outputs unchanged.

    Args:
        values: outputs of any shape.
        where: name of the model, for the message.

    Raises:
        OutputError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise OutputError(
            f"{where}: its outputs are not finite (NaN or infinity); its weights are damaged, or "
            "too large for what computes them"
        )
    return values


def require_probabilities(values: NDArray, outputs: Outputs, where: str) -> NDArray:
    """Return a network's probabilities unchanged.

    Args:
        values: what a network with probabilities gives, as in :func:`logits_of`.
        outputs: meaning of the network's logits.
        where: name of the model, for the message.

    Raises:
        OutputError: a value is not finite, or no probability, or those of a softmax do not sum
            to 1; integers of 8 bits round each by up to 1/512.
    """
    require_finite(values, where)
    rounding = 1 / 100
    outside = values.size and (values.min() < -rounding or values.max() > 1 + rounding)
    off = np.abs(values.sum(-1) - 1) if outputs == "softmax" else np.zeros(1)
    integers = len(np.unique(values)) <= 256
    if outside or (off > rounding + integers * values.shape[-1] / 512).any():
        raise OutputError(
            f"{where}: its outputs are no probabilities (from {values.min():.3g} to "
            f"{values.max():.3g}); it was changed or damaged"
        )
    return values


def answering_classes(values: NDArray, outputs: Outputs, most: int | None = None) -> list[int]:
    """Return the indices of the classes that answer for one image, the most probable first.

    Args:
        values: float (classes,): probabilities.
        most: maximum number; None means 5, or with 'sigmoid' outputs all of them.

    Returns:
        With 'sigmoid' outputs the classes above 0.5, which may be none.
    """
    order = np.argsort(-values, kind="stable")
    if outputs == "sigmoid":
        order = order[values[order] > 0.5]
    elif most is None:
        most = MOST_ANSWERS
    return [int(index) for index in order[:most]]


def require_answers(config: AnyConfig, where: str) -> None:
    """Raise if the network's answers mean nothing.

    Args:
        config: config of the network.
        where: name of the model, for the message.

    Raises:
        SpecError: the classifier was never trained, or is a softmax over one class.
    """
    if isinstance(config, ForeignConfig):
        if config.features:
            raise SpecError(
                f"{where}: a network without a classifier, which gives {config.logits} features, "
                f"but no classes; predict with {argument('features', True)}, or give "
                f"{argument('labels', 'FILE')} if they are classes"
            )
        return
    spec, origin = config.spec, config.origin
    if origin is not None and origin.untrained_classifier:
        raise SpecError(
            f"{where}: a network without a trained classifier (its file {origin.source!r} had "
            "none), which gives features, but no classes; train it on photos "
            f"({argument('weights', where)}), or predict with {argument('features', True)}"
        )
    if spec.logits == 1 and spec.classifier.outputs == "softmax":
        raise SpecError(
            f"{where}: a softmax over one class, whose probability is 100% for every photo; if "
            "the output means two classes, its config.json needs two names in labels, classes "
            '2, and "outputs": "logit" in the classifier'
        )
