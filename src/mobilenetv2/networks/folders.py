"""Networks read from model folders and written to them."""

import dataclasses
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, overload

from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.networks.building import edition_of, evaluating, network_config
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
        folder: a model folder; a name of ``list_models`` with weights ('mobilenetv2_100',
            'timm-100'), which are fetched, checked and kept in the cache; ``hf://OWNER/NAME``; or
            'embedded'.
        edition: the framework, as in ``build``.
        classes: a new, freshly initialised classifier for these classes: their names, or how many.
            None keeps the classifier.
        features_only: a backbone instead, which gives feature maps.
        out_indices: the feature maps by number, as in timm; None is every one.
        options: as in ``build``.

    Returns:
        The network, its :class:`ModelConfig` in ``.config``; or the edition's own module for
        feature maps.

    Raises:
        WeightsError: not a model folder, a damaged one, or weights that cannot be had.
        SpecError: impossible classes, an unknown option, or one with an impossible value.
        MobileNetV2Error: as in ``build``.

    Example:
        >>> net = mn.load("embedded", classes=["hat", "shoes"])
        >>> net.config.labels
        Labels(2: hat, shoes)
    """
    from mobilenetv2.editions.edition import check_options, find
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store
    from mobilenetv2.model.initialisation import replace_classifier

    if not isinstance(folder, str | PathLike):
        raise WeightsError(f"load takes a model folder or a name, not {folder!r}")
    found, seed = find(edition), options.get("seed")
    check_names("load", edition, options, "classes", "features_only", "out_indices")
    check_options(options.get("dtype", "float32"), seed)
    check_indices(features_only, out_indices)
    labels = None if classes is None else Labels.of(classes)
    config, arrays = store.load(locate(os.fspath(folder)))
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

    An existing folder is replaced as a whole, or not at all.

    Args:
        network: what ``build``, ``create_model``, ``load`` or ``convert`` returned.
        folder: the model folder; its parents are made.
        classes: names for the outputs, where the network has none yet or others. None keeps those
            of ``network.config``.

    Raises:
        SpecError: another number of classes than the network has outputs.
        MobileNetV2Error: not a network of an edition.
        WeightsError: a weight is not finite.
        OSError: the disk is full, or the place cannot be written.

    Example:
        >>> net = mn.build(mn.NetworkSpec(width=0.1, size=(32, 32), classes=2))
        >>> mn.save(net, "shoes", classes=["hat", "shoes"])
        >>> mn.load("shoes").config.labels.names
        ('hat', 'shoes')
    """
    from mobilenetv2.editions.edition import find
    from mobilenetv2.model import store

    edition, config = find(edition_of(network)), network_config(network)
    if classes is not None:
        config = _labelled(config, Labels.of(classes))
    store.save(Path(folder), config, edition.dump(network))


def _labelled(config: ModelConfig, labels: Labels) -> ModelConfig:
    """Return a config with other labels for the same outputs."""
    spec = config.spec
    if len(labels) != spec.classes:
        raise SpecError(f"{len(labels)} classes for a network of {spec.classes} outputs")
    if labels.background is None:
        labels = dataclasses.replace(labels, background=config.labels.background)
    return dataclasses.replace(config, labels=labels)
