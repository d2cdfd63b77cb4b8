"""Descriptions of a network beside its tensors: in its file, in files beside it, by a person.

A bare state dict has no labels, no preprocessing and no strides. ``NAME.json`` beside an exported
``NAME`` is a model folder's ``config.json`` whose origin names the file by its SHA-256, so that it
is never taken for another's. Formats that hold a graph carry the same text inside.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilenetv2.checkpoints.containers.tensorflow import DATA, prefix_of
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

IMPORT_REVISION = 3
"""Raised when an import gives another config or other arrays: what is cached is imported anew."""
LARGEST = 16 * 1024**2
"""Bytes of a config."""
HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Weights files of a model hub's folder, the preferred one first: safetensors hold no code."""
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of values from 0 to 255, one for each channel."""


@dataclass(frozen=True, slots=True)
class Description:
    """A network as a file describes it. Fields are None, or empty, where nothing is said."""

    spec: NetworkSpec | None = None
    """All of it but the classes and input channels, which the tensors say."""
    preprocessing: Preprocessing | None = None
    normalisation: Normalisation | None = None
    """Without ``preprocessing``: its mean and standard deviation alone."""
    labels: Labels | None = None
    licence: str | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    folded: bool = False
    """BatchNorm came folded into the convolutions."""
    note: str = ""
    """For :attr:`spec.records.Origin.note`."""


def describe_config(config: ModelConfig) -> Description:
    """Return what a config of ours says of a network."""
    licence = config.origin.licence if config.origin else None
    return Description(
        config.spec, preprocessing=config.preprocessing, labels=config.labels, licence=licence,
        metrics=config.metrics,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Settings of an import by its user; None takes what the file says, or what is usual."""

    dialect: str = "auto"
    labels: Labels | None = None
    width: float | None = None
    size: Size | None = None
    spec: NetworkSpec | None = None
    """The whole network but its classes: for a stage table that is no published one."""
    preprocessing: Preprocessing | None = None
    licence: str | None = None


def published_preprocessing(family: str, spec: NetworkSpec) -> Preprocessing:
    """Return what was published with a family's networks, for the network's size and channels."""
    record = PUBLISHED[family].at(spec.size)
    if spec.input_channels == record.channels:
        return record
    grey = [(sum(values) / len(values),) for values in (record.mean, record.std)]
    return dataclasses.replace(record, mean=grey[0], std=grey[1])


# ---------------------------------------------------------------- our config beside a foreign file


def sidecar_path(path: Path) -> Path:
    """Return 'shoes.pth.json' for 'shoes.pth'."""
    return path.with_name(f"{path.name}.json")


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a checkpoint's weights file in hexadecimal; None of several files."""
    for file in (path, path.with_name(prefix_of(path).name + DATA)):
        if file.is_file():
            return sha256_of_file(file)
    return None


def read_sidecar(path: Path) -> ModelConfig | None:
    """Return the config beside a checkpoint; None where there is none, or it is another file's."""
    path = prefix_of(path)
    beside = sidecar_path(path)
    if not beside.is_file() or beside.stat().st_size > LARGEST:
        return None
    try:
        config = parse_config(beside.read_text("utf-8"))
    except (ValueError, DialectError):
        return None  # somebody else's JSON of the same name
    known = config.origin.sha256 if config.origin else None
    return config if known and known == digest(path) else None


def parse_config(text: str) -> ModelConfig:
    """Return the config that :meth:`spec.records.ModelConfig.to_json` wrote into a file.

    Raises:
        DialectError: it is damaged.
    """
    try:
        return ModelConfig.from_mapping(json.loads(text), "the config inside it")
    except (ValueError, RecursionError) as error:
        raise DialectError(f"the config inside it is not JSON ({error})") from None
    except SpecError as error:
        raise DialectError(f"the config inside it is damaged: {error}") from None


# ---------------------------------------------------------------- lists of class names


def read_labels(text: str) -> Labels:
    """Read one name a line, in the order of the outputs; ImageNet's are recognised.

    A first or last line that says 'background' is the background class.
    """
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    background = None
    for index in (0, len(names) - 1):
        if names and names[index].lower() == "background":
            background = index
    imagenet = Labels.imagenet("first") if background == 0 else Labels.imagenet()
    if len(names) == len(imagenet) and _alike(names, imagenet.names):
        return imagenet
    return Labels(names, background=background)


def _alike(names: tuple[str, ...], table: tuple[str, ...]) -> bool:
    """Lists differ in which synonyms they give ('crane' or 'crane bird'), not in most of them."""
    synonyms = [
        ({word.strip().lower() for word in text.split(",")} for text in pair)
        for pair in zip(names, table, strict=True)
    ]
    return sum(bool(mine & theirs) for mine, theirs in synonyms) >= 0.8 * len(names)


def usual_labels(classes: int) -> Labels:
    """Return ImageNet's for 1,000 outputs, with the background first for 1,001, else numbers."""
    if classes == 1000:
        return Labels.imagenet()
    return Labels.imagenet("first") if classes == 1001 else Labels.numbered(classes)


def background_of(labels: Labels, classes: int) -> Literal["first", "last"] | None:
    """Return where the labels have their background class.

    Raises:
        DialectError: there are more or fewer labels than outputs, or it is in their midst.
    """
    if len(labels) != classes:
        raise DialectError(f"{len(labels)} labels for {classes} outputs")
    places: dict[int | None, Literal["first", "last"] | None]
    places = {None: None, classes - 1: "last", 0: "first"}
    if labels.background not in places:
        raise DialectError(f"the background class is neither first nor last: {labels.background}")
    return places[labels.background]
