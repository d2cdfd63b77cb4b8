"""MobileNetV2 in PyTorch, read off the spec. Module names are the canonical parameter names."""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.heads import (
    FOLDED,
    Head,
    came_folded,
    describe_head,
    head_config,
)
from mobilenetv2.editions.torch.classifier import Classifier, list_parts
from mobilenetv2.editions.torch.features import Features, TensorTransform
from mobilenetv2.editions.torch.layers import BLOCKS, POOLS, Block
from mobilenetv2.editions.torch.layers import ConvBN as ConvBN
from mobilenetv2.editions.torch.layers import HiddenLayer as HiddenLayer
from mobilenetv2.editions.torch.weights import assign
from mobilenetv2.errors import MobileNetV2Error, SpecError
from mobilenetv2.model.initialisation import Initialisation, initialise, with_classes
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing


class MobileNetV2(nn.Module):
    """The whole network, with the record of what it is and takes in ``config``.

    It can be used as torchvision's and timm's: ``network.features`` is a module,
    ``network.classifier = nn.Linear(network.num_features, 5)`` gives it another classifier, and
    :func:`mobilenetv2.networks.save` writes it with that one. A linear layer that is assigned takes
    the last layer's place behind ``network.dropout``; any other module the place of dropout, hidden
    layers and last layer.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`. Without a seed
    one is drawn from PyTorch's random state (``torch.manual_seed``).

    Example:
        >>> import torch
        >>> from mobilenetv2.editions.torch import MobileNetV2
        >>> network = MobileNetV2(mn.NetworkSpec(width=0.35, size=64, classes=10), seed=0)
        >>> for parameter in network.features.parameters():
        ...     parameter.requires_grad = False
        >>> network.classifier = torch.nn.Linear(network.num_features, 2)
        >>> network.config.spec.classes
        2
    """

    if TYPE_CHECKING:  # nn.Module's own says nothing of types

        def __call__(self, x: Tensor) -> Tensor:
            """Return the logits, (batch, classes), of images (batch, channels, height, width)."""

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
            seed = _drawn_seed()
        self._config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        self._features = (Features(),)  # in a tuple: its modules are registered already
        network, numerics = resolve(self.body_spec), self.body_spec.numerics
        self.stem = ConvBN(network.stem, numerics)
        self.blocks = nn.ModuleList(BLOCKS[block.kind](block, numerics) for block in network.blocks)
        self.head = ConvBN(network.head, numerics) if network.head else None
        *hidden, last = network.linears
        self.hidden = nn.ModuleList(HiddenLayer(linear) for linear in hidden)
        self.dropout = nn.Dropout(self.body_spec.dropout)
        # Any: a Classifier at first, which can be indexed, and then what a user puts in its place.
        self.classifier: Any = Classifier(last, self.dropout)
        assign(self, initialise(parameter_shapes(self.body_spec), initialisation, seed))
        self.to(getattr(torch, dtype))

    # ------------------------------------------------------------ what the network is

    @property
    def config(self) -> ModelConfig:
        """What the network is and takes, with the classifier that it has now.

        A classifier that was put in its place has numbered labels until a config with labels is
        set: ``network.config = dataclasses.replace(network.config, labels=...)``.

        Raises:
            SpecError: a classifier that no spec can describe; the message says why.
        """
        if self._own_classifier and not self._relabelled:
            return self._config
        return head_config(self._config, self.describe_classifier().spec, not self._relabelled)

    @config.setter
    def config(self, config: ModelConfig) -> None:
        self._config, self._assigned = config, False
        if isinstance(self.classifier, Classifier):
            self.classifier.replaced = False

    @property
    def spec(self) -> NetworkSpec:
        """What the network is."""
        return self.config.spec

    @property
    def body_spec(self) -> NetworkSpec:
        """The spec whose body this is; its classifier may have been replaced."""
        return self._config.spec

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.stem.conv.weight.dtype

    @property
    def num_features(self) -> int:
        """Channels of the pooled features, which the classifier takes; timm's name."""
        return resolve(self.body_spec).features

    @property
    def last_channel(self) -> int:
        """The same as :attr:`num_features`; torchvision's name."""
        return self.num_features

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier's last linear layer; 0 where it has none. timm's name."""
        linears = [m for m in self.classifier.modules() if isinstance(m, nn.Linear)]
        return linears[-1].out_features if linears else 0

    # ------------------------------------------------------------ body and classifier

    @property
    def features(self) -> Features:
        """Stem, blocks and head as one module, as torchvision's: the last map of pictures."""
        modules = [self.stem, *self.blocks, *([] if self.head is None else [self.head])]
        (features,) = self._features
        if [*map(id, features)] != [*map(id, modules)]:
            features = Features(*modules)
            features.training = self.training
            self._features = (features,)
        return features

    @property
    def transform(self) -> TensorTransform:
        """The preprocessing, from a photo to a float32 tensor (channels, height, width).

        ``network.transform(photo)`` gives the tensor, ``network.transform()`` the callable.
        """
        return TensorTransform(self._config.preprocessing)

    def get_classifier(self) -> nn.Module:
        """Return the classifier: its last linear layer, or the module that took its place."""
        module: nn.Module = self.classifier
        return module

    def reset_classifier(
        self, classes: int | Iterable[str] | Labels, seed: int | None = None
    ) -> None:
        """Give the network a new classifier for these classes, in place; hidden layers stay.

        Args:
            classes: how many, or their names in the order of the outputs. 0 leaves the pooled
                features, as in timm.
            seed: of the new weights; None draws one from PyTorch's random state.

        Raises:
            SpecError: no classes.

        Example:
            >>> network = mn.build(mn.NetworkSpec(width=0.35, size=64, classes=10))
            >>> network.reset_classifier(["hat", "shoes"])
            >>> network.config.labels.names
            ('hat', 'shoes')
        """
        if isinstance(classes, int) and not isinstance(classes, bool) and classes == 0:
            self.classifier = nn.Identity()
            return
        labels = Labels.of(classes)
        check_options(seed=seed)
        try:
            kept, config = self.describe_classifier().layers[:-1], self.config
        except SpecError:  # what cannot be described cannot be kept
            bare = ClassifierSpec(self.body_spec.classifier.pooling)
            kept, config = (), with_classes(self._config, labels, bare)
        config = with_classes(config, labels)
        *hidden, last = resolve(config.spec).linears
        layers = nn.ModuleList(HiddenLayer(linear) for linear in hidden)
        for layer, old in zip(layers, kept, strict=True):
            layer.weight, layer.bias = old.weight, old.bias
        self.hidden, self.dropout.p = layers, config.spec.dropout
        self.classifier = Classifier(last, self.dropout)
        self.config = config
        shapes = {n: s for n, s in parameter_shapes(config.spec).items() if "classifier." in n}
        seed = _drawn_seed() if seed is None else seed
        assign(self, initialise(shapes, "torchvision", seed))
        weight = self.stem.conv.weight
        for module in (self.hidden, self.classifier):
            module.to(weight.device, weight.dtype).train(self.training)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "features":
            raise AttributeError(
                "features shows the network's modules; replace stem, blocks or head instead"
            )
        if name == "classifier" and isinstance(value, nn.Module):
            self._assigned = not isinstance(value, Classifier)
            if self._assigned:
                self._make_room(value)
        super().__setattr__(name, value)

    def _make_room(self, module: nn.Module) -> None:
        """Take away what a classifier that is assigned replaces."""
        first = next((m for m in module.modules() if isinstance(m, nn.Linear)), None)
        width = cast(HiddenLayer, self.hidden[-1]).out_features if self.hidden else None
        if first is not None and first.in_features == width:
            return  # it continues the hidden layers
        self.hidden = nn.ModuleList()
        if not isinstance(module, nn.Linear):
            self.dropout.p = 0.0  # it brings its own

    @property
    def _own_classifier(self) -> bool:
        return isinstance(self.classifier, Classifier)

    @property
    def _relabelled(self) -> bool:
        """Return True where the labels are those of another classifier."""
        own = self.classifier
        return self._assigned or (isinstance(own, Classifier) and own.replaced)

    def describe_classifier(self) -> Head[nn.Linear]:
        """Return the spec with the classifier that the network has, and its linear layers.

        Raises:
            SpecError: no spec can describe it; the message says why.
        """
        parts = list_parts([self.dropout, self.hidden, self.classifier])
        return describe_head(parts, self.body_spec)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; warn where training would destroy weights whose BatchNorm came folded."""
        if mode and came_folded(self._config):
            warnings.warn(FOLDED, stacklevel=2)
        return super().train(mode)

    def place(self, device: torch.device) -> "MobileNetV2":
        """Move to a device, kernels in channels_last memory, where convolutions are fastest."""
        # PyTorch's own annotations leave this keyword out.
        self.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    # ------------------------------------------------------------ what it computes

    def forward_features(self, x: Tensor, start: int | None = None) -> Tensor:
        """Return the last feature map (batch, k, ...) of (batch, channels, height, width).

        Args:
            x: normalised pictures.
            start: ``x`` is what goes into that block; None: pictures.
        """
        if start is None:
            x = self.stem(x)
        for block in self.blocks[start or 0 :]:
            x = block(x)
        return x if self.head is None else self.head(x)

    def pooled_features(self, x: Tensor, start: int | None = None) -> Tensor:
        """Return the pooled features (batch, k) of (batch, channels, height, width).

        Args:
            x, start: as :meth:`forward_features` takes them.
        """
        return self.forward_head(self.forward_features(x, start), pre_logits=True)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits (batch, n) of the last feature map (batch, k, height, width).

        Args:
            x: what :meth:`forward_features` returns.
            pre_logits: return the pooled features (batch, k) instead.
        """
        x = POOLS[self.body_spec.classifier.pooling](x, 1).flatten(1)
        return x if pre_logits else self.classify(x)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (batch, n) of pooled features (batch, k)."""
        y = self.dropout(features)
        for layer in self.hidden:
            y = layer(y)
        logits: Tensor = self.classifier(y)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, n) of (batch, channels, height, width), normalised."""
        return self.forward_head(self.forward_features(x))

    def intermediates(self, x: Tensor) -> dict[str, Tensor]:
        """Return every tensor of :func:`spec.names.intermediate_names`, in order, of one pass.

        The last is ``logits``; what :meth:`forward` returns is the same. Hidden layers inside a
        module that took the classifier's place are left out.
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
            tensors["features"] = features = self.pooled_features(x)
            tensors["logits"] = self.classify(features)
        finally:
            for hook in hooks:
                hook.remove()
        return tensors


def _drawn_seed() -> int:
    return int(torch.randint(2**31, (), device="cpu"))


def reset_classifier(
    network: MobileNetV2, classes: int | Iterable[str] | Labels, seed: int | None = None
) -> MobileNetV2:
    """Return the network with a new classifier; it is changed in place.

    The arguments are those of :meth:`MobileNetV2.reset_classifier`.
    """
    network.reset_classifier(classes, seed)
    return network


def config_of(network: MobileNetV2) -> ModelConfig:
    """Return what a network is and takes, with the classifier that it has now.

    Raises:
        SpecError: a classifier that no spec can describe.
    """
    return network.config


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
            x = normalise(pictures, network.transform.preprocessing, where).to(network.dtype)
            y = network(x) if outputs == "logits" else network.pooled_features(x)
        return np.asarray(y.float().cpu().numpy())

    return predict


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Return every named tensor of a forward pass."""
    weight = network.stem.conv.weight
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
