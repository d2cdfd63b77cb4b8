"""Reading networks from model folders, and writing them."""

import dataclasses
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, overload

from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.networks.building import described, evaluating
from mobilenetv2.networks.options import (
    KerasOptions,
    Options,
    backbone,
    check_indices,
    check_names,
)
from mobilenetv2.spec.records import Labels, ModelConfig

if TYPE_CHECKING:
    import keras

    from mobilenetv2.networks.options import (
        Backbone,
        Classes,
        JaxBackbone,
        JaxNetwork,
        Network,
        NumpyBackbone,
        NumpyNetwork,
        TorchBackbone,
        TorchNetwork,
    )  # fmt: skip


@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["torch"] = "torch",
    *,
    classes: "Classes | None" = None,
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "TorchNetwork": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["torch"] = "torch",
    *,
    classes: "Classes | None" = None,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "TorchBackbone": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["keras"],
    *,
    classes: "Classes | None" = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "keras.Model": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["jax"],
    *,
    classes: "Classes | None" = None,
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "JaxNetwork": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["jax"],
    *,
    classes: "Classes | None" = None,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "JaxBackbone": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["numpy"],
    *,
    classes: "Classes | None" = None,
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "NumpyNetwork": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: Literal["numpy"],
    *,
    classes: "Classes | None" = None,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "NumpyBackbone": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: str,
    *,
    classes: "Classes | None" = None,
    features_only: Literal[False] = False,
    **options: Unpack[KerasOptions],
) -> "Network": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: str,
    *,
    classes: "Classes | None" = None,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Backbone": ...
@overload
def load(
    folder: str | PathLike[str],
    edition: str = "torch",
    *,
    classes: "Classes | None" = None,
    features_only: bool,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Network | Backbone": ...
def load(
    folder: str | PathLike[str],
    edition: str = "torch",
    *,
    classes: "Classes | None" = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Network | Backbone":
    """Return the network of a model folder, or of published weights, in evaluation mode.

    Args:
        folder: model folder; name of ``list_models`` with weights ('mobilenetv2_100', 'timm-100'),
            which are downloaded, checked and cached; ``hf://OWNER/NAME``; or 'embedded'.
        edition: framework of the network: 'torch', 'keras', 'jax' or 'numpy'.
        classes: number or names of classes for a new classifier with initial weights. Default: the
            classifier of the model folder.
        features_only: True for a backbone that gives feature maps.
        out_indices: indices of the feature maps, as in timm; default: all.
        options: options of ``build``, such as ``dtype="float64"``.

    Returns:
        The network. Its ``.config`` is the :class:`ModelConfig`. With ``features_only``, the
        backbone.

    Raises:
        WeightsError: the folder is missing, is no model folder or is damaged, or weights cannot be
            downloaded.
        SpecError: the classes are impossible, or an option is unknown or has an impossible value.
        MobileNetV2Error: the edition is unknown.
        MissingExtra: the framework is not installed.

    Example:
        >>> net = mn.load("embedded", classes=["hat", "shoes"])
        >>> net.config.labels
        Labels(2: hat, shoes)
    """
    from mobilenetv2.editions.edition import check_options, find
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store
    from mobilenetv2.model.initialisation import replace_classifier
    from mobilenetv2.networks.loaded import remembered

    if not isinstance(folder, str | PathLike):
        raise WeightsError(f"load takes a model folder or a name, not {folder!r}")
    found, seed = find(edition), options.get("seed")
    check_names("load", edition, options, "classes", "features_only", "out_indices")
    check_options(options.get("dtype", "float32"), seed)
    check_indices(features_only, out_indices)
    labels = None if classes is None else Labels.of(classes)
    place = locate(os.fspath(folder))
    config, arrays = store.load(place)
    config = remembered(config, arrays, place)
    if labels is not None:
        config, arrays = replace_classifier(config, arrays, labels, seed=seed or 0)
    network: Network = found.build(config, **options)
    found.load(network, arrays, str(folder))
    evaluating(network)
    return backbone(found, network, out_indices) if features_only else network


def save(
    network: "Network", folder: str | PathLike[str], *, classes: "Classes | None" = None
) -> None:
    """Write a network of any edition as a model folder.

    An existing model folder is replaced as a whole. After an error, it is unchanged. If the weights
    have changed since they were loaded, the figures that were measured with the old ones are left
    out, and the history says so.

    Args:
        network: network of any edition, such as a result of ``build``, ``create_model``, ``load``
            or ``convert``.
        folder: path of the model folder; missing parent folders are created.
        classes: names of the outputs; default: the labels of ``network.config``.

    Raises:
        SpecError: the number of classes differs from the number of outputs.
        MobileNetV2Error: ``network`` is not a network of an edition, or it computes something
            else than a MobileNetV2 of its config, such as with another activation.
        WeightsError: a weight is not finite.
        OSError: the disk is full, or the folder cannot be written.

    Example:
        >>> net = mn.build(mn.NetworkSpec(width=0.1, size=(32, 32), classes=2))
        >>> mn.save(net, "shoes", classes=["hat", "shoes"])
        >>> mn.load("shoes").config.labels.names
        ('hat', 'shoes')
    """
    from mobilenetv2.model import store

    config, arrays = described(network)
    if classes is not None:
        config = _labelled(config, Labels.of(classes))
    store.save(Path(folder), config, arrays)


def _labelled(config: ModelConfig, labels: Labels) -> ModelConfig:
    """Return the config with new labels for the same outputs."""
    from mobilenetv2.model.initialisation import reclassified

    spec = config.spec
    if len(labels) != spec.classes:
        raise SpecError(f"{len(labels)} classes for a network of {spec.classes} outputs")
    if labels.background is None:
        labels = dataclasses.replace(labels, background=config.labels.background)
    origin = config.origin
    if origin is None or (labels.names == config.labels.names and not origin.untrained_classifier):
        return dataclasses.replace(config, labels=labels)
    if not origin.untrained_classifier:
        history = ("Its classes were named anew.", *origin.history)
        return dataclasses.replace(
            config, labels=labels, origin=dataclasses.replace(origin, history=history)
        )
    # Who names the outputs has trained them.
    origin = reclassified(config, len(labels))
    return dataclasses.replace(config, labels=labels, origin=origin, metrics={})
