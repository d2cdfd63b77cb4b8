"""The canonical form: a dict of float arrays under the names of :mod:`mobilenetv2.spec.names`.

They lie as PyTorch lays them out: convolutions (out, in, height, width), depthwise (channels, 1,
height, width), linear (out, in). A :class:`Layout` says how another framework has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

Arrays = dict[str, NDArray]
LINEAR = (".project.conv.weight", ".shortcut.conv.weight")
"""Of convolutions without an activation."""


def check_arrays(spec: NetworkSpec, arrays: Arrays, where: str) -> None:
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


Shape = tuple[int, ...]
MOST_LINES = 350
"""Of a report: MobileNetV2 has 314 tensors."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is missing, what is too much, and what has another shape (expected, found)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    @property
    def size(self) -> int:
        """How many tensors differ."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def __str__(self) -> str:
        """One line for each tensor: '-' missing, '+' unexpected, '!' of another shape.

        A foreign file may list millions: only the first ``MOST_LINES`` are written out.
        """
        lines = [f"- {name}" for name in self.missing]
        lines += [f"+ {name}" for name in self.unexpected]
        lines += [
            f"! {name}: expected {list(expected)}, found {list(found)}"
            for name, (expected, found) in self.reshaped.items()
        ]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES:,} more"]
        return "\n".join(lines)

    def summary(self) -> str:
        """How many of each kind, with the first of each by name."""
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing (first: {self.missing[0]})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected (first: {self.unexpected[0]})")
        if self.reshaped:
            name, (expected, found) = next(iter(self.reshaped.items()))
            parts.append(
                f"{len(self.reshaped)} of another shape (first: {name}, "
                f"expected {list(expected)}, found {list(found)})"
            )
        return "; ".join(parts)


def compare_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> Difference:
    """Compare two tables of names and shapes."""
    return Difference(
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        reshaped={
            name: (tuple(shape), tuple(found[name]))
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        },
    )


def require_same(expected: Mapping[str, Shape], found: Mapping[str, Shape], where: str) -> None:
    """Raise with the whole difference unless the two tables are the same.

    Raises:
        WeightsError: one sentence with ``where`` in front, then a line for each tensor.
    """
    difference = compare_shapes(expected, found)
    if difference:
        raise WeightsError(
            f"{where}: the tensors do not fit the network: {difference.summary()}\n{difference}"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """A permutation of axes: canonical axis i is the foreign array's axis ``axes[i]``."""

    name: str
    axes: tuple[int, ...]
    ones: int = 0
    """Leading axes of length 1 that the foreign array has and the canonical one has not; ``axes``
    counts behind them."""

    def to_canonical(self, array: NDArray) -> NDArray:
        """Foreign to canonical, contiguous."""
        return np.ascontiguousarray(array.reshape(array.shape[self.ones :]).transpose(self.axes))

    def from_canonical(self, array: NDArray) -> NDArray:
        """Canonical to foreign, contiguous: the inverse permutation."""
        turned = array.transpose(np.argsort(self.axes))
        return np.ascontiguousarray(turned.reshape((1,) * self.ones + turned.shape))

    def shape(self, canonical: tuple[int, ...]) -> tuple[int, ...]:
        """The foreign array's shape."""
        inverse = np.argsort(self.axes).tolist()
        return (1,) * self.ones + tuple(canonical[axis] for axis in inverse)


TENSORFLOW_CONVOLUTION = Layout("(height, width, in, out)", (3, 2, 0, 1))
TENSORFLOW_DEPTHWISE = Layout("(height, width, channels, 1)", (2, 3, 0, 1))
TENSORFLOW_LINEAR = Layout("(in, out)", (1, 0))
SLIM_LINEAR = Layout("(1, 1, in, out)", (1, 0), ones=2)
LITERT_CONVOLUTION = Layout("(out, height, width, in)", (0, 3, 1, 2))
LITERT_DEPTHWISE = Layout("(1, height, width, channels)", (3, 0, 1, 2))
