"""Canonical weights: a dict of float arrays with the names of :mod:`mobilenetv2.spec.names`.

The layouts are PyTorch's: convolutions (out, in, height, width), depthwise (channels, 1, height,
width), linear (out, in). A :class:`Layout` converts to and from another framework's.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.names import is_classifier, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

Arrays = dict[str, NDArray]
LINEAR = (".project.conv.weight", ".shortcut.conv.weight")
"""Ends of the names of convolutions without an activation."""


def check_arrays(spec: NetworkSpec, arrays: Arrays, where: str) -> None:
    """Raise unless ``arrays`` are exactly the spec's tensors, finite, with variances >= 0.

    Raises:
        WeightsError: names or shapes differ (the message lists all differences), or a tensor has
            impossible values (the message names the first one).
    """
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    require_same(parameter_shapes(spec), shapes, where)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{where}: {name} has values that are not finite (NaN or infinity)")
        if name.endswith(".variance") and (array < 0).any():
            raise WeightsError(f"{where}: {name} has a variance below 0")


def identity_batch_norm(name: str, bias: NDArray, epsilon: float) -> Arrays:
    """Return a BatchNorm that only adds ``bias``, for weights that were imported folded.

    Args:
        name: the convolution's canonical name, e.g. ``blocks.3.expand``.
        bias: float of shape (channels,), the folded convolution's bias.
        epsilon: the network's BatchNorm epsilon; the variance compensates for it.

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
    """Return True if every BatchNorm has scale 1 and mean 0, which no training produces."""
    scales = [array for name, array in arrays.items() if name.endswith(".bn.scale")]
    means = [array for name, array in arrays.items() if name.endswith(".bn.mean")]
    return all((array == 1).all() for array in scales) and not any(array.any() for array in means)


def digests(arrays: Arrays) -> tuple[str, str]:
    """Return checksums of the body's arrays and of the classifier's, each as float32."""
    body, classifier = hashlib.sha256(), hashlib.sha256()
    for name in sorted(arrays):
        part = classifier if is_classifier(name) else body
        part.update(name.encode())
        part.update(np.ascontiguousarray(arrays[name], "<f4").data)
    return body.hexdigest(), classifier.hexdigest()


def random_arrays(spec: NetworkSpec, seed: int = 0) -> Arrays:
    """Return random weights for tests and measurements, with statistics far from the identity.

    Convolutions keep the scale of their input (He et al., fan-in). BatchNorm has random scales,
    shifts, means and variances, so that a conversion that swaps or forgets one is detected. The
    logits for a normally distributed input have a standard deviation of about 1. Convolutions
    without an activation get smaller weights; otherwise the sum of the residuals, and the float32
    rounding error with it, would grow thirtyfold from block to block.
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
"""Maximum number of lines of a report; MobileNetV2 has 314 tensors."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Differences between two tables of tensors: missing, unexpected and reshaped ones.

    Shapes in ``reshaped`` are (expected, found).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    @property
    def size(self) -> int:
        """Number of tensors that differ."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def __str__(self) -> str:
        """Return one line for each tensor: '-' missing, '+' unexpected, '!' of another shape.

        A foreign file may list millions of tensors, so only the first ``MOST_LINES`` are shown.
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
        """Return the number of tensors of each kind of difference, with the name of the first."""
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
    """Return the differences between two tables of names and shapes."""
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
    """Raise unless two tables of names and shapes are equal.

    Raises:
        WeightsError: a sentence that begins with ``where``, then one line for each tensor.
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
    """Number of leading axes of length 1 that only the foreign array has.

    ``axes`` counts the axes after them.
    """

    def to_canonical(self, array: NDArray) -> NDArray:
        """Return a foreign array in the canonical layout, contiguous."""
        return np.ascontiguousarray(array.reshape(array.shape[self.ones :]).transpose(self.axes))

    def from_canonical(self, array: NDArray) -> NDArray:
        """Return a canonical array in the foreign layout, contiguous."""
        turned = array.transpose(np.argsort(self.axes))
        return np.ascontiguousarray(turned.reshape((1,) * self.ones + turned.shape))

    def shape(self, canonical: tuple[int, ...]) -> tuple[int, ...]:
        """Return the foreign array's shape for a canonical shape."""
        inverse = np.argsort(self.axes).tolist()
        return (1,) * self.ones + tuple(canonical[axis] for axis in inverse)


TENSORFLOW_CONVOLUTION = Layout("(height, width, in, out)", (3, 2, 0, 1))
TENSORFLOW_DEPTHWISE = Layout("(height, width, channels, 1)", (2, 3, 0, 1))
TENSORFLOW_LINEAR = Layout("(in, out)", (1, 0))
SLIM_LINEAR = Layout("(1, 1, in, out)", (1, 0), ones=2)
LITERT_CONVOLUTION = Layout("(out, height, width, in)", (0, 3, 1, 2))
LITERT_DEPTHWISE = Layout("(1, height, width, channels)", (3, 0, 1, 2))
