"""The verbs of the Python interface; each imports its framework when it is called."""

import os
import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig

if TYPE_CHECKING:
    from mobilenetv2.editions.edition import EditionName


def build(spec: NetworkSpec | ModelConfig, edition: "EditionName" = "torch", **options: Any) -> Any:
    """A freshly initialised network.

    Args:
        spec: what the network is, or a whole config (then preprocessing and labels come along).
        edition: 'torch' gives a ``torch.nn.Module``, 'keras' a ``keras.Model``, 'jax' an
            ``nnx.Module``, 'numpy' the plain reference.
        options: ``initialisation="paper"``, ``seed=1``, ``dtype="float64"``, and the edition's
            own, such as ``backend="jax"`` of Keras.

    Raises:
        MobileNetV2Error: there is no such edition, or an option has an impossible value.
        MissingExtra: its framework is not installed.
    """
    from mobilenetv2.editions.edition import find

    return find(edition).build(spec, **options)


def load(
    folder: str | PathLike[str],
    edition: "EditionName" = "torch",
    classes: Labels | int | None = None,
    **options: Any,
) -> Any:
    """The network of a model folder, in evaluation mode, its config in ``.config``.

    Args:
        folder: or a name of the catalogue ('timm-100'), or ``hf://OWNER/NAME``.
        edition: the framework, as in :func:`build`.
        classes: give it a new, freshly initialised classifier for these.
        options: as in :func:`build`.

    Raises:
        WeightsError: not a model folder, or a damaged one.
        MobileNetV2Error: as in :func:`build`.
    """
    from mobilenetv2.editions.edition import check_options, find
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store
    from mobilenetv2.model.initialisation import replace_classifier

    found, seed = find(edition), options.get("seed")
    check_options(seed=seed)
    config, arrays = store.load(locate(os.fspath(folder)))
    if classes is not None:
        config, arrays = replace_classifier(config, arrays, classes, seed=seed or 0)
    network = found.build(config, **options)
    found.load(network, arrays, str(folder))
    if hasattr(network, "eval"):
        network.eval()
    return network


def save(network: Any, folder: str | PathLike[str]) -> None:
    """Write a network of any edition as a model folder.

    An existing folder is replaced as a whole, or not at all.

    Raises:
        MobileNetV2Error: it is no edition's network.
        WeightsError: a weight is not finite.
        OSError: the disk is full, or the place cannot be written.
    """
    from mobilenetv2.editions.edition import find
    from mobilenetv2.model import store

    edition, config = find(edition_of(network)), network_config(network)
    store.save(Path(folder), config, edition.dump(network))


def convert(network: Any, edition: "EditionName", **options: Any) -> Any:
    """The same network, with the same weights, in another edition.

    Args:
        edition: the framework, as in :func:`build`.
        options: as in :func:`build`; under ``dtype="float64"`` no digit is lost.

    Raises:
        MobileNetV2Error: it is no edition's network, or as in :func:`build`.
    """
    from mobilenetv2.editions.edition import check_options, find

    given, config = find(edition_of(network)), network_config(network)
    dtype = check_options(options.get("dtype", "float32"), options.get("seed"))
    made = find(edition)
    converted = made.build(config, **options)
    made.load(converted, given.dump(network, dtype))
    if hasattr(converted, "eval"):
        converted.eval()
    return converted


def edition_of(network: Any) -> "EditionName":
    """Which edition's a network is.

    Raises:
        MobileNetV2Error: none's.
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


def network_config(network: Any) -> ModelConfig:
    """What a network is and takes.

    Raises:
        MobileNetV2Error: it has lost it, as a Keras model does that was read from a file; or its
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
