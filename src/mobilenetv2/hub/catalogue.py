"""What is published, by name: where each checkpoint lies, what it is, what is known about it.

``catalogue.tsv`` has the single checkpoints and says where every column was read. Two publishers
have a grid of widths and sizes instead; those are made here. Nothing in the catalogue is guessed:
what no publisher says is None.
"""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, Literal

from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import Preprocessing

DEFAULT = "timm-100"
"""What training starts from: safetensors, a full checksum, Apache-2.0."""

EMBEDDED = "embedded"
"""The model that comes inside the package: CIFAR-10's classes, there without a network."""
HUB = "hf://"

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
"""Columns of ``catalogue.tsv`` that are no text."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published file, or one folder of a hub."""

    name: str
    dialect: str
    where: str
    """An https address, or ``hf://OWNER/NAME``."""
    width: float
    size: int
    """Height and width in pixels that it was trained for."""
    classes: int | None
    """Outputs, background included; None: there is no classifier."""
    file: str | None = None
    """Its name on the disk; of a hub, the weights file (None: the one that is there)."""
    background: Literal["first", "last"] | None = None
    top1: float | None = None
    """Percent right on ImageNet's validation set, as its publisher reports it."""
    licence: str | None = None
    sha256: str | None = None
    """Of the whole file, 64 hexadecimal digits, as published."""
    sha256_prefix: str | None = None
    """Its first digits, where no more is published."""
    file_size: int | None = None
    """Bytes, rounded as its publisher rounds."""
    preprocessing: str | None = None
    """Name of a family in ``spec.published``; None: the file itself says."""
    resize: int | None = None
    """Shorter side in pixels before the crop, where it is not the family's."""
    note: str = ""

    @property
    def verified(self) -> bool:
        """Whether a checksum is published, if only its first digits."""
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
        """Return what this checkpoint was evaluated with; None where its file says it."""
        if self.preprocessing is None:
            return None
        rules = PUBLISHED[self.preprocessing].at((self.size, self.size))
        if self.resize is not None:
            rules = dataclasses.replace(rules, resize=(self.resize, self.resize))
        return rules


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Checkpoint]:
    """Return every published checkpoint by name."""
    return {entry.name: entry for entry in (*_table(), *_grids())}


def find(name: str) -> Checkpoint:
    """Return the checkpoint of that name.

    Raises:
        WeightsError: there is none; the nearest name is suggested.
    """
    entries = catalogue()
    if name not in entries:
        hint = suggestion(name, entries, near=aliases())
        raise WeightsError(
            f"checkpoint {name!r} is not in the catalogue; {hint} ('weights list' shows them all)"
        )
    return entries[name]


def _table() -> Iterator[Checkpoint]:
    text = files("mobilenetv2.hub").joinpath("catalogue.tsv").read_text("utf-8")
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
