"""Logits to probabilities: the one place where it is done, for every kind of outputs."""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import NetworkSpec, Outputs

MOST_ANSWERS = 5
"""Classes of an answer, where nobody says how many."""


def softmax(logits: NDArray) -> NDArray:
    """Return probabilities that sum to 1 over the last axis, float64.

    They are NaN where a logit is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        exponents = np.exp(shifted)
        return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def sigmoid(logits: NDArray) -> NDArray:
    """Return each logit's own probability, float64, without overflow."""
    return np.asarray(np.exp(log_sigmoid(logits)))


def log_sigmoid(logits: NDArray) -> NDArray:
    """Return the logarithm of :func:`sigmoid`, float64; of 1 - sigmoid it is that of -logits.

    It is NaN where a logit is NaN.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))


def probabilities(logits: NDArray, outputs: Outputs = "softmax") -> NDArray:
    """Return a probability for each class.

    Args:
        logits: (..., classes), or (..., 1) for the outputs 'logit'.
        outputs: what the logits mean; see :data:`mobilenetv2.spec.network.Outputs`.

    Returns:
        float64 (..., classes). With 'logit' the two columns are those of the first class,
        1 - sigmoid, and of the second, sigmoid. With 'sigmoid' they do not sum to 1.
    """
    if outputs == "softmax":
        return softmax(logits)
    if outputs == "sigmoid":
        return sigmoid(logits)
    if outputs == "logit":
        logits = np.asarray(logits, np.float64)
        return sigmoid(np.concatenate([-logits, logits], axis=-1))
    assert_never(outputs)


def answering_classes(values: NDArray, outputs: Outputs, most: int | None = None) -> list[int]:
    """Return the classes that answer for one picture, the most probable first.

    Args:
        values: float (classes,): probabilities.
        most: how many at most; None is 5, or with 'sigmoid' outputs all of them.

    Returns:
        With 'sigmoid' outputs the classes above 0.5, of which there may be none.
    """
    order = [int(index) for index in np.argsort(-values, kind="stable")]
    if outputs == "sigmoid":
        return [index for index in order if values[index] > 0.5][:most]
    return order[: MOST_ANSWERS if most is None else most]


def require_answers(spec: NetworkSpec, where: str) -> None:
    """Raise for a network whose answer is always the same: a softmax over one class.

    Args:
        where: name of the model, for the message.

    Raises:
        SpecError: it is one.
    """
    if spec.logits == 1 and spec.classifier.outputs == "softmax":
        raise SpecError(
            f"{where}: a softmax over one class, whose probability is 100% for every photo; where "
            "the one output means two classes, its config.json needs two names in labels, classes "
            '2, and "outputs": "logit" in the classifier'
        )
