"""Labels of photos in WebDataset's layout that other programs have written, without an index.

A sample is what shares a key, the name up to the first dot of its last part: ``00012.jpg`` beside
``00012.cls``, a class's number or name, or ``00012.json``, an object that has one. Every such file
is read when the data is opened; ``mobilenetv2 data shard`` copies the photos into shards with an
index, which are opened at once.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.data.archives import ArchivesSource, TarSource
from mobilenetv2.data.layout import ALL, Layout
from mobilenetv2.data.names import archive_stem, archive_suffix, is_photo
from mobilenetv2.data.sources import Source
from mobilenetv2.data.tables.lookup import split_in
from mobilenetv2.documents import parse_json
from mobilenetv2.errors import DataError, ImageError
from mobilenetv2.text import counted

ENDINGS = (".cls", ".cls.txt", ".json")
"""Ends of the names of labels, the first that is there counts."""
KEYS = ("label_name", "class_name", "label", "class", "cls")
"""Names of a label in JSON, the first that is there counts."""
LONGEST = 64 * 1024
"""Largest file of a label, in bytes."""


def key_of(name: str) -> str:
    """Return the key of a file: its name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def is_tars(paths: Sequence[Path]) -> bool:
    """Return whether files are .tar archives, the first with photos in WebDataset's layout."""
    if len(paths) < 2 or {archive_suffix(path.name) for path in paths} != {".tar"}:
        return False
    try:
        return bool(_labels(TarSource(paths[0]).names()))
    except (DataError, OSError):  # whoever opens it says what is wrong
        return False


def find_labels(source: Source) -> Layout | None:
    """Return the photos of archives by split and class; None if they are in no such layout.

    Raises:
        DataError: a label cannot be read.
    """
    if not isinstance(source, TarSource | ArchivesSource):
        return None
    names = source.names()
    labels = _labels(names)
    if not labels:
        return None
    layout, without = Layout(), list[str]()
    for name in filter(is_photo, names):
        file = labels.get(key_of(name))
        label = None if file is None else _label(source, file)
        if label is None:
            without.append(name)
            continue
        inside = layout.splits.setdefault(_split_of(source, name), {})
        inside.setdefault(label, []).append(name)
    if not layout.splits:
        return None
    if without:
        layout.left_out[source.place] = without
        layout.notes.append(
            f"{source.place}: {counted(len(without), 'photo')} without a label left out (first: "
            f"{without[0]})"
        )
    return layout


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Return the file of each label by the key of its photo."""
    keys = {key_of(name) for name in names if is_photo(name)}
    found: dict[str, str] = {}
    for ending in reversed(ENDINGS):
        for name in names:
            if name.endswith(ending) and (key := name.removesuffix(ending)) in keys:
                found[key] = name
    return found


def _label(source: Source, file: str) -> str | None:
    """Return a label as the name of a class; None where JSON has none.

    Raises:
        DataError: the file is damaged.
    """
    where = f"{source.place}/{file}"
    if (source.size(file) or 0) > LONGEST:
        raise DataError(f"{where}: more than {LONGEST:,} bytes, so it is no label")
    try:
        data = source.read(file)
    except ImageError as error:
        raise DataError(str(error)) from None
    if file.endswith(".json"):
        table = parse_json(data, where, DataError)
        known = KEYS if isinstance(table, dict) else ()
        value = next((table[key] for key in known if key in table), None)
        return str(value).strip() if isinstance(value, str | int) else None
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or "\n" in text or "\0" in text:
        raise DataError(f"{where}: holds no number or name of a class")
    return text


def _split_of(source: Source, name: str) -> str:
    """Return the split that a folder or an archive of a photo is called by, or that of all."""
    places = name.split("/")[:-1]
    if isinstance(source, TarSource):
        places.insert(0, archive_stem(Path(source.place).name))
    return next(filter(None, (split_in(f"{place}.tar") for place in places)), ALL)
