"""Types of what networks are made with and of what is made: an edition's options and its class."""

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
    """A network of any edition."""
    TorchBackbone: TypeAlias = _TorchFeatures
    JaxBackbone: TypeAlias = _JaxFeatures
    NumpyBackbone: TypeAlias = numpy_network.FeaturesOnly
    Backbone: TypeAlias = TorchBackbone | keras.Model | JaxBackbone | NumpyBackbone
    """A network of any edition that gives feature maps."""
    Classes: TypeAlias = Labels | int | Sequence[str]
    """Classes by label record, by number or by name."""


class Options(TypedDict, total=False):
    """Options that every edition has."""

    initialisation: "Initialisation"
    """Initial weights: 'torchvision' (He, fan-out; default) or 'paper' (TF-slim's)."""
    seed: int | None
    """Seed of fresh weights: the same seed, the same weights in every edition."""
    dtype: "Dtype"
    """Type of the weights: 'float32' (default) or 'float64'."""


class KerasOptions(Options, total=False):
    """Options of the Keras edition."""

    backend: "Backend | None"
    """Backend of Keras: 'tensorflow', 'jax' or 'torch'; None keeps Keras's own setting."""
    input_shape: tuple[int | None, ...] | None
    """Input (height, width); None where a side may differ from call to call."""
    include_top: bool
    """False ends with the last feature map."""
    pooling: Literal["avg", "max"] | None
    """Pooling of the feature map where ``include_top`` is False."""
    classifier_activation: str | None
    """None (default) gives logits; keras.applications has 'softmax'."""


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
"""Arguments of torchvision's, timm's and Keras' functions -> what to do here."""


def check_names(verb: str, edition: str, options: Mapping[str, object], *own: str) -> None:
    """Raise SpecError unless every option is one of the edition's.

    Args:
        verb: the function that was called.
        own: its arguments, which may be meant.
    """
    keras, others = (set(kind.__annotations__) for kind in (KerasOptions, Options))
    allowed = keras if edition == "keras" else others
    for name in sorted(options.keys() - allowed):
        hint = ELSEWHERE.get(name) or suggestion(name, [*allowed, *own])
        if name in keras:
            hint = f"edition 'keras' has it{f'; {ELSEWHERE[name]}' if name in ELSEWHERE else ''}"
        raise SpecError(f"{verb} has no argument {name!r}; {hint}")


def backbone(found: "Edition", network: "Network", indices: Sequence[int] | None) -> "Backbone":
    """Return a network as a module of its framework that gives feature maps.

    Args:
        found: the network's edition.
        indices: numbers of the maps that are returned; None is every one.
    """
    made: Backbone = found.features_only(network, indices)
    return made


def check_indices(features_only: bool, indices: Sequence[int] | None) -> None:
    """Raise SpecError where feature maps are chosen of a whole classifier."""
    if indices is not None and not features_only:
        raise SpecError("out_indices chooses feature maps; give features_only=True, too")
