"""BatchNorm folded into the convolution before it, and the way back.

Folded it is the same function in fewer operations: with ``factor = scale / sqrt(variance +
epsilon)`` the weight becomes ``weight * factor`` and the bias ``shift + (bias - mean) * factor``,
channel by channel.

A file of folded weights (LiteRT, most ONNX) comes in with every BatchNorm as an identity. In
training mode a framework normalises each channel by the statistics of the batch, and an identity
does not put back what that takes away: the network is destroyed before its first step. So it is
rebased on measured statistics first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.network import NetworkSpec

Folded = dict[str, tuple[NDArray, NDArray]]
"""Name of a layer ('stem', 'blocks.3.expand', 'hidden.0', 'classifier') -> (weight, bias)."""


def fold(spec: NetworkSpec, arrays: Arrays) -> Folded:
    """The whole network as pairs of a weight and a bias, in the order in which it runs.

    Args:
        arrays: canonical; they stay as they are.

    Returns:
        For each convolution (``stem``, ``blocks.3.expand`` ...) its weight (out, in / groups,
        kernel, kernel) and bias (out,), then for each linear layer (``hidden.0``, ``classifier``)
        (out, in) and (out,), which is zeros where the layer has no bias.
        Computed in float64, rounded once to float32. The identity that
        :func:`mobilenetv2.model.arrays.identity_batch_norm` makes folds back to the same bits.

    Raises:
        WeightsError: the arrays are not the spec's.
    """
    check_arrays(spec, arrays, "weights to fold")
    folded: Folded = {}
    for layer in resolve(spec).convolutions:
        weight = arrays[f"{layer.name}.conv.weight"].astype(np.float64)
        bias = arrays[f"{layer.name}.conv.bias"].astype(np.float64) if layer.bias else 0.0
        scale, shift, mean, variance = _batch_norm(arrays, layer.name)
        factor = scale / np.sqrt(variance + spec.numerics.epsilon)
        folded[layer.name] = (
            (weight * factor[:, None, None, None]).astype(np.float32),
            (shift + (bias - mean) * factor).astype(np.float32),
        )
    for linear in resolve(spec).linears:
        weight = arrays[f"{linear.name}.weight"].astype(np.float32)
        bias = arrays[f"{linear.name}.bias"] if linear.bias else np.zeros(len(weight))
        folded[linear.name] = (weight, bias.astype(np.float32))
    return folded


def _batch_norm(arrays: Arrays, name: str) -> Iterator[NDArray]:
    """Scale, shift, mean and variance behind a convolution, float64."""
    return (arrays[f"{name}.bn.{part}"].astype(np.float64) for part in BATCH_NORM)


SMALLEST_VARIANCE = 1e-8
"""A channel below this is dead: there is no scale to give it."""
NEIGHBOURS = np.arange(-32, 33) * 97 * 2.0**-23
"""Relative steps to the float32 numbers around one."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Statistics of one BatchNorm's input over pictures and positions, float64 (channels,)."""

    mean: NDArray
    variance: NDArray


def rebase(spec: NetworkSpec, arrays: Arrays, moments: Mapping[str, Moments]) -> Arrays:
    """Return the arrays with measured statistics in every BatchNorm, and the same function.

    A BatchNorm computes ``a * x + b``. With the mean m and the variance v of its input,
    ``scale = a * sqrt(v + epsilon)`` and ``shift = b + a * m`` keep a and b.

    Each output channel of a convolution is multiplied by a power of two that brings its variance to
    between 0.5 and 2. Behind a BatchNorm a kernel's scale changes nothing but how far a gradient
    step goes, and folding left each channel with another (kernel norms from 0.02 to 140 in Google's
    files), so that no learning rate would suit all.

    Args:
        arrays: canonical; they stay as they are.
        moments: of the input of each convolution's BatchNorm, by the convolution's name.

    Returns:
        Canonical arrays. Folded, they give what ``arrays`` give: the weights bit for bit where
        BatchNorm was an identity, the biases up to the rounding of the mean to float32.
    """
    epsilon, rebased = spec.numerics.epsilon, dict(arrays)
    for name, measured in moments.items():
        scale, shift, mean, variance = _batch_norm(arrays, name)
        a = scale / np.sqrt(variance + epsilon)
        b = shift - a * mean
        # What overflows on photos keeps what it has.
        finite = np.isfinite(measured.mean) & np.isfinite(measured.variance)
        mean = np.where(finite, measured.mean, mean)
        variance = np.where(finite, measured.variance, variance)
        alive = finite & (variance > SMALLEST_VARIANCE)
        factor = np.exp2(-np.rint(np.log2(np.where(alive, variance, 1)) / 2))
        a = a / factor
        for part, factors in (("weight", factor[:, None, None, None]), ("bias", factor)):
            key = f"{name}.conv.{part}"
            if key in arrays:
                rebased[key] = arrays[key] * factors.astype(np.float32)
        mean = (mean * factor).astype(np.float32)
        scale, variance = _scale_and_variance(a, variance * factor**2, epsilon)
        shift = (b + a * mean).astype(np.float32)
        values = dict(zip(BATCH_NORM, (scale, shift, mean, variance), strict=True))
        rebased |= {f"{name}.bn.{part}": array for part, array in values.items()}
    return rebased


def _scale_and_variance(a: NDArray, variance: NDArray, epsilon: float) -> tuple[NDArray, NDArray]:
    """Return float32 numbers near the variance and its scale that give ``a`` to some 1e-10.

    Rounded each by itself they give it to 6e-8, and a weight folded with it differs in its last
    bit. Of the numbers around them some pair does better.
    """
    near = np.abs(a) * np.sqrt(variance + epsilon)
    scales = (near[:, None] * (1 + NEIGHBOURS)).astype(np.float32).astype(np.float64)
    gains = np.where(a == 0, 1, np.abs(a))[:, None]
    variances = np.maximum((scales / gains) ** 2 - epsilon, 0).astype(np.float32)
    errors = np.abs(scales / np.sqrt(variances.astype(np.float64) + epsilon) / gains - 1)
    best = (np.arange(len(a)), errors.argmin(1))
    used = a != 0
    return (
        np.where(used, np.sign(a) * scales[best], 0).astype(np.float32),
        np.where(used, variances[best], variance).astype(np.float32),
    )
