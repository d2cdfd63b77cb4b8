"""Chain of convolutions in a foreign graph, shared by the readers of graphs.

Names in an exported graph come from a converter and mean little, so the network is recognised by
its structure. A reader passes each operator, in the order in which they run, to a :class:`Chain`.
The chain checks that they form a MobileNetV2: one path from the image to the pooling, with
additions of blocks' inputs. A damaged graph or another network is a DialectError that names the
place.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import DialectError
from mobilenetv2.spec.blocks import padding
from mobilenetv2.spec.network import ClassifierSpec

NOT_OURS = "not a MobileNetV2 classifier"
PLAIN_HEAD = ClassifierSpec()
"""Head that is expected if the file has no config of this package."""
Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros ((top, bottom), (left, right)) in pixels."""
UNPADDED: Pads = ((0, 0), (0, 0))
UNBOUNDED = (-math.inf, math.inf)
ACTIVATIONS = {UNBOUNDED: "", (0.0, math.inf): "relu", (0.0, 6.0): "relu6"}


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor on the chain: a convolution's output after ``state`` changes."""

    step: int
    state: int


PICTURE = Place(-1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm:
    """Four BatchNorm tensors of shape (channels,), with epsilon and momentum."""

    scale: NDArray
    shift: NDArray
    mean: NDArray
    variance: NDArray
    epsilon: float
    momentum: float | None = None
    """Share of the old average, if the file has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One convolution in canonical layout, and what follows it until the next one."""

    source: Place
    depthwise: bool
    weight: NDArray
    bias: NDArray | None
    stride: int
    padding: str
    """Padding rule: 'same', 'symmetric', 'either' if both agree at this size, or '' at stride 1."""
    bounds: tuple[float, float] = UNBOUNDED
    """Bounds of the output's values; (0, 6) is ReLU6."""
    batch_norm: BatchNorm | None = None
    added: Place | None = None
    """Tensor that is added after it: the block's input, or its projection."""
    projection: "Step | None" = None
    """Convolution of a projection shortcut, which :meth:`Chain.finish` sets."""

    @property
    def activation(self) -> str:
        """Name of the activation: 'relu6', 'relu', '' for none, or other bounds in words."""
        return ACTIVATIONS.get(self.bounds, f"bounds {self.bounds[0]:g} to {self.bounds[1]:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """One linear layer after the pooling."""

    weight: NDArray
    """Weight as float32 (outputs, inputs)."""
    bias: NDArray
    """Bias as float32 (outputs,)."""
    activation: str = ""
    """Activation of a hidden layer, as in :attr:`Step.activation`."""


def in_order(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield every convolution in canonical order: a projection after its block's others."""
    for step in steps:
        yield step
        if step.projection is not None:
            yield step.projection


class Chain:
    """Convolutions found so far; the methods that add to it return the place of the new tensor."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._states: list[int] = []

    def __len__(self) -> int:
        return len(self._steps)

    def convolve(self, step: Step) -> Place:
        """Append a convolution of ``step.source``."""
        if self._steps and step.source == PICTURE:
            raise DialectError(f"{NOT_OURS}: a second convolution takes the image")
        self._steps.append(step)
        self._states.append(0)
        return Place(len(self._steps) - 1, 0)

    def __getitem__(self, place: Place) -> Step:
        """Return the convolution that computes ``place``."""
        return self._steps[place.step]

    def ends_body(self, place: Place) -> bool:
        """Return True if a body may end at ``place``: behind an activated 1 x 1 convolution.

        In a block a depthwise convolution follows it, so that any other layer belongs to the head.
        """
        if place == PICTURE:
            return False
        step = self._steps[place.step]
        pointwise = not step.depthwise and step.weight.shape[2:] == (1, 1)
        return pointwise and step.bounds != UNBOUNDED and step.added is None

    def bound(self, place: Place, low: float, high: float) -> Place:
        """Limit values to bounds, as an activation does; repeated bounds are combined."""
        step = self._untouched(place, "an activation")
        bounds = (max(step.bounds[0], low), min(step.bounds[1], high))
        return self._change(place, bounds=bounds)

    def normalise(self, place: Place, batch_norm: BatchNorm) -> Place:
        """Add a BatchNorm directly after a convolution."""
        step = self._linear(place, "a BatchNorm")
        if step.batch_norm is not None:
            raise DialectError(f"{NOT_OURS}: two BatchNorms after one convolution")
        return self._change(place, batch_norm=batch_norm)

    def affine(self, place: Place, factor: NDArray, offset: NDArray) -> Place:
        """Apply ``y * factor + offset`` per channel: a bias, or a BatchNorm as arithmetic."""
        step = self._linear(place, "an addition or a product with a constant")
        if step.batch_norm is not None:
            raise DialectError(f"{NOT_OURS}: a constant is applied after a BatchNorm")
        channels = step.weight.shape[0]
        if {factor.size, offset.size} - {1, channels}:
            raise DialectError(f"a constant of another size than the {channels} channels before it")
        factor, offset = (np.broadcast_to(x.ravel(), channels) for x in (factor, offset))
        bias = np.zeros(channels) if step.bias is None else step.bias.astype(np.float64)
        weight = step.weight
        if (factor != 1).any():
            weight = (weight * factor.astype(np.float64)[:, None, None, None]).astype(np.float32)
        bias = (bias * factor + offset).astype(np.float32)
        return self._change(place, weight=weight, bias=bias)

    def add(self, first: Place, second: Place) -> Place:
        """Add a shortcut: one tensor is a block's output, the other its input or projection."""
        for main, other in ((first, second), (second, first)):
            inputs = self._sources(main)[1:]  # for blocks of two or three convolutions
            projected = self._sources(other)[:1]
            if other in inputs or (projected and projected[0] in inputs):
                self._linear(main, "an addition")
                return self._change(main, added=other)
        raise DialectError(f"{NOT_OURS}: an addition of a tensor outside the block")

    def finish(self, end: Place) -> list[Step]:
        """Return the convolutions from the stem to ``end``, each with its projection."""
        path: list[Step] = []
        used, place = set(), end
        while place != PICTURE:
            step = self._final(place)
            used.add(place.step)
            inputs = self._sources(place)
            if step.added is not None and step.added not in inputs:
                shortcut = self._final(step.added)
                used.add(step.added.step)
                step = dataclasses.replace(step, projection=shortcut)
            path.append(step)
            place = step.source
        if len(used) != len(self._steps):
            raise DialectError(f"{NOT_OURS}: convolutions beside the chain")
        return path[::-1]

    def _sources(self, place: Place, most: int = 3) -> list[Place]:
        """Return the inputs of up to ``most`` convolutions, from that of ``place`` backwards."""
        found: list[Place] = []
        while place != PICTURE and len(found) < most:
            place = self._steps[place.step].source
            found.append(place)
        return found

    def _final(self, place: Place) -> Step:
        if self._states[place.step] != place.state:
            raise DialectError(f"{NOT_OURS}: a tensor inside a block is used twice")
        return self._steps[place.step]

    def _untouched(self, place: Place, what: str) -> Step:
        if place == PICTURE:
            raise DialectError(f"{NOT_OURS}: {what} before the first convolution")
        step = self._final(place)
        if step.added is not None:
            raise DialectError(f"{NOT_OURS}: {what} after a shortcut's addition")
        return step

    def _linear(self, place: Place, what: str) -> Step:
        step = self._untouched(place, what)
        if step.bounds != UNBOUNDED:
            raise DialectError(f"{NOT_OURS}: {what} after an activation")
        return step

    def _change(self, place: Place, **changes: Any) -> Place:
        self._steps[place.step] = dataclasses.replace(self._steps[place.step], **changes)
        self._states[place.step] += 1
        return Place(place.step, self._states[place.step])


def same_pads(kernel: int, stride: int, size: Sequence[int]) -> Pads:
    """Return the zeros of TensorFlow's 'same' padding for a height and width in pixels."""
    height, width = (padding("same", side, kernel, stride) for side in size)
    return height, width


def add_pads(outer: Pads, inner: Pads) -> Pads:
    """Return the sum of two paddings, one inside the other."""
    ((a, b), (c, d)), ((e, f), (g, h)) = outer, inner
    return (a + e, b + f), (c + g, d + h)


def size_after(kernel: int, stride: int, pads: Pads, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width, in pixels, of a convolution's output.

    Raises:
        DialectError: it is less than one pixel.
    """
    height, width = (
        (side + sum(pad) - kernel) // stride + 1 for side, pad in zip(size, pads, strict=True)
    )
    if min(height, width) < 1:
        raise DialectError(f"a convolution that leaves {height} x {width} pixels")
    return height, width


def padding_rule(kernel: int, stride: int, pads: Pads, size: tuple[int, int]) -> str:
    """Return the padding rule of a convolution, as in :attr:`Step.padding`.

    Args:
        pads: all zeros, of the convolution and of operators before it.
        size: height and width in pixels without these zeros.

    Raises:
        DialectError: it follows neither rule.
    """
    half = kernel // 2
    symmetric = all(pad == (half, half) for pad in pads)
    if stride == 1 and symmetric:
        return ""
    same = stride == 2 and all(
        pad == ((0, 1) if kernel == 3 and side % 2 == 0 else (half, half))
        for pad, side in zip(pads, size, strict=True)
    )
    if not same and not (symmetric and stride == 2):
        raise DialectError(
            f"a {kernel} x {kernel} convolution of stride {stride} padded "
            f"{pads[0]} x {pads[1]} at {size[0]} x {size[1]} pixels"
        )
    return "either" if same and symmetric else "same" if same else "symmetric"
