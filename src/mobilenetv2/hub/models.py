"""MODEL, wherever a person may name one: a model folder, a catalogue name, ``hf://OWNER/NAME``, or
``embedded``, which comes inside the package.

A published checkpoint is fetched and imported once; the model folder stays in the cache under its
name, the first digits of its SHA-256, those of the configs that lie beside it in a hub's
repository, and this package's version, which decides how they are read.
"""

import hashlib
import re
from pathlib import Path

from mobilenetv2.checkpoints.importer import ImportOptions, import_checkpoint
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import open_file
from mobilenetv2.formats import BY_ENDING, GRAPHS
from mobilenetv2.hub import embedded
from mobilenetv2.hub import huggingface as hub
from mobilenetv2.hub.cache import Fetched, folder, obtain
from mobilenetv2.hub.catalogue import HUB, catalogue
from mobilenetv2.model import store
from mobilenetv2.model.checksum import file_sha256
from mobilenetv2.progress import say
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.version import __version__

MODELS = "models"
EXPORTED = tuple(ending for ending, made in BY_ENDING.items() if not made.refusal)
"""Suffixes of exported files that are run as they are."""


def locate(model: str) -> Path:
    """The model folder of that name; fetched and imported if need be.

    Args:
        model: a folder comes first, so that a name of the catalogue can be a folder of one's own.

    Raises:
        WeightsError: none of the four, or it cannot be had.
        MissingExtra: the library that reads such a checkpoint is not installed.
        OSError: a pipe or a device, or it may not be read.
    """
    path = Path(model)
    made = BY_ENDING.get(path.suffix.lower())
    if made is not None and made.refusal and path.exists():
        raise WeightsError(
            f"{path}: {made.refusal}; give the model folder that it was exported from, or another "
            "format"
        )
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        raise WeightsError(
            f"{path}: the weights of a file; did you mean {path.with_suffix('.xml')}?"
        )
    if path.is_file() and path.suffix.lower() not in EXPORTED:
        raise WeightsError(
            f"{path}: a file, not a model folder; 'mobilenetv2 weights import {path} OUT' makes one"
        )
    if path.exists() and not path.is_dir():
        open_file(path).close()  # no reader waits for a pipe
    if path.is_dir() and (path / "best" / store.CONFIG).is_file():
        raise WeightsError(f"{path}: a run, not a model folder; did you mean {path / 'best'}?")
    inside = sorted(p for p in path.glob("*") if p.suffix in EXPORTED) if path.is_dir() else []
    if inside and not (path / store.CONFIG).is_file():
        raise WeightsError(f"{path}: holds exported files; did you mean {inside[0]}?")
    if path.exists():
        return path  # the store says what is wrong with a file, or with another folder
    if model.startswith(HUB) or model in catalogue():
        return imported(model)
    if model == embedded.EMBEDDED:
        return embedded.folder()
    # A folder whose replacement was interrupted is brought back by its reader.
    if path.with_name(f".previous-{path.name}").exists():
        return path
    beside = [path.parent / name for name in _models_in(path.parent)]
    known = [*map(str, beside), *(() if "/" in model else catalogue())]
    hint = suggestion(model, known)
    raise WeightsError(
        f"{model}: no such model folder, nor a name in the catalogue"
        + (f"; {hint}" if hint.startswith("did you") else "; 'mobilenetv2 weights list' shows them")
    )


def _models_in(folder_: Path) -> list[str]:
    if not folder_.is_dir():
        return []
    return sorted(p.parent.name for p in folder_.glob(f"*/{store.CONFIG}"))


def imported(name: str) -> Path:
    """The model folder of a published checkpoint, in the cache."""
    found = obtain(name)
    target = folder() / MODELS / f"{_plain(name)}-{_digits(found)}-{__version__}"
    if not (target / store.CONFIG).is_file():
        say(f"importing {name} into {target}")
        store.save(target, *import_checkpoint(found.path, _wishes(found)))
    return target


def _digits(found: Fetched) -> str:
    """What decides what comes of the import: the weights, and a repository's configs."""
    if not found.path.is_dir():
        return found.sha256[:12]
    configs = hashlib.sha256()
    for name in hub.CONFIGS:
        file = found.path / name
        configs.update(f"{name} {file_sha256(file) if file.is_file() else 'none'}\n".encode())
    return f"{found.sha256[:12]}-{configs.hexdigest()[:8]}"


def _wishes(found: Fetched) -> ImportOptions:
    """What the catalogue knows and the file does not say."""
    entry = catalogue().get(found.name)
    if entry is None:
        return ImportOptions()
    record = entry.published_preprocessing()
    graph = entry.dialect in GRAPHS
    size = None if graph else (entry.size, entry.size)
    return ImportOptions(
        dialect=entry.dialect, size=size, licence=entry.licence,
        preprocessing=None if graph or found.path.is_dir() else record,
    )  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.removeprefix(HUB))
