"""Graph as a PyTorch module, for the formats that are converted from PyTorch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenetv2.graph.graph import (
    INPUT,
    LOGITS,
    PICTURES,
    Activation,
    Add,
    Conv,
    Graph,
    Linear,
    Normalise,
    Operation,
    Pool,
    real,
)

ACTIVATIONS: dict[str, type[nn.ReLU6] | type[nn.ReLU]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}


class MaxPool(nn.Module):
    """Maximum of each channel; PyTorch's own module is not in ExecuTorch's operator set."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, 1, 1) for (batch, channels, height, width)."""
        return x.amax((2, 3), keepdim=True)


class GraphModule(nn.Module):
    """Module for inference only, on images of the config's size, for which 'same' padding is fixed.

    Modules are named 'block3_expand', 'block3_expand_activation' ..., since some converters fail on
    names of digits only, which lists of modules have.

    Args:
        graph: float.
        dtype: type of the weights, and of the computation after normalisation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, graph: Graph, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.graph, self.dtype = graph, dtype
        for operation in graph.operations:
            if isinstance(operation, Conv):
                self._add_convolution(operation)
            elif isinstance(operation, Linear):
                outputs, inputs = real(operation.weight).shape
                linear = nn.Linear(inputs, outputs, bias=operation.bias is not None)
                self.add_module(module_name(operation.name), filled(linear, operation))
            elif isinstance(operation, Pool):
                self.pool = nn.AdaptiveAvgPool2d(1) if operation.kind == "average" else MaxPool()
                self.flatten = nn.Flatten()
            if not isinstance(operation, Normalise | Pool):
                self._add_activation(operation.output, operation.activation)
        self.to(dtype).requires_grad_(False).eval()
        first = graph.operations[0]
        if isinstance(first, Normalise):  # after the conversion above, so it stays in float32
            for name, values in (("mean", first.mean), ("std", first.std)):
                tensor = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
                self.register_buffer(name, tensor)

    def _add_convolution(self, operation: Conv) -> None:
        assert operation.batch_norm is None
        name, weight = module_name(operation.name), real(operation.weight)
        rows, columns = operation.padding
        even = rows[0] == rows[1] and columns[0] == columns[1]
        if not even:  # nn.Conv2d pads both sides equally
            self.add_module(f"{name}_pad", nn.ZeroPad2d((*columns, *rows)))
        conv = nn.Conv2d(
            weight.shape[1] * operation.groups, len(weight), operation.kernel, operation.stride,
            padding=(rows[0], columns[0]) if even else 0, groups=operation.groups,
        )  # fmt: skip
        self.add_module(name, filled(conv, operation))

    def _add_activation(self, output: str, activation: Activation) -> None:
        if activation is not None:
            self.add_module(f"{module_name(output)}_activation", ACTIVATIONS[activation]())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n), float32.

        Args:
            x: normalised float32 (batch, channels, height, width), or uint8 images (batch, height,
                width, channels) if the graph normalises.
        """
        found = {PICTURES if self.graph.takes_pictures else INPUT: x}
        if not self.graph.takes_pictures:
            found[INPUT] = self._converted(x)
        for operation in self.graph.operations:
            inputs = [found[name] for name in operation.inputs]
            found[operation.output] = self.compute(operation, *inputs)
        logits = found[LOGITS]
        return logits if self.dtype == torch.float32 else logits.float()

    def _converted(self, x: Tensor) -> Tensor:
        return x if self.dtype == torch.float32 else x.to(self.dtype)

    def compute(self, operation: Operation, *inputs: Tensor) -> Tensor:
        """Return the output of one operation."""
        if isinstance(operation, Normalise):
            # Division instead of multiplication by 1 / std gives the same floats as ``images``.
            pictures = inputs[0].permute(0, 3, 1, 2).float()
            return self._converted((pictures - self.mean) / self.std)
        if isinstance(operation, Pool):
            return self._apply_module("flatten", self._apply_module("pool", inputs[0]))
        if isinstance(operation, Add):
            y = inputs[0] + inputs[1]
        else:
            name = module_name(operation.name)
            y = self._apply_module(name, self._apply_module(f"{name}_pad", inputs[0]))
        return self._apply_module(f"{module_name(operation.output)}_activation", y)

    def _apply_module(self, name: str, x: Tensor) -> Tensor:
        module = self._modules.get(name)
        y: Tensor = x if module is None else module(x)
        return y


def module_name(name: str) -> str:
    """Return the module's name for a canonical one: 'blocks.3.expand' becomes 'block3_expand'."""
    return name.replace("blocks.", "block").replace(".", "_")


def filled(module: nn.Conv2d | nn.Linear, layer: Conv | Linear) -> nn.Module:
    """Return the module with copies of a layer's weights, in its own dtype."""
    with torch.no_grad():
        module.weight.copy_(_tensor(real(layer.weight)))
        if layer.bias is not None:
            assert module.bias is not None
            module.bias.copy_(_tensor(real(layer.bias)))
    return module


def _tensor(values: NDArray) -> Tensor:
    return torch.tensor(np.asarray(values))
