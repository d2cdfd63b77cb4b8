"""A model as a program gives it: by its folder or name, or as a network of any edition."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias, Union

from mobilenetv2.hub.models import locate
from mobilenetv2.networks import folders

if TYPE_CHECKING:
    from mobilenetv2.networks.options import Network

AnyModel: TypeAlias = Union[str, PathLike[str], "Network"]
"""A model folder, a name that ``hub.models.locate`` knows, or a network of any edition."""


@dataclass(frozen=True, slots=True)
class GivenModel:
    """A model on the disk."""

    place: Path
    """The model folder or the exported file."""
    name: str
    """Its name in messages and records: as it was given, or the class of a network."""


@contextmanager
def located(model: AnyModel) -> Iterator[GivenModel]:
    """Yield the place of a model; that of a network is a temporary model folder.

    Raises:
        WeightsError: no such model, or it cannot be had.
        MobileNetV2Error: neither a name nor an edition's network.
    """
    if isinstance(model, str | PathLike):
        name = os.fspath(model)
        yield GivenModel(locate(name), name)
        return
    with TemporaryDirectory(prefix="mobilenetv2-") as folder:
        place = Path(folder) / "network"
        folders.save(model, place)
        yield GivenModel(place, type(model).__name__)
