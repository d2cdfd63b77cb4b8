"""Names that people know networks by: torchvision's, timm's, Keras', Hugging Face's, TF-slim's.

``aliases.tsv`` is the table. The weights that a name stands for are the catalogue's.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

NONE = "-"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name, the network that it stands for, and the published weights of that network."""

    name: str
    family: str
    """Name in ``spec.published``."""
    width: float
    """Width multiplier."""
    size: int
    """Height and width in pixels."""
    checkpoint: str | None
    """Name in the catalogue; None: no weights are published."""


@lru_cache(maxsize=1)
def aliases() -> dict[str, Alias]:
    """Return every alias by its name, publisher by publisher."""
    text = files("mobilenetv2.spec").joinpath("aliases.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        row["name"]: Alias(
            row["name"], row["family"], float(row["width"]), int(row["size"]),
            None if row["checkpoint"] == NONE else row["checkpoint"],
        )
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    }  # fmt: skip
