"""A network as a list of typed operations over named tensors: what every format is written from.

A graph is made once, by :func:`mobilenetv2.graph.lowering.lower`; a writer walks its operations and
knows nothing of the spec. Arrays lie as PyTorch lays them out. Every tensor of the network has its
canonical name ('stem', 'blocks.3.expand', 'blocks.3', 'features', 'logits' ...).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import Padding
from mobilenetv2.spec.network import Pooling
from mobilenetv2.spec.records import ModelConfig

INPUT, PICTURES, FEATURES, LOGITS = "input", "pictures", "features", "logits"
MAP = "map"
"""The output that gives the last feature map, whatever that tensor is called."""

Activation = Literal["relu6", "relu"] | None


@dataclass(frozen=True, slots=True)
class Steps:
    """What a tensor's uint8 integers stand for: scale x (integer - zero point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor between operations, of one picture."""

    name: str
    shape: tuple[int, ...]
    """(channels, height, width) or (channels,), without the batch."""
    low: float = float("-inf")
    """No value is below it: 0 after an activation."""
    high: float = float("inf")
    """No value is above it: 6 after ReLU6."""
    steps: Steps | None = None
    """None: float."""

    @property
    def channels(self) -> int:
        """Channels of a map, or values of a vector."""
        return self.shape[0]

    @property
    def pixels(self) -> int:
        """Height x width; 1 after the pooling."""
        return int(np.prod(self.shape[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Integers:
    """A constant in integers: what they stand for is ``scales x values``."""

    values: NDArray
    """int8 weights or int32 biases, in the shape of the float ones."""
    scales: NDArray
    """float32 (channels,) along the first axis."""
    per_channel: bool = True
    """False: all scales are equal."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape


Constant = NDArray | Integers


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm:
    """A BatchNorm that was not folded: float32 (channels,) each."""

    scale: NDArray
    shift: NDArray
    mean: NDArray
    variance: NDArray
    epsilon: float
    update_rate: float


@dataclass(frozen=True, slots=True, eq=False)
class _OneInput:
    input: str
    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that it takes."""
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Normalise(_OneInput):
    """``(value - mean) / std``: uint8 (height, width, channels) to float (channels, ...)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Weighted(_OneInput):
    name: str
    """Canonical prefix of its parameters: 'blocks.3.expand', 'hidden.0' ... 'classifier'."""
    weight: Constant
    """(out, in / groups, kernel, kernel), of a linear layer (out, in)."""
    bias: Constant | None
    activation: Activation


@dataclass(frozen=True, slots=True, eq=False)
class Conv(_Weighted):
    """A convolution with its bias and its activation."""

    stride: int
    padding: Padding
    groups: int
    batch_norm: BatchNorm | None = None
    """Between bias and activation, where it was not folded."""

    @property
    def kernel(self) -> int:
        """Side of the kernel in pixels."""
        return int(self.weight.shape[-1])


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two maps, with an activation in ResNet's blocks."""

    inputs: tuple[str, str]
    output: str
    activation: Activation = None


@dataclass(frozen=True, slots=True)
class Pool(_OneInput):
    """The mean or the maximum of each channel over a whole map: (channels,)."""

    kind: Pooling


@dataclass(frozen=True, slots=True, eq=False)
class Linear(_Weighted):
    """``x @ weight.T + bias`` with its activation."""


Layer = Conv | Linear
Operation = Normalise | Conv | Add | Pool | Linear


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Operations in the order in which they run, and the tensors between them."""

    config: ModelConfig
    operations: tuple[Operation, ...]
    tensors: Mapping[str, Tensor]
    """By name, in the order in which they are computed; 'input' comes first."""
    outputs: Mapping[str, str]
    """What the graph gives: the output's name -> the tensor's."""
    batch: int | None = None
    """Pictures at a time; None: any number."""
    any_size: bool = False
    """Any height and width; ``tensors`` have those of the config."""

    @property
    def takes_pictures(self) -> bool:
        """Return True where it takes uint8 pictures and normalises by itself."""
        return isinstance(self.operations[0], Normalise)

    def layers(self) -> Iterator[Layer]:
        """Yield what has weights, in the order in which it runs."""
        for operation in self.operations:
            if isinstance(operation, Conv | Linear):
                yield operation

    @property
    def last_map(self) -> str:
        """Name of the tensor that is pooled."""
        return next(op.input for op in self.operations if isinstance(op, Pool))

    def replace(self, **changes: object) -> "Graph":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def with_outputs(self, *names: str) -> "Graph":
        """Return the graph with more outputs: tensors by name, or 'map', the last feature map."""
        more = {name: self.last_map if name == MAP else name for name in names}
        return self.replace(outputs={**self.outputs, **more})

    def with_intermediates(self) -> "Graph":
        """Return the graph with every tensor but the input as an output."""
        names = [FEATURES, *(name for name in self.tensors if name != INPUT)]
        return self.with_outputs(*names)

    def with_normalisation(self) -> "Graph":
        """Return the graph for uint8 pictures (height, width, channels), which it normalises."""
        record = self.config.preprocessing
        first = Normalise(PICTURES, INPUT, record.mean, record.std)
        return self.replace(operations=(first, *self.operations))

    def for_any_size(self) -> "Graph":
        """Return the graph for pictures of any height and width.

        Raises:
            SpecError: 'same' padding, which depends on the picture's size.
        """
        if self.config.spec.numerics.padding == "same":
            raise SpecError(
                "this network's 'same' padding depends on the picture's size, which an exported "
                "file has to fix; export it without the option for any size"
            )
        return self.replace(any_size=True)

    def with_weights(self, change: Callable[[NDArray], NDArray]) -> "Graph":
        """Return the graph with every layer's float weight changed by a function of it."""
        operations = [
            dataclasses.replace(op, weight=change(real(op.weight)))
            if isinstance(op, Conv | Linear)
            else op
            for op in self.operations
        ]
        return self.replace(operations=tuple(operations))


def real(constant: Constant) -> NDArray:
    """Return what a constant stands for, float32."""
    if not isinstance(constant, Integers):
        return constant
    sides = (-1, *[1] * (constant.values.ndim - 1))
    return np.asarray(constant.values * constant.scales.reshape(sides), np.float32)
