"""Descriptions of a network beside its tensors: in the file, in a file beside it, or by the user.

A bare state dict has no labels, no preprocessing and no strides. ``NAME.json`` beside an exported
``NAME`` is a model folder's ``config.json``; its origin has the SHA-256 of ``NAME``, so that it is
never used for another file. Formats with a graph have the same text inside.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilenetv2.checkpoints.containers.tensorflow import DATA, prefix_of
from mobilenetv2.documents import LARGEST_JSON, parse_json
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import read_file, sha256_of_file
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import (
    TRAINED_HERE,
    Labels,
    ModelConfig,
    Origin,
    Preprocessing,
    Resize,
)

METADATA = "the file's metadata"
"""Source of a normalisation that the file says, but does not compute."""
IMPORT_REVISION = 4
"""Number to increase when an import gives another config or other arrays, so that caches renew."""
HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Weights files in a folder of a model hub, the preferred one first: safetensors hold no code."""
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of values from 0 to 255, one for each channel."""
STRETCHED = ("keras", "article-keras")
"""Families whose files are fed photos that are stretched to the network's size."""


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a network by a file; missing values are None or empty."""

    spec: NetworkSpec | None = None
    """Spec of the network; classes and input channels are those of the tensors."""
    preprocessing: Preprocessing | None = None
    normalisation: Normalisation | None = None
    """Mean and standard deviation, if ``preprocessing`` is not known."""
    input_range: tuple[float, float] | None = None
    """Lowest and highest value of a quantised input, as it was calibrated.

    It says what the calibration photos had, not how the network is fed.
    """
    preprocessing_from: str = ""
    """Source of ``preprocessing`` or ``normalisation``, such as 'the Rescaling layer'."""
    assumed: str = ""
    """Sentence of our own config on how an earlier import chose ``preprocessing``."""
    size: Size | None = None
    """Input size that the arguments of a training run name, if nothing else says it."""
    classes: int | None = None
    """Number of outputs that a config names, 0 for none."""
    channels: int | None = None
    """Number of input channels that a config names."""
    unsupported_resize: str = ""
    """Entry of a config that asks for a resize that this project does not have."""
    bgr: bool = False
    """True if the network takes blue first."""
    headless: bool = False
    """True if the file has no classifier, so that its outputs are features."""
    labels: Labels | None = None
    licence: str | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    folded: bool = False
    """True if BatchNorm is folded into the convolutions."""
    note: str = ""
    """Text for :attr:`spec.records.Origin.note`."""
    history: tuple[str, ...] = ()
    """Steps that made the weights, as :attr:`spec.records.Origin.history` has them."""


def describe_config(config: ModelConfig) -> Description:
    """Return the description that a model's config contains."""
    origin = config.origin or Origin(TRAINED_HERE)
    before = () if origin.source == TRAINED_HERE else (f"Exported from {origin.source}.",)
    return Description(
        config.spec, preprocessing=config.preprocessing, labels=config.labels,
        licence=origin.licence, metrics=config.metrics, assumed=origin.preprocessing,
        history=(*before, *origin.history),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import; None means the file's own value, or else the usual one."""

    dialect: str = "auto"
    labels: Labels | None = None
    width: float | None = None
    size: Size | None = None
    spec: NetworkSpec | None = None
    """Whole network except its classes, for a table of stages that was not published."""
    strides: tuple[int, ...] | None = None
    """Stride of the stem, then of each stage, for tensors that do not say them."""
    preprocessing: Preprocessing | str | None = None
    """Preprocessing, or a name or file of one (see :mod:`checkpoints.preprocessing_option`).

    A range alone, such as '0..1', leaves the resize as it is.
    """
    preprocessing_from: str = ""
    """Reason for ``preprocessing`` in words, if it is not the user's own."""
    resize: Resize | None = None
    """Resize to use instead of the usual one: 'stretch', 'cover' (central square) or 'none'."""
    bgr: bool = False
    """True if the file takes blue first; its first layer is turned to red first."""
    body: bool = False
    """True to import the body alone, with an untrained classifier, whatever the head is."""
    licence: str | None = None


def published_preprocessing(family: str, spec: NetworkSpec) -> Preprocessing:
    """Return a family's published preprocessing, at the network's size and channels."""
    record = PUBLISHED[family].at(spec.size)
    if spec.input_channels == record.channels:
        return record
    grey = [(sum(values) / len(values),) for values in (record.mean, record.std)]
    return dataclasses.replace(record, mean=grey[0], std=grey[1])


def usual_preprocessing(family: str, spec: NetworkSpec) -> Preprocessing:
    """Return how a family's files are usually fed, at the network's size and channels.

    It is the published preprocessing, but for Keras: its published weights were measured on a
    centre crop, while its documentation (``load_img`` with ``target_size``,
    ``image_dataset_from_directory``) stretches photos, and so do most models made with it.
    """
    record = published_preprocessing(family, spec)
    return record.stretched() if family in STRETCHED else record


# ---------------------------------------------------------------- our config beside a foreign file


def sidecar_path(path: Path) -> Path:
    """Return the path of a checkpoint's config: 'shoes.pth.json' for 'shoes.pth'."""
    return path.with_name(f"{path.name}.json")


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a checkpoint's weights file in hexadecimal; None for several files."""
    for file in (path, path.with_name(prefix_of(path).name + DATA)):
        if file.is_file():
            return sha256_of_file(file)
    return None


def read_sidecar(path: Path) -> ModelConfig | None:
    """Return the config beside a checkpoint, or None if there is none that belongs to it."""
    path = prefix_of(path)
    beside = sidecar_path(path)
    if not beside.is_file() or beside.stat().st_size > LARGEST_JSON:
        return None
    try:
        config = parse_config(read_file(beside, LARGEST_JSON))
    except DialectError:
        return None  # another program's JSON with the same name
    known = config.origin.sha256 if config.origin else None
    return config if known and known == digest(path) else None


def parse_config(text: str | bytes) -> ModelConfig:
    """Return the config that :meth:`spec.records.ModelConfig.to_json` wrote into a file.

    Raises:
        DialectError: the config is damaged.
    """
    mapping = parse_json(text, "the config inside it", DialectError)
    try:
        return ModelConfig.from_mapping(mapping, "the config inside it")
    except SpecError as error:
        raise DialectError(f"the config inside it is damaged: {error}") from None


# ---------------------------------------------------------------- class names


def usual_labels(classes: int) -> Labels:
    """Return ImageNet's labels for 1,000 outputs, with background first for 1,001, or numbers."""
    if classes == 1000:
        return Labels.imagenet()
    return Labels.imagenet("first") if classes == 1001 else Labels.numbered(classes)


def background_of(labels: Labels, classes: int) -> Literal["first", "last"] | None:
    """Return the place of the labels' background class.

    Raises:
        DialectError: the number of labels differs from that of the outputs, or the class is neither
            first nor last.
    """
    if len(labels) != classes:
        raise DialectError(f"{len(labels)} labels for {classes} outputs")
    places: dict[int | None, Literal["first", "last"] | None]
    places = {None: None, classes - 1: "last", 0: "first"}
    if labels.background not in places:
        raise DialectError(f"the background class is neither first nor last: {labels.background}")
    return places[labels.background]
