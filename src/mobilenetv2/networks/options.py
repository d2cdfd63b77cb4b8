"""Types of networks, and of the options that they are built with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.mapping import suggestion

if TYPE_CHECKING:
    import keras

    from mobilenetv2.editions.edition import Dtype, Edition
    from mobilenetv2.editions.jax import network as jax_network
    from mobilenetv2.editions.jax.features import FeaturesOnly as _JaxFeatures
    from mobilenetv2.editions.keras_backend import Backend
    from mobilenetv2.editions.numpy import network as numpy_network
    from mobilenetv2.editions.torch import network as torch_network
    from mobilenetv2.editions.torch.features import FeaturesOnly as _TorchFeatures
    from mobilenetv2.model.initialisation import Initialisation
    from mobilenetv2.spec.records import Labels

    TorchNetwork: TypeAlias = torch_network.MobileNetV2
    JaxNetwork: TypeAlias = jax_network.MobileNetV2
    NumpyNetwork: TypeAlias = numpy_network.MobileNetV2
    Network: TypeAlias = TorchNetwork | keras.Model | JaxNetwork | NumpyNetwork
    """Network of any edition."""
    TorchBackbone: TypeAlias = _TorchFeatures
    JaxBackbone: TypeAlias = _JaxFeatures
    NumpyBackbone: TypeAlias = numpy_network.FeaturesOnly
    Backbone: TypeAlias = TorchBackbone | keras.Model | JaxBackbone | NumpyBackbone
    """Backbone of any edition, which gives feature maps."""
    Classes: TypeAlias = Labels | int | Sequence[str]
    """Labels, a number of classes, or their names."""


class Options(TypedDict, total=False):
    """Options of every edition."""

    initialisation: "Initialisation"
    """Initial weights: 'torchvision' (He, fan-out; default) or 'paper' (TF-slim's)."""
    seed: int | None
    """Seed of the initial weights; a seed gives the same weights in every edition."""
    dtype: "Dtype"
    """Data type of the weights: 'float32' (default) or 'float64'."""


class KerasOptions(Options, total=False):
    """Options of the Keras edition."""

    backend: "Backend | None"
    """Backend of Keras: 'tensorflow', 'jax' or 'torch'; None for Keras's own setting."""
    input_shape: tuple[int | None, ...] | None
    """Input (height, width); None for a side that varies between calls."""
    include_top: bool
    """True for a network with classifier; False for one that ends with the last feature map."""
    pooling: Literal["avg", "max"] | None
    """Pooling of the feature map if ``include_top`` is False."""
    classifier_activation: str | None
    """Activation of the logits: None (default), or 'softmax' as in keras.applications."""


ELSEWHERE = {
    "alpha": "it is called 'width' here",
    "width_mult": "it is called 'width' here",
    "input_shape": "it is called 'size' here",
    "weights": "it is called 'pretrained' here",
    "pretrained_cfg": "give pretrained its tag, such as 'ra_in1k'",
    "include_top": "features_only=True gives feature maps",
    "in_chans": "give build a spec: published(name, input_channels=1)",
    "drop_rate": "give build a spec: published(name, dropout=0.3)",
    "dropout": "give build a spec: published(name, dropout=0.3)",
}
"""Arguments of torchvision, timm and Keras, each with its counterpart here."""


def check_names(verb: str, edition: str, options: Mapping[str, object], *own: str) -> None:
    """Raise SpecError if the edition does not have one of the options.

    Args:
        verb: name of the called function.
        edition: name of the edition.
        options: options by name.
        own: the function's own arguments, for suggestions.
    """
    keras, others = (set(kind.__annotations__) for kind in (KerasOptions, Options))
    allowed = keras if edition == "keras" else others
    for name in sorted(options.keys() - allowed):
        hint = ELSEWHERE.get(name) or suggestion(name, [*allowed, *own])
        if name in keras:
            hint = f"edition 'keras' has it{f'; {ELSEWHERE[name]}' if name in ELSEWHERE else ''}"
        raise SpecError(f"{verb} has no argument {name!r}; {hint}")


def backbone(found: "Edition", network: "Network", indices: Sequence[int] | None) -> "Backbone":
    """Return a module of the network's framework that gives feature maps.

    Args:
        found: edition of the network.
        network: the network.
        indices: indices of the feature maps; None for all.
    """
    made: Backbone = found.features_only(network, indices)
    return made


def check_indices(features_only: bool, indices: Sequence[int] | None) -> None:
    """Raise SpecError if indices of feature maps are given without ``features_only``."""
    if indices is not None and not features_only:
        raise SpecError("out_indices selects feature maps and needs features_only=True")
