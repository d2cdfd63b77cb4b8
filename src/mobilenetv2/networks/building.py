"""Networks built from a spec, and converted to another framework."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Unpack, cast, overload

from mobilenetv2.errors import MobileNetV2Error, SpecError
from mobilenetv2.networks.options import KerasOptions, Options, check_names
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    import keras

    from mobilenetv2.editions.edition import Dtype, EditionName
    from mobilenetv2.model.arrays import Arrays
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
    """Return a network of a spec with initial weights.

    Args:
        spec: spec of the network, or a config with its preprocessing and labels.
        edition: framework of the network: 'torch' for a ``torch.nn.Module``, 'keras' for a
            ``keras.Model``, 'jax' for an ``nnx.Module``, 'numpy' for the readable reference.
        options: ``initialisation="paper"``, ``seed=1``, ``dtype="float64"``, and further options
            of the edition, such as ``backend="jax"`` for Keras.

    Returns:
        The network, in training mode if the framework has modes. Its ``.config`` is the
        :class:`ModelConfig`.

    Raises:
        SpecError: ``spec`` is no spec, or an option is unknown or has an impossible value.
        MobileNetV2Error: the edition is unknown.
        MissingExtra: the framework is not installed.

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
    """Return the network with the same weights in another edition.

    Args:
        network: network of any edition; it is not changed.
        edition: framework of the result: 'torch', 'keras', 'jax' or 'numpy'.
        options: options of ``build``, such as ``dtype="float64"``, which keeps every digit.

    Returns:
        The new network, in evaluation mode if the framework has modes.

    Raises:
        MobileNetV2Error: ``network`` is not a network of an edition, or it computes something
            else than a MobileNetV2 of its config, or the edition is unknown.
        SpecError: an option is unknown or has an impossible value.
        MissingExtra: the framework is not installed.

    Example:
        >>> net = mn.build(mn.NetworkSpec(width=0.1, size=(32, 32), classes=3))
        >>> plain = mn.convert(net, "numpy")
        >>> plain.arrays["classifier.weight"].shape
        (3, 1280)
    """
    from mobilenetv2.editions.edition import check_options, find

    made = find(edition)
    check_names("convert", edition, options, "network", "edition")
    dtype = check_options(options.get("dtype", "float32"), options.get("seed"))
    config, arrays = described(network, dtype)
    converted: Network = made.build(config, **options)
    made.load(converted, arrays)
    return evaluating(converted)


def described(network: "Network", dtype: "Dtype" = "float32") -> "tuple[ModelConfig, Arrays]":
    """Return the config and the canonical arrays of a network, which say all that it computes.

    If its weights have changed since they were loaded, the config says so, without old figures.

    Raises:
        MobileNetV2Error: ``network`` is not a network of an edition, or it computes something
            else than its config and arrays.
        WeightsError: a weight is missing or not finite.
    """
    from mobilenetv2.editions.agreement import require_agreement
    from mobilenetv2.editions.edition import find
    from mobilenetv2.networks.loaded import present

    edition, config = find(edition_of(network)), network_config(network)
    arrays = edition.dump(network, dtype)
    require_agreement(edition, network, config, arrays)
    return present(config, arrays), arrays


def evaluating(network: "Network") -> "Network":
    """Set evaluation mode, if the framework has modes, and return the network."""
    switch = cast(Callable[[], object] | None, getattr(network, "eval", None))
    if switch is not None:
        switch()
    return network


class NotANetwork(MobileNetV2Error):
    """An object that is no network of any edition."""


def edition_of(network: object) -> "EditionName":
    """Return the name of a network's edition.

    Raises:
        MobileNetV2Error: the object is not a network of an edition.
    """
    for name in ("torch", "jax", "numpy"):
        module = sys.modules.get(f"mobilenetv2.editions.{name}.network")
        if module and isinstance(network, module.MobileNetV2):
            return name
    keras = sys.modules.get("keras")
    layers: set[str] = set()
    if keras and isinstance(network, keras.Model) and not hasattr(network, "feature_info"):
        layers = {layer.name for layer in network._flatten_layers()}
        if "Conv1" in layers:
            return "keras"
    article = sys.modules.get("mobilenetv2.editions.article.torch")
    if "block_0_expand" in layers or (article and isinstance(network, article.MobileNetV2)):
        place = f"mobilenetv2.editions.article.{'keras' if layers else 'torch'}"
        raise MobileNetV2Error(
            "this network is the article's implementation, not an edition; to convert it, pass "
            f"{place}.dump(network) to the load function of an edition, with the network of "
            "mobilenetv2.build(network.spec)"
        )
    raise NotANetwork(_foreign(network))


def _foreign(network: object) -> str:
    """Return the message for an object that is not a network of an edition."""
    kind = type(network)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if hasattr(network, "feature_info") and kind.__module__.startswith("mobilenetv2."):
        return f"a {name} is a backbone without classifier; pass the whole network instead"
    message = (
        f"a {name} is not a network of an edition; pass the result of build, create_model or load"
    )
    if hasattr(network, "state_dict"):
        message += (
            ", or import its weights: torch.save(model.state_dict(), 'weights.pth'), then "
            "mobilenetv2.import_checkpoint('weights.pth', output='imported')"
        )
    return message


def network_config(network: object) -> ModelConfig:
    """Return the config of a network, with its present classifier.

    Raises:
        MobileNetV2Error: the network has no config, such as a Keras model from a file; or no spec
            can describe its present classifier.
    """
    from mobilenetv2.editions.edition import find

    config = find(edition_of(network)).config_of(network)
    if not isinstance(config, ModelConfig):
        raise MobileNetV2Error(
            "this network has no config; set its .config to the ModelConfig of the network "
            "that it was made from"
        )
    return config
