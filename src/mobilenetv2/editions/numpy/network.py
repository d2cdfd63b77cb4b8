"""MobileNetV2 in NumPy: the plain reference. It computes inference and nothing else."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mobilenetv2.editions.edition import check_options
from mobilenetv2.editions.numpy import operations
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.blocks import Block, Convolution, padding, require_inverted, resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

ACTIVATIONS = {"relu6": operations.relu6, "relu": operations.relu}


class MobileNetV2:
    """The whole network. ``arrays`` are its weights under their canonical names.

    Args:
        config: a spec, or a model's whole config.
        initialisation: how the weights start, 'torchvision' or 'paper'.
        seed: of the weights; None is 0.
        dtype: float32 or float64; of the weights and of everything computed.
    """

    def __init__(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        self.dtype = np.dtype(check_options(dtype, seed))
        require_inverted(self.spec, "numpy")
        started = initialise(parameter_shapes(self.spec), initialisation, seed or 0)
        self.arrays: Arrays = {name: array.astype(self.dtype) for name, array in started.items()}

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.config.spec

    def __call__(self, x: NDArray) -> NDArray:
        """(batch, channels, height, width), normalised -> logits (batch, classes)."""
        return self.intermediates(x)["logits"]

    def features(self, x: NDArray) -> NDArray:
        """(batch, channels, height, width) -> pooled features (batch, head channels)."""
        return self.intermediates(x)["features"]

    def intermediates(self, x: NDArray) -> dict[str, NDArray]:
        """One forward pass with every tensor of :func:`spec.names.intermediate_names`, in order.

        Args:
            x: (batch, channels, height, width), normalised; any size, not only the spec's.
        """
        blocks, head = require_inverted(self.spec, "numpy")
        found: dict[str, NDArray] = {}
        y = found["stem"] = self._layer(resolve(self.spec).stem, x.astype(self.dtype))
        for block in blocks:
            y = self._block(block, y, found)
        y = found["head"] = self._layer(head, y)
        y = found["features"] = operations.global_average_pool(y)
        weight, bias = self.arrays["classifier.weight"], self.arrays["classifier.bias"]
        found["logits"] = operations.linear(y, weight, bias)
        return found

    def _block(self, block: Block, x: NDArray, found: dict[str, NDArray]) -> NDArray:
        """An inverted residual: narrow in, wide in between, narrow out."""
        y = x
        if block.expand:
            y = found[block.expand.name] = self._layer(block.expand, y)
        y = found[block.depthwise.name] = self._layer(block.depthwise, y)
        y = found[block.project.name] = self._layer(block.project, y)
        if block.shortcut:
            x = found[block.shortcut.name] = self._layer(block.shortcut, x)
        if block.residual:
            y = y + x
        found[f"blocks.{block.index}"] = y
        return y

    def _layer(self, layer: Convolution, x: NDArray) -> NDArray:
        """Convolution, BatchNorm and, unless the layer is linear, the activation."""
        part = {
            name.removeprefix(f"{layer.name}."): array
            for name, array in self.arrays.items()
            if name.startswith(f"{layer.name}.")
        }
        numerics = self.spec.numerics
        # From the picture that came: the spec's own size is only a default.
        rows, columns = (
            padding(numerics.padding, side, layer.kernel, layer.stride) for side in x.shape[2:]
        )
        convolve = (
            operations.depthwise_convolution
            if layer.role == "depthwise"
            else operations.convolution
        )
        y = convolve(x, part["conv.weight"], layer.stride, (rows, columns))
        if layer.bias:
            y = y + part["conv.bias"][:, None, None]
        y = operations.batch_norm(
            y, part["bn.scale"], part["bn.shift"], part["bn.mean"], part["bn.variance"],
            numerics.epsilon,
        )  # fmt: skip
        return y if layer.linear else ACTIVATIONS[numerics.activation](y)
