"""Lists of class names in the forms that people keep them in, given or found beside a network.

One name a line, numbered or not; CSV and TSV, with or without a header; JSON: a list, index to
name, name to index (Keras' ``class_indices``), ImageNet's index to [id, name], or a table of these
under a usual key (Teachable Machine's ``metadata.json``, Hugging Face's ``id2label``).
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.containers.savedmodel import PROGRAM
from mobilenetv2.documents import LARGEST_JSON, parse_json
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.files import read_file
from mobilenetv2.progress import say
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import quoted

OWN_NAMES = ("{}.txt", "{}.labels.txt", "{}_labels.txt", "{}.labels", "{}.labels.json")
"""Names of lists that belong to the network's file, whose name replaces the braces."""
USUAL_NAMES = (
    "labels.txt", "class_names.txt", "classes.txt", "labelmap.txt", "label_map.txt", "dict.txt",
    "labels.json", "class_names.json", "class_indices.json", "classes.json", "metadata.json",
    "labels.csv", "classes.csv",
)  # fmt: skip
"""Usual names of lists in a network's folder, the preferred one first."""
KEYS = (
    "labels", "names", "classes", "class_names", "label_names", "id2label", "label2id",
    "class_to_idx", "class_indices", "categories",
)  # fmt: skip
"""Keys of a table that may hold the names."""
NUMBER_NAMES = frozenset({"id", "index", "idx", "class_id", "label_id", "number", "category_id"})
TEXT_NAMES = frozenset(
    {"name", "label", "class", "class_name", "display_name", "category", "labels"}
)
"""Column headers, and keys of JSON objects, for the number and the name of a class."""
NUMBERED = re.compile(r"(\d{1,9})\s*([:;,.)\t]|\s)\s*(\S.*)")
NAMED = re.compile(r"(.*\S)\s*[:;,\t]\s*(\d{1,9})")
WORDNET = re.compile(r"(n\d{8})[\s,:]+(\S.*)")
LINE = re.compile(r"\r\n|\n|\r")
LONGEST_LINE = 16_384
"""Maximum characters of a line; ImageNet's longest line has 160."""

Numbered = list[tuple[int, str]]
"""Pairs of a class's number and its name."""


def read_label_file(path: Path) -> Labels:
    """Return the labels in a file.

    Raises:
        DialectError: it has no list of class names, or a name or a number occurs twice or is
            missing; the message begins with the path.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        raise DialectError(f"{path}: a folder; {argument('labels')} takes a file with class names")
    if path.exists() and path.stat().st_size > LARGEST_JSON:
        raise DialectError(
            f"{path}: larger than {LARGEST_JSON:,} bytes, which no list of labels is"
        )
    try:
        return read_labels(_decoded(read_file(path, LARGEST_JSON)))
    except DialectError as error:
        raise DialectError(f"{path}: {error}") from None


def find_labels(path: Path, classes: int) -> tuple[Labels, Path] | None:
    """Return the labels of a list beside a network's file, and the list's path.

    A list that bears the network's name must fit. One of a general name that does not fit may
    belong to another network, and is passed over with a note.

    Args:
        path: the network's file.
        classes: number of classes.

    Raises:
        DialectError: the list that bears the network's name is damaged, or has another number of
            names.
    """
    own = [path.with_name(name.format(path.stem)) for name in OWN_NAMES]
    for beside in own:
        if beside != path and beside.is_file():
            labels = read_label_file(beside)
            if len(labels) != classes:
                raise DialectError(
                    f"{beside}: {len(labels)} names for the {classes} classes of {path.name}; "
                    f"give {argument('labels')}, or move it away"
                )
            return labels, beside
    # Teachable Machine's labels lie beside the SavedModel's folder.
    folders = [path.parent, *([path.parent.parent] if path.name == PROGRAM else [])]
    for beside in (folder / name for folder in folders for name in USUAL_NAMES):
        if beside == path or not beside.is_file():
            continue
        try:
            labels = read_label_file(beside)
        except DialectError as error:
            # Many programs write a metadata.json, and a .csv is rather a table of photos.
            if beside.name != "metadata.json" and beside.suffix != ".csv":
                say(f"note: {error}; it is passed over")
            continue
        if len(labels) == classes:
            return labels, beside
        if beside.suffix == ".csv":
            continue  # rather a table of photos
        say(
            f"note: {beside}: {len(labels)} names for the {classes} classes of {path.name}, so it "
            "is passed over"
        )
    return None


def labels_among(texts: Mapping[str, str], classes: int | None) -> tuple[Labels, str] | None:
    """Return the first list of texts that has a name for each class, and its name.

    Args:
        texts: texts by their names, such as the files in an archive; others than lists are skipped.
        classes: number of classes; None for any.
    """
    for name, text in texts.items():
        try:
            labels = read_labels(text)
        except DialectError:
            continue
        if classes is None or len(labels) == classes:
            return labels, name
    return None


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise DialectError("not text in UTF-8 or UTF-16; save the list as UTF-8") from None
    if "\0" in text:
        raise DialectError("no text, or text in UTF-16 without its mark; save the list as UTF-8")
    return text


def read_labels(text: str) -> Labels:
    """Return the labels of a text in any of the known forms, in the order of the outputs.

    ImageNet's names are recognised. A first or last name 'background' is the background class.

    Args:
        text: content of a list of class names.

    Raises:
        DialectError: there is no name, a name occurs twice, or a number is missing.

    Example:
        >>> from mobilenetv2.checkpoints.labels import read_labels
        >>> read_labels("0 hat\\n1 shoes\\n"), read_labels('{"hat": 0, "shoes": 1}')
        (Labels(2: hat, shoes), Labels(2: hat, shoes))
    """
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] in ("[", "{"):
        names, ids = _of_json(text)
    else:
        names, ids = _of_lines([line.strip() for line in LINE.split(text) if line.strip()])
    return labels_of(names, ids)


def labels_of(names: Sequence[str], ids: tuple[str, ...] = ()) -> Labels:
    """Return labels of names, with ImageNet's and a background class recognised.

    Args:
        names: name of each class, in the order of the outputs.
        ids: WordNet id of each class, if they are known.

    Raises:
        DialectError: there is no name, or a name occurs twice.
    """
    names = tuple(names)
    if not names:
        raise DialectError("it has no class names")
    background = None
    for index in (0, len(names) - 1):
        if names[index].lower() == "background":
            background = index
    imagenet = Labels.imagenet("first") if background == 0 else Labels.imagenet()
    if len(names) == len(imagenet) and _alike(names, imagenet.names):
        return imagenet
    require_distinct(names)
    return Labels(names, ids, background)


def require_distinct(names: Sequence[str]) -> None:
    """Raise if two classes have one name, which answers could not tell apart.

    Raises:
        DialectError: a name occurs twice, and is none of ImageNet's doubles.
    """
    imagenet = Labels.imagenet()
    twice = [name for name, count in Counter(names).items() if count > 1]
    # ImageNet has a bird and a machine called crane, so that lists made of its names have, too.
    if twice and len(names) >= len(imagenet):
        words = Counter(w.strip().lower() for name in imagenet.names for w in set(name.split(",")))
        twice = [name for name in twice if words[name.lower()] < 2]
    if twice:
        raise DialectError(f"names that occur twice: {quoted(twice)}; each class needs its own")


def _alike(names: tuple[str, ...], table: tuple[str, ...]) -> bool:
    """Return True if most names agree; lists differ in their synonyms ('crane' or 'crane bird')."""
    synonyms = [
        ({word.strip().lower() for word in text.split(",")} for text in pair)
        for pair in zip(names, table, strict=True)
    ]
    return sum(bool(mine & theirs) for mine, theirs in synonyms) >= 0.8 * len(names)


# ---------------------------------------------------------------- text and tables


def _of_lines(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names, and the WordNet ids if the lines have them."""
    if any(len(line) > LONGEST_LINE for line in lines):
        raise DialectError(f"a line of more than {LONGEST_LINE:,} characters, which is no name")
    if any(re.match(r"item\s*\{", line) for line in lines):
        raise DialectError(
            "a label map of TensorFlow's object detection (item { ... }); give the names one a line"
        )
    if (pairs := _of_table(lines)) is not None:
        return _ordered(pairs), ()
    ids = [WORDNET.fullmatch(line) for line in lines]
    if lines and all(ids):
        return tuple(one[2] for one in ids if one), tuple(one[1] for one in ids if one)
    found = [NUMBERED.fullmatch(line) for line in lines]
    if lines and all(found):
        numbered = [(int(one[1]), one[3]) for one in found if one]
        numbers = {number for number, _ in numbered}
        # '5 dollars' and '10 dollars' are names: after a space, only numbers from 0 count.
        if 0 in numbers or all(one[2].strip() for one in found if one):
            return _ordered(numbered), ()
    named = [NAMED.fullmatch(line) for line in lines]
    if lines and all(named):
        return _ordered([(int(one[2]), one[1]) for one in named if one]), ()
    return tuple(lines), ()


def _of_table(lines: Sequence[str]) -> Numbered | None:
    """Return the pairs of a table with a header that names its columns; None for other texts."""
    if len(lines) < 2:
        return None
    for delimiter in (",", "\t", ";"):
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error:  # a quotation mark that is never closed makes one long cell
            continue
        header = [cell.strip().lower() for cell in rows[0]]
        text = next((i for i, cell in enumerate(header) if cell in TEXT_NAMES), None)
        number = next((i for i, cell in enumerate(header) if cell in NUMBER_NAMES), None)
        if text is None or (len(header) > 1) is (number is None):
            continue
        if len(header) == 1 and header[0] not in ("name", "label", "class_name"):
            continue
        return list(_rows(rows[1:], text, number))
    return None


def _rows(
    rows: Sequence[Sequence[str]], text: int, number: int | None
) -> Iterator[tuple[int, str]]:
    for place, row in enumerate(rows):
        if max(text, number or 0) >= len(row):
            raise DialectError(f"row {place + 2} has {len(row)} cells")
        index = place if number is None else _number(row[number], f"row {place + 2}")
        yield index, row[text].strip()


def _number(text: object, where: str) -> int:
    try:
        if isinstance(text, bool) or not isinstance(text, int | str):
            raise ValueError
        return int(text)
    except ValueError:
        shown = f"{text!r}"[:40]
        raise DialectError(f"{where}: {shown} is not the number of a class") from None


def _ordered(pairs: Numbered) -> tuple[str, ...]:
    """Return the names by their numbers, which go from 0 or from 1 without a gap.

    Raises:
        DialectError: a number is missing or occurs twice, or a name is empty.
    """
    by_number = dict(sorted(pairs))
    if len(by_number) != len(pairs):
        counts = Counter(number for number, _ in pairs)
        twice = next(number for number, count in counts.items() if count > 1)
        raise DialectError(f"the class number {twice} occurs twice")
    first = min(by_number, default=0)
    if first < 0:
        raise DialectError(f"the class number {first} is below 0")
    missing = [n for n in range(min(first, 1), min(first, 1) + len(pairs)) if n not in by_number]
    if missing:
        raise DialectError(f"no name has the class number {missing[0]}")
    if not all(by_number.values()):
        empty = next(number for number, name in by_number.items() if not name)
        raise DialectError(f"the class number {empty} has no name")
    return tuple(by_number.values())


# ---------------------------------------------------------------- JSON


def _of_json(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = parse_json(text, "", DialectError)
    for _ in range(2):  # such as timm's pretrained_cfg
        if isinstance(found, dict):
            key = next(
                (
                    key
                    for key in (*KEYS, "pretrained_cfg")
                    if isinstance(found.get(key), list | dict)
                ),
                None,
            )
            found = found[key] if key else found
    return _of_values(found)


def _of_values(found: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names and WordNet ids of a list or a table of names."""
    if isinstance(found, list):
        if found and all(isinstance(one, dict) for one in found):
            return _ordered([_pair(one, place) for place, one in enumerate(found)]), ()
        return _texts(found), ()
    pairs: list[tuple[int, Any]] = []
    for key, value in found.items():
        if isinstance(value, int) and not isinstance(value, bool):
            pairs.append((value, key))
        elif key.isdecimal() and len(key) < 10:
            pairs.append((int(key), value))
        else:
            raise DialectError(
                f"no list of class names ({key[:40]!r} is neither a number nor has one)"
            )
    values = [value for _, value in sorted(pairs, key=lambda pair: pair[0])]
    if values and all(isinstance(one, list) and len(one) == 2 for one in values):  # ImageNet's
        ids, names = (tuple(map(str, column)) for column in zip(*values, strict=True))
        _ordered([(number, str(value[1])) for number, value in pairs])
        return names, ids
    _texts(values)
    return _ordered(pairs), ()


def _pair(entry: Mapping[str, Any], place: int) -> tuple[int, str]:
    number = next((entry[key] for key in entry if key.lower() in NUMBER_NAMES), place)
    name = next((entry[key] for key in entry if key.lower() in TEXT_NAMES), None)
    if not isinstance(name, str):
        raise DialectError(f"entry {place} has no name")
    return _number(number, f"entry {place}"), name


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    for place, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise DialectError(f"entry {place} is no name ({str(value)[:40]!r})")
    return tuple(value.strip() for value in values)
