"""What is published, by name: where each checkpoint lies, what it is, what is known about it.

``catalogue.tsv`` has the single checkpoints and says where every column was read. Two publishers
have a grid of widths and sizes instead; those are made here. Nothing in the catalogue is guessed:
what no publisher says is None.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Preprocessing

DEFAULT = "timm-100"
"""What training starts from: safetensors, a full checksum, Apache-2.0."""

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

COLUMNS = (
    "name dialect width size classes background top1 licence megabytes sha256 preprocessing "
    "resize file where note"
).split()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One published file, or one folder of a hub."""

    name: str
    dialect: str
    where: str
    """An https address, or ``hf://OWNER/NAME``."""
    file: str | None
    """Its name on the disk; of a hub, the weights file (None: the one that is there)."""
    width: float
    size: int
    """Height and width in pixels that it was trained for."""
    classes: int | None
    """Outputs, background included; None: there is no classifier."""
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
        """A checksum is published, if only its first digits."""
        return bool(self.sha256 or self.sha256_prefix)

    def published_preprocessing(self) -> Preprocessing | None:
        """What this checkpoint was evaluated with; None where its file says it."""
        if self.preprocessing is None:
            return None
        rules = PUBLISHED[self.preprocessing].at((self.size, self.size))
        if self.resize is not None:
            rules = dataclasses.replace(rules, resize=(self.resize, self.resize))
        return rules


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Checkpoint]:
    """Every published checkpoint by name, in the order of the table."""
    return {entry.name: entry for entry in (*_table(), *_slim(), *_keras())}


def find(name: str) -> Checkpoint:
    """The checkpoint of that name.

    Raises:
        WeightsError: there is none; the nearest name is suggested.
    """
    entries = catalogue()
    if name not in entries:
        raise WeightsError(
            f"checkpoint {name!r} is not in the catalogue; {suggestion(name, entries)} "
            "('weights list' shows them all)"
        )
    return entries[name]


def _table() -> Iterator[Checkpoint]:
    text = files("mobilenetv2.hub").joinpath("catalogue.tsv").read_text("utf-8")
    header, *lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert header.split("\t") == COLUMNS, header
    for line in lines:
        row = dict(zip(COLUMNS, line.split("\t"), strict=True))
        known = {column: cell for column, cell in row.items() if cell != "-"}
        checksum = known.get("sha256", "")
        yield Checkpoint(
            name=row["name"],
            dialect=row["dialect"],
            where=row["where"],
            file=known.get("file"),
            width=float(row["width"]),
            size=int(row["size"]),
            classes=int(row["classes"]),
            background=_background(row["background"]),
            top1=float(known["top1"]) if "top1" in known else None,
            licence=known.get("licence"),
            sha256=checksum if len(checksum) == 64 else None,
            sha256_prefix=checksum if 0 < len(checksum) < 64 else None,
            file_size=round(float(known["megabytes"]) * 1e6) if "megabytes" in known else None,
            preprocessing=known.get("preprocessing"),
            resize=int(known["resize"]) if "resize" in known else None,
            note=known.get("note", ""),
        )


def _background(cell: str) -> Literal["first", "last"] | None:
    if cell == "first":
        return "first"
    return "last" if cell == "last" else None


def _slim() -> Iterator[Checkpoint]:
    for width, sizes in GRID.items():
        for size, top1 in sizes.items():
            file = f"mobilenet_v2_{width}_{size}.tgz"
            yield Checkpoint(
                name=f"tf-slim-{width}-{size}", dialect="tf-slim", where=SLIM + file, file=file,
                width=float(width), size=size, classes=1001, background="first", top1=top1,
                licence="Apache-2.0", preprocessing="tf-slim",
            )  # fmt: skip


def _keras() -> Iterator[Checkpoint]:
    for width, sizes in GRID.items():
        for size in sizes:
            for top in (True, False):
                file = f"{KERAS_FILE}{width}_{size}{'' if top else '_no_top'}.h5"
                yield Checkpoint(
                    name=f"keras-{width}-{size}{'' if top else '-notop'}", dialect="keras",
                    where=KERAS + file, file=file, width=float(width), size=size,
                    classes=1000 if top else None,
                    top1=KERAS_TOP1[width] if top and size == 224 else None,
                    licence="Apache-2.0", preprocessing="keras",
                    note="" if top else "without the classifier",
                )  # fmt: skip
