"""Folding of BatchNorm into the convolution before it, and the way back.

Folding gives the same function in fewer operations. With ``factor = scale / sqrt(variance +
epsilon)`` the weight becomes ``weight * factor`` and the bias ``shift + (bias - mean) * factor``,
channel by channel.

A file of folded weights (LiteRT, most ONNX) is imported with every BatchNorm as an identity. In
training mode a framework normalises each channel by the statistics of the batch, and an identity
does not undo this, so that the first step would destroy the network. Therefore the network is
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
"""Weight and bias by layer name ('stem', 'blocks.3.expand', 'hidden.0', 'classifier')."""


def fold(spec: NetworkSpec, arrays: Arrays) -> Folded:
    """Return the whole network as pairs of a weight and a bias, in the order in which it runs.

    Args:
        arrays: canonical; they are not changed.

    Returns:
        For each convolution (``stem``, ``blocks.3.expand`` ...) its weight (out, in / groups,
        kernel, kernel) and bias (out,), then for each linear layer (``hidden.0``, ``classifier``)
        (out, in) and (out,); the bias is zeros if the layer has none. Computed in float64 and
        rounded once to float32. The identity that
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
    """Return the scale, shift, mean and variance after a convolution, as float64."""
    return (arrays[f"{name}.bn.{part}"].astype(np.float64) for part in BATCH_NORM)


SMALLEST_VARIANCE = 1e-8
"""Variance below which a channel counts as constant and is not rescaled."""
NEIGHBOURS = np.arange(-32, 33) * 97 * 2.0**-23
"""Relative distances to the float32 numbers around a number."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Statistics of a BatchNorm's input over images and positions, float64 (channels,)."""

    mean: NDArray
    variance: NDArray


def rebase(spec: NetworkSpec, arrays: Arrays, moments: Mapping[str, Moments]) -> Arrays:
    """Return the same function with measured statistics in every BatchNorm.

    A BatchNorm computes ``a * x + b``. With the mean m and the variance v of its input, ``scale = a
    * sqrt(v + epsilon)`` and ``shift = b + a * m`` keep a and b.

    Each output channel of a convolution is multiplied by a power of two that brings its variance to
    between 0.5 and 2. Before a BatchNorm a kernel's scale only changes how far a gradient step
    goes. Folding leaves each channel with a different scale (kernel norms from 0.02 to 140 in
    Google's files), so that no learning rate would suit all of them.

    Args:
        arrays: canonical; they are not changed.
        moments: statistics of the input of each convolution's BatchNorm, by the convolution's name.

    Returns:
        Canonical arrays. Folded, they equal ``arrays``: the weights bit for bit if BatchNorm was an
            identity, the biases up to the rounding of the mean to float32.
    """
    epsilon, rebased = spec.numerics.epsilon, dict(arrays)
    for name, measured in moments.items():
        scale, shift, mean, variance = _batch_norm(arrays, name)
        a = scale / np.sqrt(variance + epsilon)
        b = shift - a * mean
        # A channel that overflows on the photos keeps its statistics.
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
    """Return a float32 scale and variance that give ``a`` to a relative error of about 1e-10.

    Rounded separately they give it to 6e-8 only, and a weight folded with it differs in its last
    bit. So pairs of neighbouring numbers are searched.
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
