"""Models by name.

A MODEL is a model folder, a name of the catalogue or one that people know (``spec.aliases``),
``hf://OWNER/NAME``, or ``embedded``, the model in the package. What a folder does not need is
imported late: names, publishers and the download take as long as NumPy.
"""

from pathlib import Path

from mobilenetv2.documents import read_json
from mobilenetv2.errors import SpecError, WeightsError, importing
from mobilenetv2.files import open_file
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.model import store
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.standard import EMBEDDED, HUB

EXPORTED = tuple(ending for ending, made in BY_ENDING.items() if not made.refusal)
"""Suffixes of exported files that are run without conversion."""


def locate(model: str) -> Path:
    """Return the folder or file of a MODEL; fetch and import it if needed.

    Args:
        model: an existing path has priority over a name in the catalogue.

    Raises:
        WeightsError: no such model, or it cannot be fetched or read.
        MissingExtra: the library that reads such a checkpoint is not installed.
        OSError: the path is a pipe or a device, or it may not be read.
    """
    path = Path(model)
    if path.exists():
        if mistake := _mistake(path):
            raise WeightsError(f"{path}: {mistake}")
        return path  # the store says what is wrong with a file, or with another folder
    if model == EMBEDDED:
        return embedded_folder()
    from mobilenetv2.hub.catalogue import catalogue
    from mobilenetv2.spec.aliases import aliases

    if model.startswith(HUB) or model in catalogue() or model in aliases():
        from mobilenetv2.hub.fetching import imported

        return imported(model)
    # A folder whose replacement was interrupted is brought back by its reader.
    if path.with_name(f".previous-{path.name}").exists():
        return path
    beside = sorted(str(folder.parent) for folder in path.parent.glob(f"*/{store.CONFIG}"))
    hint = suggestion(model, [*beside, *(() if "/" in model else catalogue())], near=aliases())
    if not hint.startswith("did you"):
        hint = "'mobilenetv2 weights list' shows them, and mobilenetv2.list_models() every name"
    raise WeightsError(f"{model}: no such model folder, nor a name in the catalogue; {hint}")


def _mistake(path: Path) -> str:
    """Return the reason why a path cannot be a MODEL; '' if it may be one."""
    made = BY_ENDING.get(path.suffix.lower())
    if not path.is_dir():
        open_file(path).close()  # no reader waits for a pipe
    if made and made.refusal:
        return f"{made.refusal}; give the model folder that it was exported from, or another format"
    if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
        return f"the weights of a file; did you mean {path.with_suffix('.xml')}?"
    if not path.is_dir():
        if made:
            return ""
        if found := _complaint(path):
            return found
        name = path.name.partition(".")[0] or "NAME"
        return f"a file, not a model folder; first {importing(path, name)}, then give {name}"
    if (path / store.CONFIG).is_file():
        return ""
    if (path / "best" / store.CONFIG).is_file():
        return f"a run, not a model folder; did you mean {path / 'best'}?"
    exported = sorted(inside for inside in path.glob("*") if inside.suffix in EXPORTED)
    if exported:
        return f"holds exported files; did you mean {exported[0]}?"
    return _complaint(path) or ""


def _complaint(path: Path) -> str | None:
    from mobilenetv2.checkpoints.unreadable import complaint  # what is right needs none

    return complaint(path)


def embedded_folder() -> Path:
    """Return the model folder inside the package, which must not be changed.

    The model was trained here on CIFAR-10 with the recipe ``scratch-small``.
    ``benchmarks/embedded.py`` makes it from a run; its card has its accuracy.
    """
    return Path(__file__).parents[1] / EMBEDDED


def find_spec(
    name: str,
    width: float | None = None,
    size: int | Size | None = None,
    classes: int | None = None,
) -> NetworkSpec:
    """Return a published network, a model folder's, a named one's, or one from a JSON file.

    Args:
        width: another width multiplier.
        size: another height and width in pixels.
        classes: another number of classes; a background class is dropped.

    Raises:
        SpecError: none of them, or not a spec.
        WeightsError: a folder that is no model folder.
    """
    from mobilenetv2.hub.catalogue import catalogue
    from mobilenetv2.hub.names import FAMILIES, spec_of

    changes = width, size, classes
    path, entry = Path(name), catalogue().get(name)
    if name in FAMILIES:
        return spec_of(name, *changes)
    if path.is_dir():
        return store.load_config(path).spec.at(*changes)
    if path.is_file():
        return _spec_in_json(path).at(*changes)
    if name.startswith(HUB) or (entry and entry.preprocessing is None):  # its file says it
        return store.load_config(locate(name)).spec.at(*changes)
    return spec_of(name, *changes)


def _spec_in_json(path: Path) -> NetworkSpec:
    mapping = read_json(path, SpecError)
    if isinstance(mapping, dict) and "spec" in mapping:
        mapping = mapping["spec"]
    return NetworkSpec.from_dict(mapping, str(path))
