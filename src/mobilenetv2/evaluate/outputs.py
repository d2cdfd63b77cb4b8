"""Until :mod:`mobilenetv2.model.outputs` is here: logits to probabilities."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Outputs = Literal["softmax", "sigmoid", "logit"]


def softmax(logits: NDArray) -> NDArray:
    """Return probabilities along the last axis, float64; NaN where a logit is NaN or infinite."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        exponents = np.exp(shifted)
        return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def probabilities(logits: NDArray, outputs: Outputs = "softmax") -> NDArray:
    """Return a probability for each class."""
    if outputs == "softmax":
        return softmax(logits)
    logits = np.asarray(logits, np.float64)
    if outputs == "logit":
        logits = np.concatenate([-logits, logits], axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
