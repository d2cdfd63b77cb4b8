"""From spec and weights to a graph: the one walk over the network that every format shares."""

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.graph.graph import (
    FEATURES,
    INPUT,
    LOGITS,
    Activation,
    Add,
    BatchNorm,
    Conv,
    Graph,
    Linear,
    Operation,
    Pool,
    Tensor,
)
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.spec.blocks import Block, Convolution, resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.records import ModelConfig

SIX = 6.0


def lower(config: ModelConfig, arrays: Arrays, folded: bool = True) -> Graph:
    """Return the network as a graph from 'input' (normalised float32) to 'logits'.

    Args:
        arrays: canonical.
        folded: BatchNorm folded into the convolutions, for inference. False keeps it, so that the
            arrays come back bit for bit.

    Raises:
        WeightsError: the arrays do not fit the config.
    """
    if folded:
        return lower_folded(config, fold(config.spec, arrays))
    check_arrays(config.spec, arrays, "weights to write")
    return _Lowering(config, arrays=arrays).graph()


def lower_folded(config: ModelConfig, folded: Folded) -> Graph:
    """Return :func:`lower` of weights that are folded already."""
    return _Lowering(config, folded=folded).graph()


class _Lowering:
    """Operations and tensors as they come."""

    def __init__(
        self, config: ModelConfig, folded: Folded | None = None, arrays: Arrays | None = None
    ) -> None:
        self.config, self.spec = config, config.spec
        self.folded, self.arrays = folded, arrays
        self.operations: list[Operation] = []
        self.tensors: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        """From the picture to the logits."""
        network = resolve(self.spec)
        self.tensor(INPUT, (self.spec.input_channels, *self.spec.size), None)
        y = self.convolution(network.stem, INPUT)
        for block in network.blocks:
            y = self.block(block, y)
        if network.head:
            y = self.convolution(network.head, y)
        # A mean and a maximum are within the bounds of what they are taken of.
        pooled, kind = self.tensors[y], self.spec.classifier.pooling
        self.operations.append(Pool(y, FEATURES, kind))
        self.tensors[FEATURES] = Tensor(FEATURES, pooled.shape[:1], pooled.low, pooled.high)
        y = FEATURES
        for linear in network.linears:
            weight, bias = self.linear_parameters(linear.name)
            kept = bias if linear.bias or bias.any() else None
            self.operations.append(
                Linear(linear.name, y, linear.output, weight, kept, linear.activation)
            )
            y = self.tensor(linear.output, (linear.out_features,), linear.activation)
        return Graph(self.config, tuple(self.operations), self.tensors, {LOGITS: LOGITS})

    def block(self, block: Block, x: str) -> str:
        """Append one block; the name of the tensor that it ends in."""
        name, y = f"blocks.{block.index}", x
        for step in block.steps:
            y = self.convolution(step, y, self.end(block, step))
        if block.shortcut:
            x = self.convolution(block.shortcut, x)
        if not block.residual:
            return y
        activation = self.spec.numerics.activation if block.kind == "bottleneck" else None
        self.operations.append(Add((x, y), name, activation))
        return self.tensor(name, (block.out_channels, *block.out_size), activation)

    def end(self, block: Block, step: Convolution) -> str | None:
        """A bottleneck without an addition is activated behind its last, linear convolution."""
        if block.kind != "bottleneck" or block.residual or step is not block.steps[-1]:
            return None
        return f"blocks.{block.index}"

    def convolution(self, layer: Convolution, x: str, activated: str | None = None) -> str:
        """Append a convolution; the name of its output.

        Args:
            activated: name of its output where it is activated though it is linear.
        """
        linear = layer.linear and activated is None
        activation = None if linear else self.spec.numerics.activation
        output = activated or layer.name
        weight, bias, batch_norm = self.parameters(layer)
        self.operations.append(
            Conv(
                layer.name, x, output, weight, bias, layer.stride, layer.padding, layer.groups,
                activation, batch_norm,
            )
        )  # fmt: skip
        return self.tensor(output, (layer.out_channels, *layer.out_size), activation)

    def tensor(self, name: str, shape: tuple[int, ...], activation: Activation) -> str:
        """Note a tensor; its name."""
        low = float("-inf") if activation is None else 0.0
        high = SIX if activation == "relu6" else float("inf")
        self.tensors[name] = Tensor(name, shape, low, high)
        return name

    def parameters(self, layer: Convolution) -> tuple[NDArray, NDArray | None, BatchNorm | None]:
        """Weight, bias and BatchNorm of a convolution."""
        if self.folded is not None:
            return (*self.folded[layer.name], None)
        weight = self.array(f"{layer.name}.conv.weight")
        bias = self.array(f"{layer.name}.conv.bias") if layer.bias else None
        parts = {part: self.array(f"{layer.name}.bn.{part}") for part in BATCH_NORM}
        numerics = self.spec.numerics
        record = BatchNorm(**parts, epsilon=numerics.epsilon, update_rate=numerics.update_rate)
        return weight, bias, record

    def linear_parameters(self, name: str) -> tuple[NDArray, NDArray]:
        """Weight and bias of a linear layer; a bias that is not there is zeros."""
        if self.folded is not None:
            return self.folded[name]
        weight = self.array(f"{name}.weight")
        assert self.arrays is not None
        if f"{name}.bias" in self.arrays:
            return weight, self.array(f"{name}.bias")
        return weight, np.zeros(len(weight), np.float32)

    def array(self, name: str) -> NDArray:
        """A canonical tensor in float32."""
        assert self.arrays is not None
        return np.asarray(self.arrays[name], np.float32)
