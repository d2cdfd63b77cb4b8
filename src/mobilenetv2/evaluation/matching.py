"""Matching of class folders to a model's outputs: by label, WordNet id or index."""

import re
import unicodedata
from collections.abc import Callable

from mobilenetv2.errors import DataError
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import listed, quoted

TWO_CLASSES = -1
"""Index that marks a name of two classes."""
SHOWN = 3
"""Largest number of classes in a note."""


def index_note(folders: tuple[str, ...], labels: Labels) -> str | None:
    """Return a note for people if folders match classes by their index only; else None.

    Args:
        folders: names of class folders that :func:`match` accepts.
        labels: classes of the model.
    """
    by_label = _by_label(labels)
    named = all(by_label(folder) is not None for folder in folders)
    if named or not all(folder.isdecimal() for folder in folders):
        return None
    pairs = [f"{folder} as {labels.names[int(folder)]!r}" for folder in folders]
    return (
        f"the class folders have numbers and are taken for the model's classes by index: "
        f"{listed(pairs, SHOWN)}; if they are other classes, the figures mean nothing"
    )


def match(folders: tuple[str, ...], labels: Labels, place: str) -> tuple[int, ...]:
    """Return the index of the model's output for each class folder.

    All folders must match in the same way: by label, else by WordNet id, else by index. In labels,
    'hot dog', 'Hot_Dog' and 'hot-dog' are equal, and synonyms are separated by commas. A background
    class is matched only by its label.

    Args:
        folders: names of the class folders.
        labels: classes of the model.
        place: place of the folders, for messages.

    Raises:
        DataError: some folders match no class, two folders match the same class, or two classes
            have the name of a folder (ImageNet's 'crane' is a bird and a machine).
    """
    ways: dict[str, Callable[[str], int | None]] = {
        "label": _by_label(labels),
        "WordNet id": {id_: i for i, id_ in enumerate(labels.wordnet) if id_ is not None}.get,
        "index": {str(i): i for i in range(len(labels)) if i != labels.background}.get,
    }
    unmatched: dict[str, list[str]] = {}
    for way, look_up in ways.items():
        indices = [look_up(folder) for folder in folders]
        unmatched[way] = [f for f, index in zip(folders, indices, strict=True) if index is None]
        if not unmatched[way]:
            found = tuple(index for index in indices if index is not None)
            for folder, index in zip(folders, found, strict=True):
                if index == TWO_CLASSES:
                    raise DataError(
                        f"{place}: two classes of the model have the name of folder {folder!r}; "
                        "rename the folders to WordNet ids or indices"
                    )
            for position, index in enumerate(found):
                if index in found[:position]:
                    raise DataError(
                        f"{place}: folders {folders[found.index(index)]!r} and "
                        f"{folders[position]!r} both match the class {labels.names[index]!r}; "
                        "join or rename them"
                    )
            return found
    best = min(unmatched, key=lambda way: len(unmatched[way]))
    missing = unmatched[best]
    raise DataError(
        f"{place}: {len(missing)} of {len(folders)} class folders match no class of the model by "
        f"label, WordNet id or index: {quoted(missing)}; the model's classes are "
        f"{quoted(labels.names)}"
    )


def _by_label(labels: Labels) -> Callable[[str], int | None]:
    """Return a function that finds a label: exact, then ignoring case, then among synonyms.

    The exact name comes first: in ImageNet, 'Cardigan' is a dog and 'cardigan' is clothing.
    """
    exact: dict[str, int] = {}
    plain: dict[str, int] = {}
    synonyms: dict[str, int] = {}
    for index, name in enumerate(labels.names):
        parts = {_plain(synonym) for synonym in name.split(",")}
        for table, keys in ((exact, {name}), (plain, {_plain(name)}), (synonyms, parts)):
            for key in keys:
                table[key] = TWO_CLASSES if key in table else index
    plain = synonyms | plain
    return lambda folder: exact.get(folder, plain.get(_plain(folder)))


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFKC", name).casefold().strip()
    return re.sub(r"[\s_\-]+", " ", name)
