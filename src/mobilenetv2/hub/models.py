"""MODEL, wherever a person may name one: a model folder, a catalogue name, ``hf://OWNER/NAME``, or
``embedded``, which comes inside the package.

A published checkpoint is fetched and imported once; the model folder stays in the cache under its
name, the first digits of its SHA-256, those of the configs that lie beside it in a hub's
repository, and this package's version, which decides how they are read.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2 import __version__
from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.files import open_file, read_file, sha256_of_file
from mobilenetv2.formats import BY_ENDING, GRAPHS
from mobilenetv2.hub.cache import Fetched, cache_folder, fetch
from mobilenetv2.hub.catalogue import EMBEDDED, HUB, catalogue
from mobilenetv2.hub.huggingface import CONFIGS
from mobilenetv2.model import store
from mobilenetv2.progress import say
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published

if TYPE_CHECKING:  # every dialect comes in with it, which a model folder does not need
    from mobilenetv2.checkpoints.importer import ImportOptions

MODELS = "models"
EXPORTED = tuple(ending for ending, made in BY_ENDING.items() if not made.refusal)
"""Suffixes of exported files that are run as they are."""


def locate(model: str) -> Path:
    """Return the model folder, or the exported file, of that name; fetched and imported if need be.

    Args:
        model: a folder comes first, so that a name of the catalogue can be a folder of one's own.

    Raises:
        WeightsError: none of the four, or it cannot be had.
        MissingExtra: the library that reads such a checkpoint is not installed.
        OSError: a pipe or a device, or it may not be read.
    """
    path = Path(model)
    if path.exists():
        if mistake := _mistake(path):
            raise WeightsError(f"{path}: {mistake}")
        return path  # the store says what is wrong with a file, or with another folder
    if model.startswith(HUB) or model in catalogue():
        return imported(model)
    if model == EMBEDDED:
        return embedded_folder()
    # A folder whose replacement was interrupted is brought back by its reader.
    if path.with_name(f".previous-{path.name}").exists():
        return path
    beside = sorted(str(folder.parent) for folder in path.parent.glob(f"*/{store.CONFIG}"))
    hint = suggestion(model, [*beside, *(() if "/" in model else catalogue())])
    raise WeightsError(
        f"{model}: no such model folder, nor a name in the catalogue; "
        + (hint if hint.startswith("did you") else "'mobilenetv2 weights list' shows them")
    )


def _mistake(path: Path) -> str:
    """Return what is said of a file or folder that is no MODEL; '' where it may be one."""
    made = BY_ENDING.get(path.suffix.lower())
    if not path.is_dir():
        open_file(path).close()  # no reader waits for a pipe
    if made and made.refusal:
        return f"{made.refusal}; give the model folder that it was exported from, or another format"
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        return f"the weights of a file; did you mean {path.with_suffix('.xml')}?"
    if not path.is_dir():
        advice = f"'mobilenetv2 weights import {path} OUT' makes one"
        return "" if made else f"a file, not a model folder; {advice}"
    if (path / "best" / store.CONFIG).is_file():
        return f"a run, not a model folder; did you mean {path / 'best'}?"
    exported = sorted(inside for inside in path.glob("*") if inside.suffix in EXPORTED)
    if exported and not (path / store.CONFIG).is_file():
        return f"holds exported files; did you mean {exported[0]}?"
    return ""


def embedded_folder() -> Path:
    """Return the model folder inside the package. Only to be read.

    Trained here on CIFAR-10 by the recipe ``scratch-small``; ``benchmarks/embedded.py`` makes it
    out of a run, and its card says how good it is.
    """
    return Path(__file__).parents[1] / EMBEDDED


def imported(name: str) -> Path:
    """Return the model folder of a published checkpoint, in the cache."""
    found = fetch(name)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name.removeprefix(HUB))
    target = cache_folder() / MODELS / f"{plain}-{_digits(found)}-{__version__}"
    if not (target / store.CONFIG).is_file():
        from mobilenetv2.checkpoints.rebasing import import_network

        say(f"importing {name} into {target}")
        store.save(target, *import_network(found.path, _wishes(found)))
    return target


def _digits(found: Fetched) -> str:
    """Return what decides what comes of the import: the weights, and a repository's configs."""
    if not found.path.is_dir():
        return found.sha256[:12]
    configs = hashlib.sha256()
    for name in CONFIGS:
        file = found.path / name
        configs.update(f"{name} {sha256_of_file(file) if file.is_file() else 'none'}\n".encode())
    return f"{found.sha256[:12]}-{configs.hexdigest()[:8]}"


def _wishes(found: Fetched) -> "ImportOptions":
    """Return what the catalogue knows and the file does not say."""
    from mobilenetv2.checkpoints.importer import ImportOptions

    entry = catalogue().get(found.name)
    if entry is None:
        return ImportOptions()
    graph = entry.dialect in GRAPHS
    return ImportOptions(
        dialect=entry.dialect, size=None if graph else (entry.size, entry.size),
        licence=entry.licence,
        preprocessing=None if graph or found.path.is_dir() else entry.published_preprocessing(),
    )  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.removeprefix(HUB))


def find_spec(name: str) -> NetworkSpec:
    """Return a published network, a model folder's, a catalogue name's, or one from a JSON file.

    Raises:
        SpecError: none of them, or not a spec.
    """
    path = Path(name)
    if path.is_dir():
        return store.load_config(path).spec
    if path.is_file():
        try:
            mapping = json.loads(read_file(path).decode("utf-8"))
        except ValueError as error:
            raise SpecError(f"{path}: not JSON ({error})") from None
        if isinstance(mapping, dict) and "spec" in mapping:
            mapping = mapping["spec"]
        return NetworkSpec.from_dict(mapping, str(path))
    if name not in PUBLISHED and (name.startswith(HUB) or name in catalogue()):
        return store.load_config(locate(name)).spec
    return published(name)
