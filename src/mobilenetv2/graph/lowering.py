"""Conversion of a spec and weights to a graph, which every format shares."""

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
from mobilenetv2.spec.names import BATCH_NORM, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SIX = 6.0


def lower(config: ModelConfig, arrays: Arrays, folded: bool = True) -> Graph:
    """Return the network as a graph from 'input' (normalised float32) to 'logits'.

    Args:
        arrays: canonical.
        folded: fold BatchNorm into the convolutions, for inference; False keeps it, so that the
            arrays can be read back bit for bit.

    Raises:
        WeightsError: the arrays do not fit the config.
    """
    if folded:
        return lower_folded(config, fold(config.spec, arrays))
    check_arrays(config.spec, arrays, "weights to write")
    return _Lowering(config, _unfolded(config.spec, arrays)).graph()


def lower_folded(config: ModelConfig, folded: Folded) -> Graph:
    """Return the graph of weights that are already folded; otherwise the same as :func:`lower`."""
    return _Lowering(config, {name: (*pair, None) for name, pair in folded.items()}).graph()


def lower_shapes(config: ModelConfig, folded: bool = True) -> Graph:
    """Return the graph of weights that are all 0 and take no memory, for its shapes."""
    nothing = np.float32(0)
    if not folded:
        shapes = parameter_shapes(config.spec)
        arrays = {name: np.broadcast_to(nothing, shape) for name, shape in shapes.items()}
        return _Lowering(config, _unfolded(config.spec, arrays)).graph()
    network = resolve(config.spec)
    sides: dict[str, tuple[int, ...]] = {
        **{layer.name: layer.weight_shape for layer in network.convolutions},
        **{layer.name: layer.weight_shape for layer in network.linears},
    }
    zeros = {
        name: (np.broadcast_to(nothing, shape), np.broadcast_to(nothing, shape[:1]))
        for name, shape in sides.items()
    }
    return lower_folded(config, zeros)


Parameters = dict[str, tuple[NDArray, NDArray | None, BatchNorm | None]]
"""Weight, bias and BatchNorm (None if folded) by the name of the layer."""


def _unfolded(spec: NetworkSpec, arrays: Arrays) -> Parameters:
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    numerics, found = spec.numerics, Parameters()
    for layer in resolve(spec).convolutions:
        parts = {part: arrays[f"{layer.name}.bn.{part}"] for part in BATCH_NORM}
        record = BatchNorm(**parts, epsilon=numerics.epsilon, update_rate=numerics.update_rate)
        bias = arrays.get(f"{layer.name}.conv.bias")
        found[layer.name] = arrays[f"{layer.name}.conv.weight"], bias, record
    for linear in resolve(spec).linears:
        bias = arrays.get(f"{linear.name}.bias")
        found[linear.name] = arrays[f"{linear.name}.weight"], bias, None
    return found


class _Lowering:
    """Collector of operations and tensors."""

    def __init__(self, config: ModelConfig, parameters: Parameters) -> None:
        self.config, self.spec, self.parameters = config, config.spec, parameters
        self.operations: list[Operation] = []
        self.tensors: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        """Return the graph from the image to the logits."""
        network = resolve(self.spec)
        self.tensor(INPUT, (self.spec.input_channels, *self.spec.size), None)
        y = self.convolution(network.stem, INPUT)
        for block in network.blocks:
            y = self.block(block, y)
        if network.head:
            y = self.convolution(network.head, y)
        # A mean or a maximum lies within the bounds of its input.
        pooled, kind = self.tensors[y], self.spec.classifier.pooling
        self.operations.append(Pool(y, FEATURES, kind))
        self.tensors[FEATURES] = Tensor(FEATURES, pooled.shape[:1], pooled.low, pooled.high)
        y = FEATURES
        for linear in network.linears:
            weight, bias, _ = self.parameters[linear.name]
            if not linear.bias and bias is not None and not bias.any():
                bias = None  # folded weights have a bias of zeros
            self.operations.append(
                Linear(y, linear.output, linear.name, weight, bias, linear.activation)
            )
            y = self.tensor(linear.output, (linear.out_features,), linear.activation)
        return Graph(self.config, tuple(self.operations), self.tensors, {LOGITS: LOGITS})

    def block(self, block: Block, x: str) -> str:
        """Append a block, and return the name of its output."""
        name, y = f"blocks.{block.index}", x
        # In a bottleneck without an addition an activation follows the last convolution.
        bare = block.kind == "bottleneck" and not block.residual
        for step in block.steps:
            y = self.convolution(step, y, name if bare and step is block.steps[-1] else None)
        if block.shortcut:
            x = self.convolution(block.shortcut, x)
        if not block.residual:
            return y
        activation = self.spec.numerics.activation if block.kind == "bottleneck" else None
        self.operations.append(Add((x, y), name, activation))
        return self.tensor(name, (block.out_channels, *block.out_size), activation)

    def convolution(self, layer: Convolution, x: str, activated: str | None = None) -> str:
        """Append a convolution, and return the name of its output.

        Args:
            activated: name of the output if a linear convolution gets an activation.
        """
        activation = self.spec.numerics.activation if activated else layer.activation
        output = activated or layer.name
        weight, bias, batch_norm = self.parameters[layer.name]
        self.operations.append(
            Conv(
                x, output, layer.name, weight, bias, activation, layer.stride, layer.padding,
                layer.groups, batch_norm,
            )
        )  # fmt: skip
        return self.tensor(output, (layer.out_channels, *layer.out_size), activation)

    def tensor(self, name: str, shape: tuple[int, ...], activation: Activation) -> str:
        """Add a tensor, and return its name."""
        low = float("-inf") if activation is None else 0.0
        high = SIX if activation == "relu6" else float("inf")
        self.tensors[name] = Tensor(name, shape, low, high)
        return name
