"""Models as arguments: a model folder, a name, or a network of any edition."""

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
    """Path and name of a model."""

    place: Path
    """Model folder or exported file."""
    name: str
    """Name in messages and records: the given one, or a network's class."""


@contextmanager
def located(model: AnyModel) -> Iterator[GivenModel]:
    """Yield the path and name of a model; a network is saved to a temporary model folder.

    Raises:
        WeightsError: the model does not exist, or cannot be downloaded.
        MobileNetV2Error: ``model`` is neither a path or name nor a network of an edition.
    """
    if isinstance(model, str | PathLike):
        name = os.fspath(model)
        yield GivenModel(locate(name), name)
        return
    with TemporaryDirectory(prefix="mobilenetv2-") as folder:
        place = Path(folder) / "network"
        folders.save(model, place)
        yield GivenModel(place, type(model).__name__)
