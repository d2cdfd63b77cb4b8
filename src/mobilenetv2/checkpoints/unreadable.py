"""Errors for foreign files that cannot be used, in one sentence that says what they are."""

from pathlib import Path

from mobilenetv2.checkpoints.containers import kinds
from mobilenetv2.errors import DialectError, MobileNetV2Error, WeightsError
from mobilenetv2.files import read_file
from mobilenetv2.formats import BY_ENDING

LARGEST = 512 * 1024**2
"""Maximum size of a graph in bytes that is looked into."""


def explained(path: Path, error: MobileNetV2Error, exported: bool = False) -> MobileNetV2Error:
    """Return a better error for a file that could not be read, if its kind is recognised.

    Args:
        path: the file or folder.
        error: error of its reader, which is kept if the file is of no recognised kind.
        exported: True where files that this package exports are read, so that an error about one of
            them stays.
    """
    if (found := complaint(path, exported)) is None:
        return error
    return type(error)(f"{path}: {found}")


def complaint(path: Path, exported: bool = False) -> str | None:
    """Return the sentence about a file of a recognised kind that is not read; None for others.

    Args:
        path: the file or folder.
        exported: True to pass over the kinds that this package exports.
    """
    if not path.exists():
        return None
    key = kinds.recognise(path)
    if key is None:
        return _of_graph(path)
    kind = kinds.KINDS[key]
    return None if exported and kind.exported else kind.sentence


def _of_graph(path: Path) -> str | None:
    """Return why a LiteRT or ONNX file is no classifier; None if it may be one, or is damaged."""
    made = BY_ENDING.get(path.suffix.lower())
    if made is None or not made.graph or not path.is_file() or path.stat().st_size > LARGEST:
        return None
    from mobilenetv2.checkpoints.foreign.reading import read_facts, with_files_beside

    try:
        read_facts(with_files_beside(read_file(path, LARGEST), path), path)
    except DialectError as error:
        return str(error).removeprefix(f"{path}: ")
    except WeightsError:
        return None
    return None
