"""Network as a list of typed operations on named tensors, from which every format is written.

:func:`mobilenetv2.graph.lowering.lower` makes the graph once. A writer walks its operations and
does not need the spec. Arrays are in PyTorch's layout. Every tensor of the network has its
canonical name ('stem', 'blocks.3.expand', 'blocks.3', 'features', 'logits' ...).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import Padding
from mobilenetv2.spec.network import Pooling
from mobilenetv2.spec.records import ModelConfig

INPUT, PICTURES, FEATURES, LOGITS = "input", "pictures", "features", "logits"
PROBABILITIES = "probabilities"
"""Name of the output of a file that ends in probabilities instead of logits."""
MAP = "map"
"""Name of the output for the last feature map, independent of that tensor's own name."""

Activation = Literal["relu6", "relu"] | None


@dataclass(frozen=True, slots=True)
class Steps:
    """Quantisation of a tensor; a uint8 integer means scale x (integer - zero point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor between operations, for one image."""

    name: str
    shape: tuple[int, ...]
    """Shape without the batch: (channels, height, width) or (channels,)."""
    low: float = float("-inf")
    """Lower bound of the values: 0 after an activation."""
    high: float = float("inf")
    """Upper bound of the values: 6 after ReLU6."""
    steps: Steps | None = None
    """Quantisation of the tensor; None for float."""

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
    """A constant in integers; its real values are ``scales x values``."""

    values: NDArray
    """Weights as int8 or biases as int32, in the shape of the float ones."""
    scales: NDArray
    """Scales as float32 (channels,), along the first axis."""
    per_channel: bool = True
    """False if all scales are equal."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape


Constant = NDArray | Integers


def zero_integers(value: Constant, dtype: Any, per_channel: bool) -> Integers:
    """Return integers in the shape of a constant that are all 0 and take no memory."""
    scales = np.broadcast_to(np.float32(1), value.shape[:1])
    return Integers(np.broadcast_to(dtype(0), value.shape), scales, per_channel)


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm:
    """A BatchNorm that was not folded; each array is float32 (channels,)."""

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
        """Names of the input tensors."""
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Normalise(_OneInput):
    """Normalisation ``(value - mean) / std`` of uint8 (height, width, channels) to float.

    The output is (channels, height, width).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Weighted(_OneInput):
    name: str
    """Canonical prefix of the parameters: 'blocks.3.expand', 'hidden.0' ... 'classifier'."""
    weight: Constant
    """Weight as (out, in / groups, kernel, kernel), or (out, in) in a linear layer."""
    bias: Constant | None
    activation: Activation


@dataclass(frozen=True, slots=True, eq=False)
class Conv(_Weighted):
    """A convolution with its bias and its activation."""

    stride: int
    padding: Padding
    groups: int
    batch_norm: BatchNorm | None = None
    """BatchNorm between bias and activation; None if it was folded."""

    @property
    def kernel(self) -> int:
        """Side of the kernel in pixels."""
        return int(self.weight.shape[-1])


@dataclass(frozen=True, slots=True)
class Add:
    """Sum of two maps; in ResNet's blocks an activation follows."""

    inputs: tuple[str, str]
    output: str
    activation: Activation = None


@dataclass(frozen=True, slots=True)
class Pool(_OneInput):
    """Mean or maximum of each channel over a whole map; the output is (channels,)."""

    kind: Pooling


@dataclass(frozen=True, slots=True, eq=False)
class Linear(_Weighted):
    """A linear layer with its activation: ``x @ weight.T + bias``."""


Layer = Conv | Linear
Operation = Normalise | Conv | Add | Pool | Linear


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Operations in the order in which they run, and the tensors between them."""

    config: ModelConfig
    operations: tuple[Operation, ...]
    tensors: Mapping[str, Tensor]
    """Tensors by name, in the order in which they are computed; 'input' comes first."""
    outputs: Mapping[str, str]
    """Names of the outputs, each with the name of its tensor."""
    batch: int | None = None
    """Number of images per batch; None for any number."""
    any_size: bool = False
    """True if the graph takes any height and width; ``tensors`` have those of the config."""

    @property
    def takes_pictures(self) -> bool:
        """Return True if the graph takes uint8 images and normalises them."""
        return isinstance(self.operations[0], Normalise)

    def layers(self) -> Iterator[Layer]:
        """Yield the layers that have weights, in the order in which they run."""
        for operation in self.operations:
            if isinstance(operation, Conv | Linear):
                yield operation

    @property
    def last_map(self) -> str:
        """Name of the tensor that is pooled."""
        return next(op.input for op in self.operations if isinstance(op, Pool))

    def replace(self, **changes: Any) -> "Graph":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_outputs(self, *names: str) -> "Graph":
        """Return the graph with more outputs: names of tensors, or 'map' for the last map."""
        more = {name: self.last_map if name == MAP else name for name in names}
        return self.replace(outputs={**self.outputs, **more})

    def with_intermediates(self) -> "Graph":
        """Return the graph with every tensor except the input as an output."""
        names = [FEATURES, *(name for name in self.tensors if name != INPUT)]
        return self.with_outputs(*names)

    def with_normalisation(self) -> "Graph":
        """Return the graph for uint8 images (height, width, channels), which it normalises."""
        record = self.config.preprocessing
        first = Normalise(PICTURES, INPUT, record.mean, record.std)
        return self.replace(operations=(first, *self.operations))

    def for_any_size(self) -> "Graph":
        """Return the graph for images of any height and width.

        Raises:
            SpecError: the padding is 'same', which depends on the size of the image.
        """
        if self.config.spec.numerics.padding == "same":
            raise SpecError(
                "this network's 'same' padding depends on the image's size, so the exported file "
                "must have a fixed size; export it without the option for any size"
            )
        return self.replace(any_size=True)

    def with_weights(self, change: Callable[[NDArray], NDArray]) -> "Graph":
        """Return the graph with a function applied to every layer's float weight."""
        operations = [
            dataclasses.replace(op, weight=change(real(op.weight)))
            if isinstance(op, Conv | Linear)
            else op
            for op in self.operations
        ]
        return self.replace(operations=tuple(operations))


def real(constant: Constant) -> NDArray:
    """Return the real values of a constant, float32."""
    if not isinstance(constant, Integers):
        return constant
    sides = (-1, *[1] * (constant.values.ndim - 1))
    return np.asarray(constant.values * constant.scales.reshape(sides), np.float32)
