"""BatchNorm folded into the convolution before it: the same function in fewer operations.

With ``factor = scale / sqrt(variance + epsilon)`` the weight becomes ``weight * factor`` and the
bias ``shift + (bias - mean) * factor``, channel by channel.
"""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.blocks import resolve
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
        :func:`weights.canonical.identity_batch_norm` makes folds back to the same bits.

    Raises:
        WeightsError: the arrays are not the spec's.
    """
    check_arrays(spec, arrays, "weights to fold")
    folded: Folded = {}
    for layer in resolve(spec).convolutions:
        weight = arrays[f"{layer.name}.conv.weight"].astype(np.float64)
        bias = arrays[f"{layer.name}.conv.bias"].astype(np.float64) if layer.bias else 0.0
        scale, shift, mean, variance = (
            arrays[f"{layer.name}.bn.{part}"].astype(np.float64)
            for part in ("scale", "shift", "mean", "variance")
        )
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
