"""Class folders to a model's outputs: by label, by WordNet id, or by index."""

import re
import unicodedata

from mobilenetv2.errors import DataError
from mobilenetv2.spec.records import Labels

SHOWN = 5


def match(folders: tuple[str, ...], labels: Labels, place: str) -> tuple[int, ...]:
    """The model's output for each class folder.

    One way has to fit all folders: labels first ('hot dog', 'Hot_Dog' and 'hot-dog' are the same,
    a label's synonyms stand between commas), then WordNet ids, then indices. A background class
    is matched by its label alone.

    Raises:
        DataError: no way fits; the folders that match nothing are named.
    """
    tables = {
        "label": _label_table(labels),
        "WordNet id": {id_: i for i, id_ in enumerate(labels.wordnet) if id_ is not None},
        "index": {str(i): i for i in range(len(labels)) if i != labels.background},
    }
    unmatched: dict[str, list[str]] = {}
    for way, table in tables.items():
        keys = [_plain(folder) if way == "label" else folder for folder in folders]
        unmatched[way] = [f for f, key in zip(folders, keys, strict=True) if key not in table]
        if not unmatched[way]:
            found = tuple(table[key] for key in keys)
            _check_unique(folders, found, labels, place)
            return found
    best = min(unmatched, key=lambda way: len(unmatched[way]))
    missing = unmatched[best]
    shown = ", ".join(map(repr, missing[:SHOWN])) + (" ..." if len(missing) > SHOWN else "")
    have = ", ".join(map(repr, labels.names[:SHOWN])) + (" ..." if len(labels) > SHOWN else "")
    raise DataError(
        f"{place}: {len(missing)} of {len(folders)} class folders match no class of the model by "
        f"label, WordNet id or index: {shown}; the model's classes are {have}"
    )


def _check_unique(
    folders: tuple[str, ...], found: tuple[int, ...], labels: Labels, place: str
) -> None:
    for position, index in enumerate(found):
        if index in found[:position]:
            other = folders[found.index(index)]
            raise DataError(
                f"{place}: folders {other!r} and {folders[position]!r} both match the class "
                f"{labels.names[index]!r}; join or rename them"
            )


def _label_table(labels: Labels) -> dict[str, int]:
    table: dict[str, int] = {}
    for index, name in enumerate(labels.names):
        table.setdefault(_plain(name), index)
    for index, name in enumerate(labels.names):
        for synonym in name.split(","):
            table.setdefault(_plain(synonym), index)
    return table


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFKC", name).casefold().strip()
    return re.sub(r"[\s_\-]+", " ", name)
