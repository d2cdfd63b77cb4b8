"""The canonical form: a dict of float arrays under the names of :mod:`mobilenetv2.spec.names`."""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError
from mobilenetv2.model.difference import require_same
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

Arrays = dict[str, NDArray]
LINEAR = (".project.conv.weight", ".shortcut.conv.weight")
"""Of convolutions without an activation."""


def check(spec: NetworkSpec, arrays: Arrays, where: str) -> None:
    """Raise unless ``arrays`` are exactly the spec's tensors, finite, with variances >= 0.

    Raises:
        WeightsError: the whole difference, or the first tensor with impossible values.
    """
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    require_same(parameter_shapes(spec), shapes, where)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{where}: {name} has values that are not finite (NaN or infinity)")
        if name.endswith(".variance") and (array < 0).any():
            raise WeightsError(f"{where}: {name} has a variance below 0")


def identity_batch_norm(name: str, bias: NDArray, epsilon: float) -> Arrays:
    """A BatchNorm that changes nothing but adds ``bias``: for weights that came in folded.

    Args:
        name: the convolution's canonical name, e.g. ``blocks.3.expand``.
        bias: float of shape (channels,), the folded convolution's bias.
        epsilon: the network's BatchNorm epsilon; the variance makes up for it.

    Returns:
        scale 1, shift ``bias``, mean 0 and variance ``1 - epsilon``.
    """
    ones = np.ones_like(bias, dtype=np.float32)
    return {
        f"{name}.bn.scale": ones,
        f"{name}.bn.shift": bias.astype(np.float32),
        f"{name}.bn.mean": np.zeros_like(ones),
        f"{name}.bn.variance": np.full_like(ones, 1 - epsilon),
    }


def is_folded(arrays: Arrays) -> bool:
    """Whether every BatchNorm is such an identity: statistics that no training leaves."""
    scales = [array for name, array in arrays.items() if name.endswith(".bn.scale")]
    means = [array for name, array in arrays.items() if name.endswith(".bn.mean")]
    return all((array == 1).all() for array in scales) and not any(array.any() for array in means)


def random_arrays(spec: NetworkSpec, seed: int = 0) -> Arrays:
    """Weights for tests and measurements, with statistics far from the identity.

    Convolutions keep the signal's scale (He et al., fan-in); BatchNorm has random scales,
    shifts, means and variances, so that a port that swaps or forgets one is caught. The logits
    of a normal input have a standard deviation of the order of 1. Linear convolutions are drawn
    smaller, so that the sum of the residuals keeps its scale too, as in a trained network:
    otherwise it grows from block to block, and float32's rounding with it, thirtyfold.
    """
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name, shape in parameter_shapes(spec).items():
        part = name.rpartition(".")[2]
        if part == "weight":
            gain = 0.5 if name.endswith(LINEAR) else 2.0
            array = generator.normal(0, np.sqrt(gain / np.prod(shape[1:])), shape)
        elif part in ("scale", "variance"):
            array = generator.uniform(0.5, 1.5, shape)
        else:
            array = generator.normal(0, 0.3, shape)
        arrays[name] = array.astype(np.float32)
    return arrays
