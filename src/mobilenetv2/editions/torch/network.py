"""MobileNetV2 in PyTorch, read off the spec. Module names are the canonical parameter names."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.blocks import Block as BlockRecord
from mobilenetv2.spec.blocks import Convolution, Linear, resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import BlockKind, NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig, Preprocessing

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
        """Return (batch, channels, height, width), convolved, normalised and activated."""
        if self.pad_same:
            height, width = x.shape[-2:]
            x = functional.pad(x, (width % 2, 1, height % 2, 1))
        y: Tensor = self.activation(self.bn(self.conv(x)))
        return y


class InvertedResidual(nn.Module):
    """Expansion (perhaps), depthwise convolution, linear projection, shortcut (perhaps)."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
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

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
        super().__init__()
        self.depthwise, self.pointwise = (ConvBN(step, numerics) for step in block.steps)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, k, height, width) -> (batch, k', ceil(height / stride), ...)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Bottleneck(nn.Module):
    """ResNet's classic residual: compress, convolve, expand; activated after the addition."""

    def __init__(self, block: BlockRecord, numerics: Numerics) -> None:
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


class HiddenLayer(nn.Linear):
    """A linear layer before the classifier, its activation, and dropout of what it gives.

    (batch, in_features) -> (batch, out_features).
    """

    def __init__(self, layer: Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias)
        self.dropout = nn.Dropout(layer.dropout)
        self.activation = ACTIVATIONS[layer.activation]() if layer.activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_features) -> (batch, out_features)."""
        y: Tensor = self.dropout(self.activation(super().forward(x)))
        return y


Block = InvertedResidual | SeparableBlock | Bottleneck
BLOCKS: dict[BlockKind, type[Block]] = {
    "inverted": InvertedResidual,
    "separable": SeparableBlock,
    "bottleneck": Bottleneck,
}


class MobileNetV2(nn.Module):
    """The whole network, with the record of what it is and takes in ``config``.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`. Without a seed
    one is drawn from PyTorch's random state (``torch.manual_seed``).
    """

    def __init__(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: Dtype = "float32",
    ) -> None:
        super().__init__()
        dtype = check_options(dtype, seed)
        if seed is None:  # before PyTorch's layers draw random numbers that nobody keeps
            seed = int(torch.randint(2**31, (), device="cpu"))
        self.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        network, numerics = resolve(self.spec), self.spec.numerics
        self.stem = ConvBN(network.stem, numerics)
        self.blocks = nn.ModuleList(BLOCKS[block.kind](block, numerics) for block in network.blocks)
        self.head = ConvBN(network.head, numerics) if network.head else None
        *hidden, last = network.linears
        self.hidden = nn.ModuleList(HiddenLayer(linear) for linear in hidden)
        self.dropout = nn.Dropout(self.spec.dropout)
        self.classifier = nn.Linear(last.in_features, last.out_features, last.bias)
        assign(self, initialise(parameter_shapes(self.spec), initialisation, seed))
        self.to(getattr(torch, dtype))

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
        return POOLS[self.spec.classifier.pooling](x, 1).flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Pooled features (batch, channels) -> logits (batch, n)."""
        y = self.dropout(features)
        for layer in self.hidden:
            y = layer(y)
        logits: Tensor = self.classifier(y)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), normalised -> logits (batch, n)."""
        return self.classify(self.features(x))

    def intermediates(self, x: Tensor) -> dict[str, Tensor]:
        """One forward pass with every tensor of :func:`spec.names.intermediate_names`, in order.

        The last is ``logits``; what :meth:`forward` returns is the same.
        """
        tensors: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(
                # A copy: activations and additions further on may work in place.
                lambda _module, _inputs, output, name=name: tensors.update({name: output.clone()})
            )
            for name, module in self.named_modules()
            if isinstance(module, ConvBN | HiddenLayer | Block)
        ]
        try:
            tensors["features"] = features = self.features(x)
            tensors["logits"] = self.classify(features)
        finally:
            for hook in hooks:
                hook.remove()
        return tensors


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's own, and where the numerics ask for it, without Bessel's correction.

    (batch, channels, height, width) -> the same. The parameters and their names are PyTorch's.
    """

    def __init__(self, channels: int, numerics: Numerics) -> None:
        super().__init__(channels, eps=numerics.epsilon, momentum=numerics.update_rate)
        self.biased = numerics.running_variance == "biased"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width)."""
        if not (self.biased and self.training):
            return super().forward(x)
        assert self.running_var is not None and self.momentum is not None
        # A copy: autograd keeps what the kernel was given, and it must not change afterwards.
        moved = self.running_var.clone()
        y = functional.batch_norm(
            x, self.running_mean, moved, self.weight, self.bias, True, self.momentum, self.eps
        )
        # PyTorch moved it by n / (n - 1) times the variance that Keras and Flax would take.
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_var.mul_((1 - self.momentum) / count).add_(
                moved, alpha=(count - 1) / count
            )
        return y


POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "average": functional.adaptive_avg_pool2d,
    "max": functional.adaptive_max_pool2d,
}
BATCH_NORM = {
    "bn.scale": "bn.weight",
    "bn.shift": "bn.bias",
    "bn.mean": "bn.running_mean",
    "bn.variance": "bn.running_var",
}
"""Canonical -> PyTorch. ``num_batches_tracked`` has no canonical name: it only matters to a
BatchNorm without momentum, which this network does not have."""

_BACK = {theirs: ours for ours, theirs in BATCH_NORM.items()}


def load(network: MobileNetV2, arrays: Arrays, where: str = "weights") -> None:
    """Put canonical arrays into a network; it stays on its device."""
    check_arrays(network.spec, arrays, where)
    assign(network, arrays)


def assign(network: MobileNetV2, arrays: Arrays) -> None:
    """:func:`load` for some of the network's tensors, unchecked."""
    state = network.state_dict()
    with torch.no_grad():
        for name, array in arrays.items():
            state[_renamed(name, BATCH_NORM)].copy_(torch.tensor(np.asarray(array)))


def dump(network: MobileNetV2, dtype: Dtype = "float32") -> Arrays:
    """Return the canonical arrays of a network, on the CPU."""
    return {
        _renamed(name, _BACK): tensor.detach().to("cpu", getattr(torch, dtype)).numpy().copy()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name


def normalise(
    pictures: NDArray, record: Preprocessing, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """``(value - mean) / std`` on the device: the numbers of :func:`images.preprocess.normalise`.

    uint8 (batch, height, width, channels) -> float32 (batch, channels, height, width), in
    channels_last memory, which is how the pictures come and what convolutions like.
    """
    x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        for values in (record.mean, record.std)
    )
    return (x.float() - mean) / std


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from pictures to outputs.

    The network goes to the device; each call puts it into evaluation mode.
    """
    where = torch.device(check_device(device))
    network.place(where)

    def predict(pictures: NDArray) -> NDArray:
        network.eval()
        with torch.inference_mode():
            x = normalise(pictures, network.config.preprocessing, where)
            x = x.to(network.classifier.weight.dtype)
            y = network(x) if outputs == "logits" else network.features(x)
        return np.asarray(y.float().cpu().numpy())

    return predict


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Return every named tensor of a forward pass."""
    weight = network.classifier.weight
    network.eval()
    with torch.inference_mode():
        y = torch.from_numpy(np.ascontiguousarray(x)).to(weight.device, weight.dtype)
        tensors = network.intermediates(y.permute(0, 3, 1, 2))
    return {
        name: (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).cpu().numpy()
        for name, value in tensors.items()
    }


def check_device(name: str) -> str:
    """The device's name, if PyTorch can use it here.

    Raises:
        MobileNetV2Error: unknown, or not on this machine.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MobileNetV2Error(
            f"--device {name}: PyTorch cannot use it here ({reason}); try cpu"
        ) from None
    return name
