"""MobileNetV2 in PyTorch, read off the spec. Module names are the canonical parameter names."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.torch.batchnorm import BatchNorm
from mobilenetv2.editions.torch.weights import assign
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.blocks import Block, Convolution, resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import BlockKind, NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

ACTIVATIONS: dict[str, type[nn.ReLU6] | type[nn.ReLU]] = {"relu6": nn.ReLU6, "relu": nn.ReLU}


class ConvBN(nn.Module):
    """Convolution, BatchNorm and, unless the layer is linear, the activation.

    (batch, in_channels, height, width) -> (batch, out_channels, ceil(height / stride), ...).
    """

    def __init__(self, layer: Convolution, numerics: Numerics) -> None:
        super().__init__()
        # Zeros after every even and before every odd side: 'same' at stride 2 is the one case
        # that PyTorch's own padding cannot express.
        self.pad_same = numerics.padding == "same" and layer.stride == 2 and layer.kernel == 3
        self.conv = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
            padding=0 if self.pad_same else layer.kernel // 2,
            groups=layer.groups, bias=layer.bias,
        )  # fmt: skip
        self.bn = BatchNorm(layer.out_channels, numerics)
        # Not in place: on CPUs PyTorch computes that in a new tensor, too, and copies it back.
        self.activation = nn.Identity() if layer.linear else ACTIVATIONS[numerics.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if self.pad_same:
            height, width = x.shape[-2:]
            x = functional.pad(x, (width % 2, 1, height % 2, 1))
        y: Tensor = self.activation(self.bn(self.conv(x)))
        return y


class InvertedResidual(nn.Module):
    """Expansion (perhaps), depthwise convolution, linear projection, shortcut (perhaps)."""

    def __init__(self, block: Block, numerics: Numerics) -> None:
        super().__init__()
        self.residual = block.residual
        self.expand = ConvBN(block.expand, numerics) if block.expand else None
        self.depthwise = ConvBN(block.depthwise, numerics)
        self.project = ConvBN(block.project, numerics)
        self.shortcut = ConvBN(block.shortcut, numerics) if block.shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, k, height, width) -> (batch, k', ceil(height / stride), ...)."""
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        return y


class SeparableBlock(nn.Module):
    """MobileNetV1's: a depthwise convolution, then a pointwise one, both activated."""

    def __init__(self, block: Block, numerics: Numerics) -> None:
        super().__init__()
        self.depthwise, self.pointwise = (ConvBN(step, numerics) for step in block.steps)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, k, height, width) -> (batch, k', ceil(height / stride), ...)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Bottleneck(nn.Module):
    """ResNet's classic residual: compress, convolve, expand; activated after the addition."""

    def __init__(self, block: Block, numerics: Numerics) -> None:
        super().__init__()
        self.residual = block.residual
        self.reduce, self.convolve, self.expand = (ConvBN(step, numerics) for step in block.steps)
        self.shortcut = ConvBN(block.shortcut, numerics) if block.shortcut else None
        self.activation = ACTIVATIONS[numerics.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, k, height, width) -> (batch, k', ceil(height / stride), ...)."""
        y: Tensor = self.expand(self.convolve(self.reduce(x)))
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x))
        y = self.activation(y)
        return y


BLOCKS: dict[BlockKind, type[InvertedResidual] | type[SeparableBlock] | type[Bottleneck]] = {
    "inverted": InvertedResidual,
    "separable": SeparableBlock,
    "bottleneck": Bottleneck,
}


class MobileNetV2(nn.Module):
    """The whole network, with the record of what it is and takes in ``config``.

    Args:
        config: a spec, or a model's whole config.
        initialisation: 'torchvision' (He, fan-out) or 'paper' (TF-slim's truncated normal).
        seed: of the weights; None draws one from PyTorch's random state (``torch.manual_seed``).
    """

    def __init__(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if seed is None:  # before PyTorch's layers draw random numbers that nobody keeps
            seed = int(torch.randint(2**31, (), device="cpu"))
        self.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        network, numerics = resolve(self.spec), self.spec.numerics
        self.stem = ConvBN(network.stem, numerics)
        self.blocks = nn.ModuleList(BLOCKS[block.kind](block, numerics) for block in network.blocks)
        self.head = ConvBN(network.head, numerics) if network.head else None
        self.dropout = nn.Dropout(self.spec.dropout)
        classes, features = network.classifier_shape
        self.classifier = nn.Linear(features, classes)
        assign(self, initialise(parameter_shapes(self.spec), initialisation, seed))

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.config.spec

    def place(self, device: torch.device) -> "MobileNetV2":
        """Move to a device, kernels in channels_last memory, where convolutions are fastest."""
        # PyTorch's own annotations leave this keyword out.
        self.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def features(self, x: Tensor, start: int | None = None) -> Tensor:
        """(batch, channels, height, width) -> pooled features (batch, head channels).

        Args:
            start: ``x`` is what goes into that block; None: pictures.
        """
        if start is None:
            x = self.stem(x)
        for block in self.blocks[start or 0 :]:
            x = block(x)
        if self.head is not None:
            x = self.head(x)
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), normalised -> logits (batch, classes)."""
        logits: Tensor = self.classifier(self.dropout(self.features(x)))
        return logits

    def intermediates(self, x: Tensor) -> dict[str, Tensor]:
        """One forward pass with every tensor of :func:`spec.names.intermediate_names`, in order.

        The last is ``logits``; what :meth:`forward` returns is the same.
        """
        found: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(
                # A copy: activations and additions further on may work in place.
                lambda _module, _inputs, output, name=name: found.update({name: output.clone()})
            )
            for name, module in self.named_modules()
            if isinstance(module, ConvBN | InvertedResidual | SeparableBlock | Bottleneck)
        ]
        try:
            found["features"] = features = self.features(x)
        finally:
            for hook in hooks:
                hook.remove()
        found["logits"] = self.classifier(self.dropout(features))
        return found
