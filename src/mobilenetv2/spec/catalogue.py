"""Catalogue of published checkpoints: address, format, and what their publishers report.

``catalogue.tsv`` lists the single checkpoints and the source of every column. Two publishers have a
grid of widths and sizes instead, which is generated here. A value that no publisher reports is
None; nothing is guessed.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, Literal

from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import Labels, Preprocessing
from mobilenetv2.spec.standard import DEFAULT as DEFAULT
from mobilenetv2.spec.standard import EMBEDDED as EMBEDDED
from mobilenetv2.spec.standard import HUB as HUB

COMMON_NAMES = frozenset({"model.safetensors", "pytorch_model.bin", "mobilenetv2.pth.tar"})
"""Names of published files that other people's files have, too."""

# TF-slim's table: width -> size -> top-1. Keras's files were converted from these checkpoints.
GRID: dict[str, dict[int, float]] = {
    "1.4": {224: 75.0},
    "1.3": {224: 74.4},
    "1.0": {224: 71.8, 192: 70.7, 160: 68.8, 128: 65.3, 96: 60.3},
    "0.75": {224: 69.8, 192: 68.7, 160: 66.4, 128: 63.2, 96: 58.8},
    "0.5": {224: 65.4, 192: 63.9, 160: 61.0, 128: 57.7, 96: 51.2},
    "0.35": {224: 60.3, 192: 58.2, 160: 55.7, 128: 50.8, 96: 45.5},
}
SLIM = "https://storage.googleapis.com/mobilenet_v2/checkpoints/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_"
# The README of keras-applications has the accuracies at 224 pixels only.
KERAS_TOP1 = {
    "1.4": 75.230, "1.3": 74.680, "1.0": 71.336, "0.75": 69.532, "0.5": 65.194, "0.35": 60.086,
}  # fmt: skip

NUMBERS: dict[str, Callable[[str], object]] = {
    "width": float, "size": int, "classes": int, "top1": float, "megabytes": float, "resize": int,
}  # fmt: skip
"""Converters for the columns of ``catalogue.tsv`` that hold numbers."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published file, or a published repository of the Hugging Face hub."""

    name: str
    dialect: str
    where: str
    """Address: https, or ``hf://OWNER/NAME``."""
    width: float
    size: int
    """Height and width of the training images, in pixels."""
    classes: int | None
    """Number of outputs, including the background class; None if there is no classifier."""
    file: str | None = None
    """Name of the file on the disk, or of the weights file in a repository (None: the only one)."""
    background: Literal["first", "last"] | None = None
    top1: float | None = None
    """Top-1 accuracy in percent on ImageNet's validation set, as the publisher reports it."""
    licence: str | None = None
    sha256: str | None = None
    """SHA-256 of the whole file as published, 64 hexadecimal digits."""
    sha256_prefix: str | None = None
    """First digits of the SHA-256, if only these are published."""
    file_size: int | None = None
    """Size in bytes, rounded as the publisher rounds it."""
    preprocessing: str | None = None
    """Name of a family in ``spec.published``; None if the file has its own preprocessing."""
    resize: int | None = None
    """Shorter side in pixels before the crop, if it differs from the family's."""
    note: str = ""

    @property
    def verified(self) -> bool:
        """True if a checksum is published, even if only its first digits."""
        return bool(self.sha256 or self.sha256_prefix)

    @property
    def spec(self) -> NetworkSpec | None:
        """The network, 1000 classes where it has no classifier; None where its file says it."""
        if self.preprocessing is None:
            return None
        return published(
            self.preprocessing, width=self.width, size=self.size, classes=self.classes or 1000,
            background=self.background,
        )  # fmt: skip

    def published_preprocessing(self) -> Preprocessing | None:
        """Return the preprocessing of the publisher's evaluation; None if the file has its own."""
        if self.preprocessing is None:
            return None
        rules = PUBLISHED[self.preprocessing].at((self.size, self.size))
        if self.resize is not None:
            rules = dataclasses.replace(rules, resize=(self.resize, self.resize))
        return rules

    def labels(self) -> Labels | None:
        """Return the names of the outputs, which are ImageNet's; None if the file has its own."""
        known = self.classes is not None and self.preprocessing is not None
        return Labels.imagenet(self.background) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["resize"]
        return {**values, "verified": self.verified, "default": self.name == DEFAULT}


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Checkpoint]:
    """Return all published checkpoints by name."""
    return {entry.name: entry for entry in (*_table(), *_grids())}


def known_file(name: str, sha256: str | None) -> Checkpoint | None:
    """Return the published checkpoint that a file is, by its checksum, or else by its name.

    A name counts only where its publisher gives it to no other file, and where no published
    checksum says that the content is another one.

    Args:
        name: name of the file, without its folder.
        sha256: SHA-256 of the file in hexadecimal, if known.

    Example:
        >>> known_file("mobilenet_v2-7ebf99e0.pth", None).name
        'torchvision-v2'
    """
    entries = catalogue().values()
    for entry in entries:
        if sha256 and entry.sha256 == sha256:
            return entry
    for entry in entries:
        if sha256 and entry.sha256_prefix and sha256.startswith(entry.sha256_prefix):
            return entry
    if name in COMMON_NAMES:
        return None
    named = (entry for entry in entries if entry.file == name)
    return next((entry for entry in named if not (sha256 and entry.verified)), None)


def _table() -> Iterator[Checkpoint]:
    text = files("mobilenetv2.spec").joinpath("catalogue.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for cells in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
        row: dict[str, Any] = {
            column: NUMBERS.get(column, str)(cell) for column, cell in cells.items() if cell != "-"
        }
        checksum = row.pop("sha256", "")
        if checksum:
            row["sha256" if len(checksum) == 64 else "sha256_prefix"] = checksum
        if "megabytes" in row:
            row["file_size"] = round(row.pop("megabytes") * 1e6)
        yield Checkpoint(**row)


def _grids() -> Iterator[Checkpoint]:
    for width, size in ((width, size) for width, sizes in GRID.items() for size in sizes):
        entry = partial(Checkpoint, width=float(width), size=size, licence="Apache-2.0")
        file = f"mobilenet_v2_{width}_{size}.tgz"
        yield entry(
            f"tf-slim-{width}-{size}", "tf-slim", SLIM + file, file=file, classes=1001,
            background="first", top1=GRID[width][size], preprocessing="tf-slim",
        )  # fmt: skip
        for end, classes in (("", 1000), ("-notop", None)):
            file = f"{KERAS_FILE}{width}_{size}{'_no_top' if end else ''}.h5"
            yield entry(
                f"keras-{width}-{size}{end}", "keras", KERAS + file, file=file, classes=classes,
                top1=KERAS_TOP1[width] if classes and size == 224 else None,
                preprocessing="keras", note="without the classifier" if end else "",
            )  # fmt: skip
