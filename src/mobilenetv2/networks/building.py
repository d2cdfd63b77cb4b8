"""Networks made of a spec, and made anew in another framework."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Unpack, cast, overload

from mobilenetv2.errors import MobileNetV2Error, SpecError
from mobilenetv2.networks.options import KerasOptions, Options, check_names
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    import keras

    from mobilenetv2.editions.edition import EditionName
    from mobilenetv2.networks.options import JaxNetwork, Network, NumpyNetwork, TorchNetwork


@overload
def build(
    spec: NetworkSpec | ModelConfig,
    edition: Literal["torch"] = "torch",
    **options: Unpack[Options],
) -> "TorchNetwork": ...
@overload
def build(
    spec: NetworkSpec | ModelConfig, edition: Literal["keras"], **options: Unpack[KerasOptions]
) -> "keras.Model": ...
@overload
def build(
    spec: NetworkSpec | ModelConfig, edition: Literal["jax"], **options: Unpack[Options]
) -> "JaxNetwork": ...
@overload
def build(
    spec: NetworkSpec | ModelConfig, edition: Literal["numpy"], **options: Unpack[Options]
) -> "NumpyNetwork": ...
@overload
def build(
    spec: NetworkSpec | ModelConfig, edition: str, **options: Unpack[KerasOptions]
) -> "Network": ...
def build(
    spec: NetworkSpec | ModelConfig, edition: str = "torch", **options: Unpack[KerasOptions]
) -> "Network":
    """Return a new network of a spec, with fresh weights.

    Args:
        spec: the network, or a whole config, whose preprocessing and labels come along.
        edition: 'torch' gives a ``torch.nn.Module``, 'keras' a ``keras.Model``, 'jax' an
            ``nnx.Module``, 'numpy' the plain reference.
        options: ``initialisation="paper"``, ``seed=1``, ``dtype="float64"``, and the edition's
            own, such as ``backend="jax"`` of Keras.

    Returns:
        The network in training mode, where the framework has modes. Its ModelConfig is
        ``.config``.

    Raises:
        SpecError: ``spec`` is no spec, an unknown option, or one with an impossible value.
        MobileNetV2Error: an unknown edition.
        MissingExtra: its framework is not installed.

    Example:
        >>> spec = mn.NetworkSpec(width=0.35, size=(96, 96), classes=3)
        >>> net = mn.build(spec, seed=0)
        >>> sum(parameter.numel() for parameter in net.parameters())
        399971
    """
    from mobilenetv2.editions.edition import find

    if not isinstance(spec, NetworkSpec | ModelConfig):
        hint = f"; create_model({spec!r}) takes a name" if isinstance(spec, str) else ""
        raise SpecError(f"build takes a NetworkSpec or a ModelConfig, not {spec!r}{hint}")
    found = find(edition)
    check_names("build", edition, options, "spec", "edition")
    network: Network = found.build(spec, **options)
    return network


@overload
def convert(
    network: "Network", edition: Literal["torch"], **options: Unpack[Options]
) -> "TorchNetwork": ...
@overload
def convert(
    network: "Network", edition: Literal["keras"], **options: Unpack[KerasOptions]
) -> "keras.Model": ...
@overload
def convert(
    network: "Network", edition: Literal["jax"], **options: Unpack[Options]
) -> "JaxNetwork": ...
@overload
def convert(
    network: "Network", edition: Literal["numpy"], **options: Unpack[Options]
) -> "NumpyNetwork": ...
@overload
def convert(network: "Network", edition: str, **options: Unpack[KerasOptions]) -> "Network": ...
def convert(network: "Network", edition: str, **options: Unpack[KerasOptions]) -> "Network":
    """Return the same network, with the same weights, in another edition.

    Args:
        network: a network of any edition; it stays as it is.
        edition: the other framework, as in ``build``.
        options: as in ``build``; under ``dtype="float64"`` no digit is lost.

    Returns:
        The new network, in evaluation mode where the framework has modes.

    Raises:
        MobileNetV2Error: not a network of an edition, or as in ``build``.

    Example:
        >>> net = mn.build(mn.NetworkSpec(width=0.1, size=(32, 32), classes=3))
        >>> plain = mn.convert(net, "numpy")
        >>> plain.arrays["classifier.weight"].shape
        (3, 1280)
    """
    from mobilenetv2.editions.edition import check_options, find

    given, config = find(edition_of(network)), network_config(network)
    made = find(edition)
    check_names("convert", edition, options, "network", "edition")
    dtype = check_options(options.get("dtype", "float32"), options.get("seed"))
    converted: Network = made.build(config, **options)
    made.load(converted, given.dump(network, dtype))
    return evaluating(converted)


def evaluating(network: "Network") -> "Network":
    """Put a network into evaluation mode, where its framework has modes, and return it."""
    switch = cast(Callable[[], object] | None, getattr(network, "eval", None))
    if switch is not None:
        switch()
    return network


def edition_of(network: object) -> "EditionName":
    """Return the name of the edition that a network is of.

    Raises:
        MobileNetV2Error: it is of none.
    """
    for name in ("torch", "jax", "numpy"):
        module = sys.modules.get(f"mobilenetv2.editions.{name}.network")
        if module and isinstance(network, module.MobileNetV2):
            return name
    keras = sys.modules.get("keras")
    layers: set[str] = set()
    if keras and isinstance(network, keras.Model):
        layers = {layer.name for layer in network._flatten_layers()}
        if "Conv1" in layers:
            return "keras"
    article = sys.modules.get("mobilenetv2.editions.article.torch")
    if "block_0_expand" in layers or (article and isinstance(network, article.MobileNetV2)):
        place = f"mobilenetv2.editions.article.{'keras' if layers else 'torch'}"
        raise MobileNetV2Error(
            f"this network is the article's version; take its weights with {place}.dump(network) "
            "and give them to mobilenetv2.editions.torch.load, or another edition's, with what "
            "mobilenetv2.build(network.spec) makes"
        )
    raise MobileNetV2Error(
        f"a {type(network).__name__} is no edition's network; give what build or load returned"
    )


def network_config(network: object) -> ModelConfig:
    """Return the config of a network, with the classifier that it has now.

    Raises:
        MobileNetV2Error: it has none, such as a Keras model that was read from a file; or its
            classifier was replaced by one that no spec can describe.
    """
    from mobilenetv2.editions.edition import find

    config = find(edition_of(network)).config_of(network)
    if not isinstance(config, ModelConfig):
        raise MobileNetV2Error(
            "this network does not say what it is; set its .config to the ModelConfig of the one "
            "that it was made from"
        )
    return config
