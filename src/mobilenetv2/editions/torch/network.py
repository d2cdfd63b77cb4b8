"""MobileNetV2 in PyTorch, built from the spec; module names are the canonical parameter names."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.feature_info import FeatureInfo, feature_maps
from mobilenetv2.editions.heads import (
    Head,
    came_folded,
    describe_head,
    dropouts,
    head_config,
    warn_folded,
)
from mobilenetv2.editions.torch.classifier import Classifier, list_parts
from mobilenetv2.editions.torch.features import Features, TensorTransform
from mobilenetv2.editions.torch.layers import BLOCKS, POOLS, Block
from mobilenetv2.editions.torch.layers import ConvBN as ConvBN
from mobilenetv2.editions.torch.layers import HiddenLayer as HiddenLayer
from mobilenetv2.editions.torch.weights import assign
from mobilenetv2.errors import MobileNetV2Error, SpecError, argument
from mobilenetv2.model.initialisation import Initialisation, initialise, with_classes
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing


class MobileNetV2(nn.Module):
    """MobileNetV2, with its :class:`ModelConfig` in ``config``.

    It can be used like the networks of torchvision and timm: ``network.features`` is a module, and
    ``network.classifier = nn.Linear(network.num_features, 5)`` replaces the classifier.
    :func:`mobilenetv2.networks.folders.save` saves the new classifier, too. An assigned linear
    layer replaces the last layer, behind ``network.dropout``. Any other module replaces dropout,
    hidden layers and last layer.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`. Without a seed,
    the seed is drawn from PyTorch's random state (``torch.manual_seed``).

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

    if TYPE_CHECKING:  # nn.Module's own has no types

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
        if seed is None:  # before PyTorch's layers draw random numbers
            seed = _drawn_seed()
        self._config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        self._features = (Features(),)  # in a tuple, since its modules are registered already
        network, numerics = resolve(self.body_spec), self.body_spec.numerics
        self.stem = ConvBN(network.stem, numerics)
        self.blocks = nn.ModuleList(BLOCKS[block.kind](block, numerics) for block in network.blocks)
        self.head = ConvBN(network.head, numerics) if network.head else None
        *hidden, last = network.linears
        self.hidden = nn.ModuleList(HiddenLayer(linear) for linear in hidden)
        self.dropout = nn.Dropout(self.body_spec.dropout)
        # Any, since a user may replace the Classifier, which can be indexed.
        self.classifier: Any = Classifier(last, self.dropout)
        assign(self, initialise(parameter_shapes(self.body_spec), initialisation, seed))
        self.to(getattr(torch, dtype))

    # ------------------------------------------------------------ what the network is

    @property
    def config(self) -> ModelConfig:
        """Config of the network, with its present classifier.

        An assigned classifier has numbered labels. To name them, set a config:
        ``network.config = dataclasses.replace(network.config, labels=...)``.

        Raises:
            SpecError: no spec can describe the classifier; the message says why.
        """
        kept = self._dropouts == dropouts(self.body_spec)
        if self._own_classifier and not self._relabelled and kept:
            return self._config
        return head_config(self._config, self.describe_classifier().spec, not self._relabelled)

    @config.setter
    def config(self, config: ModelConfig) -> None:
        self._config, self._assigned = config, False
        if isinstance(self.classifier, Classifier):
            self.classifier.replaced = False

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network, with its present classifier."""
        return self.config.spec

    @property
    def body_spec(self) -> NetworkSpec:
        """Spec that the network was built from, with its original classifier."""
        return self._config.spec

    @property
    def body_config(self) -> ModelConfig:
        """Config that the network was built from, with its original classifier."""
        return self._config

    @property
    def _dropouts(self) -> list[float]:
        layers = [self.dropout, *(cast(HiddenLayer, layer).dropout for layer in self.hidden)]
        return [layer.p for layer in layers]

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return self.stem.conv.weight.dtype

    @property
    def num_features(self) -> int:
        """Channels of the pooled features, under timm's name."""
        return resolve(self.body_spec).features

    @property
    def last_channel(self) -> int:
        """Channels of the pooled features, under torchvision's name."""
        return self.num_features

    @property
    def num_classes(self) -> int:
        """Outputs of the last linear layer, or 0 without one, under timm's name."""
        linears = [m for m in self.classifier.modules() if isinstance(m, nn.Linear)]
        return linears[-1].out_features if linears else 0

    # ------------------------------------------------------------ body and classifier

    @property
    def features(self) -> Features:
        """Module of stem, blocks and head, as in torchvision, up to the last feature map."""
        modules = [self.stem, *self.blocks, *([] if self.head is None else [self.head])]
        (features,) = self._features
        if [*map(id, features)] != [*map(id, modules)]:
            features = Features(*modules)
            features.folded = came_folded(self._config)
            features.training = self.training
            self._features = (features,)
        return features

    @property
    def feature_info(self) -> FeatureInfo:
        """Table of the feature maps, as of ``features_only``."""
        return FeatureInfo(feature_maps(self.body_spec))

    @property
    def transform(self) -> TensorTransform:
        """Preprocessing from a photo to a float32 tensor (channels, height, width).

        ``network.transform(photo)`` returns the tensor, ``network.transform()`` the function.
        """
        return TensorTransform(self._config.preprocessing)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer of the classifier, or the module that replaced it."""
        module: nn.Module = self.classifier
        return module

    def reset_classifier(
        self, classes: int | Iterable[str] | Labels, seed: int | None = None
    ) -> None:
        """Replace the classifier by a new one for these classes, in place; hidden layers stay.

        Args:
            classes: number of classes, or their names in the order of the outputs. With 0, the
                network returns the pooled features, as in timm.
            seed: seed of the new weights. Default: drawn from PyTorch's random state.

        Raises:
            SpecError: there are no classes.

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
        except SpecError:  # layers without a description cannot be kept
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
                "network.features is only a view of the network's modules; replace network.stem, "
                "network.blocks[N] or network.head instead"
            )
        if name == "classifier" and isinstance(value, nn.Module):
            self._assigned = not isinstance(value, Classifier)
            if self._assigned:
                self._make_room(value)
        super().__setattr__(name, value)

    def _make_room(self, module: nn.Module) -> None:
        """Remove the hidden layers and the dropout that an assigned classifier replaces."""
        first = next((m for m in module.modules() if isinstance(m, nn.Linear)), None)
        width = cast(HiddenLayer, self.hidden[-1]).out_features if self.hidden else None
        if first is not None and first.in_features == width:
            return  # it follows the hidden layers
        self.hidden = nn.ModuleList()
        if not isinstance(module, nn.Linear):
            self.dropout.p = 0.0  # the assigned module has its own dropout

    @property
    def _own_classifier(self) -> bool:
        return isinstance(self.classifier, Classifier)

    @property
    def _relabelled(self) -> bool:
        """Return True if the config's labels belong to another classifier."""
        own = self.classifier
        return self._assigned or (isinstance(own, Classifier) and own.replaced)

    def describe_classifier(self) -> Head[nn.Linear]:
        """Return the spec with the present classifier, and its linear layers.

        Raises:
            SpecError: no spec can describe the classifier; the message says why.
        """
        parts = list_parts([self.dropout, self.hidden, self.classifier])
        return describe_head(parts, self.body_spec)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; warn if the BatchNorm is folded, since training would destroy it."""
        if mode and came_folded(self._config):
            warn_folded()
        return super().train(mode)

    def place(self, device: torch.device) -> "MobileNetV2":
        """Move the network to a device, in channels_last memory for fast convolutions."""
        # PyTorch's annotations lack this keyword.
        self.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    # ------------------------------------------------------------ what it computes

    def forward_features(self, x: Tensor, start: int | None = None) -> Tensor:
        """Return the last feature map (batch, k, ...) of (batch, channels, height, width).

        Args:
            x: normalised images.
            start: number of the block whose input ``x`` is; default: ``x`` are images.
        """
        if start is None:
            x = self.stem(x)
        for block in self.blocks[start or 0 :]:
            x = block(x)
        return x if self.head is None else self.head(x)

    def pooled_features(self, x: Tensor, start: int | None = None) -> Tensor:
        """Return the pooled features (batch, k) of (batch, channels, height, width).

        Args:
            x: normalised images, or the input of block ``start``.
            start: number of the block whose input ``x`` is; default: ``x`` are images.
        """
        return self.forward_head(self.forward_features(x, start), pre_logits=True)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits (batch, n) of the last feature map (batch, k, height, width).

        Args:
            x: output of :meth:`forward_features`.
            pre_logits: True to return the pooled features (batch, k) instead.
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
        """Return the logits (batch, n) of normalised images (batch, channels, height, width)."""
        return self.forward_head(self.forward_features(x))

    def intermediates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the tensors of one pass, in the order of ``spec.names.intermediate_names``.

        The last is ``logits``, the output of :meth:`forward`. Hidden layers inside an assigned
        classifier are left out.
        """
        tensors: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(
                # A copy, since later activations and additions may work in place.
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
    """Replace the classifier in place and return the network.

    The arguments are those of :meth:`MobileNetV2.reset_classifier`.
    """
    network.reset_classifier(classes, seed)
    return network


def config_of(network: MobileNetV2) -> ModelConfig:
    """Return the config of a network, with its present classifier.

    Raises:
        SpecError: no spec can describe the classifier.
    """
    return network.config


def on_device(array: NDArray, device: torch.device | str) -> torch.Tensor:
    """Return an array as a tensor on a device.

    A GPU reads it from page-locked memory, so that the CPU does not wait for the copy.
    """
    x = torch.from_numpy(np.ascontiguousarray(array))
    if torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def normalise(
    pictures: NDArray, record: Preprocessing, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Normalise images on a device: ``(value - mean) / std``, as ``images.preprocess.normalise``.

    Args:
        pictures: uint8 images (batch, height, width, channels).
        record: preprocessing with mean and standard deviation of each channel.
        device: device of the result.

    Returns:
        float32 (batch, channels, height, width) in channels_last memory, for fast convolutions.
    """
    x = on_device(pictures, device).permute(0, 3, 1, 2)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        for values in (record.mean, record.std)
    )
    return (x.float() - mean) / std


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from uint8 images to outputs.

    It moves the network to the device. Each call sets evaluation mode.
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
    """Return the named intermediate tensors of a forward pass."""
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
    """Return the name of a device if PyTorch can use it on this machine.

    Raises:
        MobileNetV2Error: the device is unknown, or not on this machine.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MobileNetV2Error(
            f"{argument('device', name)}: PyTorch cannot use it here ({reason}); try cpu"
        ) from None
    return name
