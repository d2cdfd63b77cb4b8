"""Models as arguments: a model folder, a name, a network of any edition, or a training run."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.files import temporary_folder
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    from mobilenetv2.networks.options import Network


class Trained(Protocol):
    """A finished training run, such as the result of ``train``."""

    @property
    def best(self) -> Path:
        """Model folder of the best epoch."""


class Weights(Protocol):
    """A config with its arrays, such as the result of ``import_checkpoint``."""

    @property
    def config(self) -> ModelConfig:
        """Config of the network."""

    @property
    def arrays(self) -> Arrays:
        """Canonical arrays."""


AnyModel: TypeAlias = Union[str, PathLike[str], "Network", Trained, Weights]
"""A model folder, a name that ``hub.models.locate`` knows, a network of any edition, a run, or an
imported checkpoint."""


BEST = ("best", "last")
"""Names of the model folders of a run, which is called by its own name."""


@dataclass(frozen=True, slots=True)
class GivenModel:
    """Path and name of a model."""

    place: Path
    """Model folder or exported file."""
    name: str
    """Name in messages and records: the given one, or a network's class."""

    @property
    def title(self) -> str:
        """Short name for folders and addresses: that of the folder, the file or the run.

        It has letters, digits, '.', '_' and '-', 64 at most.
        """
        given = Path(self.name)
        path = self.place.resolve() if given.exists() else given
        if path.name in BEST and path.parent.name:
            path = path.parent
        name = path.stem if path.is_file() else path.name
        return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64] or "model"


@contextmanager
def located(model: AnyModel) -> Iterator[GivenModel]:
    """Yield the path and name of a model; a network is saved to a temporary model folder.

    Raises:
        WeightsError: the model does not exist, or cannot be downloaded.
        MobileNetV2Error: ``model`` is not a path, a name, a network of an edition, or a run.
    """
    given = path_or_name(model)
    if given is not None:
        name = os.fspath(given)
        yield GivenModel(locate(name), name)
        return
    from mobilenetv2.networks import folders
    from mobilenetv2.networks.building import NotANetwork

    with temporary_folder() as folder:
        place = folder / "network"
        try:
            config, arrays = getattr(model, "config", None), getattr(model, "arrays", None)
            if isinstance(config, ModelConfig) and isinstance(arrays, dict):
                store.save(place, config, arrays)
            else:
                folders.save(model, place)  # it refuses what is no network
        except NotANetwork as error:
            raise MobileNetV2Error(
                f"{error}, a model folder, an exported file, a name such as 'mobilenetv2_100', or "
                "the run that train returns"
            ) from None
        yield GivenModel(place, type(model).__name__)


def path_or_name(model: object) -> str | PathLike[str] | None:
    """Return a given path or name, or the model folder of a run; None for a network in memory."""
    if isinstance(model, str | PathLike):
        return model
    best = getattr(model, "best", None)
    return best if isinstance(best, Path) else None
