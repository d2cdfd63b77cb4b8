"""Logits to probabilities: the one place where it is done, for every kind of outputs."""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.spec.network import Outputs


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
    logits = np.asarray(logits, np.float64)
    return sigmoid(np.concatenate([-logits, logits], axis=-1))
