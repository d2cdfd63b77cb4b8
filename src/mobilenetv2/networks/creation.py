"""Networks by their published names, with published or initial weights."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, cast, overload

from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.networks.building import build
from mobilenetv2.networks.folders import load
from mobilenetv2.networks.options import (
    KerasOptions,
    Options,
    backbone,
    check_indices,
    check_names,
)
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

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
    from mobilenetv2.spec.network import NetworkSpec, Size


@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["torch"] = "torch",
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "TorchNetwork": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["torch"] = "torch",
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "TorchBackbone": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["keras"],
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "keras.Model": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["jax"],
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "JaxNetwork": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["jax"],
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "JaxBackbone": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["numpy"],
    features_only: Literal[False] = False,
    **options: Unpack[Options],
) -> "NumpyNetwork": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: Literal["numpy"],
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> "NumpyBackbone": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: str,
    features_only: Literal[False] = False,
    **options: Unpack[KerasOptions],
) -> "Network": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: str,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Backbone": ...
@overload
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: str = "torch",
    features_only: bool,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Network | Backbone": ...
def create_model(
    name: str,
    pretrained: bool | str = False,
    *,
    num_classes: "Classes | None" = None,
    width: float | None = None,
    size: "int | Size | None" = None,
    edition: str = "torch",
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    **options: Unpack[KerasOptions],
) -> "Network | Backbone":
    """Return a network by its published name, with published or initial weights.

    Args:
        name: name of ``list_models``: torchvision's 'mobilenet_v2', timm's 'mobilenetv2_100',
            Keras' 'MobileNetV2' (with ``width`` and ``size``), Hugging Face's
            'google/mobilenet_v2_1.0_224', TF-slim's 'mobilenet_v2_1.0_224', the catalogue's
            'timm-100', or a published family such as 'paper' or 'small'.
        pretrained: True for the published weights, the best ones if there are several; or the
            publisher's tag of the weights, such as 'IMAGENET1K_V1' or 'ra_in1k'. The weights are
            downloaded once, checked against the published SHA-256 and cached. Default: False.
        num_classes: number of classes, or their names. With ``pretrained``, other classes than the
            published ones get a new classifier with initial weights; the published number keeps
            the classifier. With 0, as in timm, a PyTorch network gives the pooled features.
            Default: the published classes.
        width: width multiplier (Keras' alpha); default: the one of the name.
        size: height and width of the input in pixels; default: those of the name.
        edition: framework of the network: 'torch' for a ``torch.nn.Module``, 'keras' for a
            ``keras.Model``, 'jax' for an ``nnx.Module``, 'numpy' for the readable reference.
        features_only: True for a backbone that gives feature maps.
        out_indices: indices of the feature maps, as in timm; default: all.
        options: options of ``build``, such as ``seed=1``.

    Returns:
        The network, in evaluation mode with ``pretrained`` and otherwise in training mode. Its
        ``.config`` is the :class:`ModelConfig`. With ``features_only``, the backbone.

    Raises:
        SpecError: a name or an option is unknown, or the network is impossible.
        WeightsError: no weights are published, or they cannot be downloaded or read.
        MobileNetV2Error: the edition is unknown.
        MissingExtra: a framework, or the library that reads the weights, is not installed.

    Example:
        >>> net = mn.create_model("mobilenetv2_050", num_classes=["hat", "shoes"])
        >>> net.config.spec
        NetworkSpec(width=0.5, size=(224, 224), classes=2, dropout=0.0)
        >>> tiny = mn.create_model("embedded", pretrained=True)  # comes with the package
        >>> tiny.config.labels
        Labels(10: airplane, automobile, bird, ...)
    """
    from mobilenetv2.editions.edition import find
    from mobilenetv2.hub.names import spec_of

    found = find(edition)
    check_names("create_model", edition, options, "num_classes", "width", "size", "pretrained")
    check_indices(features_only, out_indices)
    _check_name(name)
    if type(num_classes) is int and num_classes == 0 and not features_only:
        if edition != "torch":
            raise SpecError(
                "num_classes=0, for pooled features, needs edition 'torch'; other editions have "
                "pooled_features, and Keras include_top=False with pooling='avg'"
            )
        made = create_model(name, pretrained, width=width, size=size, edition=edition, **options)
        headless = cast("TorchNetwork", made)
        headless.reset_classifier(0)
        return headless
    labels = None if num_classes is None else Labels.of(num_classes)
    numbered = isinstance(num_classes, int)
    if pretrained:
        weights = _weights(name, pretrained, width, size)
        if labels and numbered and len(labels) == _classes_of(weights):
            labels = None  # the published number: the classifier stays
        return load(
            weights, edition, classes=labels, features_only=features_only,
            out_indices=out_indices, **options,
        )  # fmt: skip
    spec = spec_of(name, width, size, None if labels is None else len(labels))
    if labels is None or numbered:
        labels = Labels.numbered(spec.classes, spec.background)
    else:
        spec = spec.replace(background=labels.background_place)
    network = build(ModelConfig(spec, _preprocessing(name, spec), labels), edition, **options)
    return backbone(found, network, out_indices) if features_only else network


def list_models(pattern: str | Iterable[str] = "*", *, pretrained: bool = False) -> list[str]:
    """Return the names that ``create_model`` takes.

    Args:
        pattern: pattern of the names, with ``*``, ``?`` and ``[...]`` as in file names; case does
            not matter. Several patterns give the names that fit any of them.
        pretrained: True for names with published weights only.

    Returns:
        Names of publishers, of the catalogue and of published families, in natural order:
        'a-96' comes before 'a-224'.

    Raises:
        SpecError: a pattern is not a text.

    Example:
        >>> mn.list_models("mobilenetv2_1*d*")[:2]
        ['mobilenetv2_110d', 'mobilenetv2_110d.ra_in1k']
    """
    from mobilenetv2.hub.names import has_weights, known_names

    several = isinstance(pattern, Iterable) and not isinstance(pattern, str)
    patterns = list(pattern) if several else [pattern]
    if not all(isinstance(one, str) for one in patterns):
        raise SpecError(f"list_models takes a pattern or a list of patterns, not {pattern!r}")
    lower = [str(one).casefold() for one in patterns]
    fitting = [n for n in known_names() if any(fnmatchcase(n.casefold(), one) for one in lower)]
    return sorted((n for n in fitting if not pretrained or has_weights(n)), key=_natural)


def _natural(name: str) -> tuple[list[tuple[str, float]], str]:
    """Return a sort key that puts 'a-96' before 'a-224'."""
    parts = re.findall(r"(\D*)(\d*\.?\d*)", name.casefold())
    return [(text, float(number.strip(".") or 0)) for text, number in parts], name


def _check_name(name: str) -> None:
    """Raise SpecError if a name is not a text, or is the path of a folder."""
    from mobilenetv2.hub.names import known_names

    if not isinstance(name, str):
        raise SpecError(f"create_model takes a name, not {name!r}; build takes a spec")
    if name not in known_names() and (name.startswith("hf://") or Path(name).exists()):
        raise SpecError(f"create_model takes a name; load({name!r}) reads a model folder")


def _weights(
    name: str, pretrained: bool | str, width: float | None, size: "int | Size | None"
) -> str:
    from mobilenetv2.hub.names import weights_of

    if not isinstance(pretrained, bool | str):
        raise WeightsError(f"pretrained {pretrained!r} must be True, False or a tag of weights")
    return weights_of(name, width, size, pretrained if isinstance(pretrained, str) else None)


def _classes_of(weights: str) -> int:
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store

    return store.load_config(locate(weights)).spec.classes


def _preprocessing(name: str, spec: "NetworkSpec") -> Preprocessing:
    """Return the preprocessing that was published with a network."""
    from mobilenetv2.hub.names import family_of

    family = PUBLISHED.get(family_of(name))
    return family.at(spec.size) if family else Preprocessing.default(spec)
