"""Google's metadata in a LiteRT file: normalisation, colours and lists of labels.

The metadata is a flatbuffer of the published schema ``metadata_schema.fbs`` (identifier M001), in a
buffer of the model; the files that it names are in a zip archive behind the model. Only whole
frameworks provide that schema in Python, so the field numbers of its few tables are written here.
"""

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.errors import WeightsError
from mobilenetv2.zips import Zip

NAME = b"TFLITE_METADATA"
IDENTIFIER, MODEL_IDENTIFIER = b"M001", b"TFL3"
MOST_ENTRIES = 64
"""Maximum number of tensors, units and files of the metadata, and of members of the archive."""
LARGEST_ENTRY = 4 * 1024**2
NORMALIZATION, IMAGE, GREYSCALE = 1, 2, 2
"""Members of the schema's ProcessUnitOptions, ContentProperties and ColorSpaceType."""
AXIS_LABELS = 2
"""Value TENSOR_AXIS_LABELS of the schema's AssociatedFileType."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Facts in the metadata that matter for a classifier."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    label_files: tuple[str, ...] = ()
    """Names of the archive's lists of labels."""
    licence: str | None = None

    def normalisation(self, channels: int) -> Normalisation | None:
        """Return mean and deviation of each channel's pixels; None if it has none to use."""
        means, stds = ((v * channels if len(v) == 1 else v) for v in (self.mean, self.std))
        usable = len(means) == len(stds) == channels and all(std > 0 for std in stds)
        return (means, stds) if usable and np.isfinite([*means, *stds]).all() else None


def metadata_in(data: bytes, path: Path | None = None) -> Metadata:
    """Return the metadata of a LiteRT file; empty if there is none.

    Args:
        data: the whole file.
        path: name of the file for messages.

    Raises:
        WeightsError: the file is damaged.
    """
    with bounds.damage("LiteRT file", path):
        if data[4:8] != MODEL_IDENTIFIER:
            return Metadata()
        import tflite

        return read_metadata(tflite.Model.GetRootAs(data, 0))


def read_metadata(model: Any) -> Metadata:
    """Return the metadata of a model, a ``tflite.Model``; empty if there is none.

    Raises:
        Errors of any type for damaged bytes: the caller reads in ``bounds.damage``.
    """
    for index in range(min(model.MetadataLength(), MOST_ENTRIES)):
        entry = model.Metadata(index)
        if entry.Name() == NAME:
            data = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
            return _parsed(data) if data[4:8] == IDENTIFIER else Metadata()
    return Metadata()


def _parsed(data: bytes) -> Metadata:
    model = _root(data)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: list[str] = []
    for graph in list(model.tables(3))[:1]:
        for tensor in list(graph.tables(2))[:1]:
            for unit in tensor.tables(4):
                options = unit.table(1)
                if unit.byte(0) == NORMALIZATION and options is not None:
                    mean, std = options.floats(0), options.floats(1)
        for tensor in graph.tables(3):
            files += [
                text
                for file in tensor.tables(6)
                if file.byte(2) == AXIS_LABELS and (text := file.text(0))
            ]
    return Metadata(mean, std, tuple(files), model.text(5))


class _Table:
    """A flatbuffer's table, whose fields are read by their numbers."""

    def __init__(self, data: bytes, place: int) -> None:
        import flatbuffers.table

        self._table: Any = flatbuffers.table.Table(data, place)
        self._data = data

    def byte(self, field: int) -> int:
        """Return a number of 8 bits; 0 if it is absent."""
        at = self._place(field)
        return self._data[at] if at else 0

    def text(self, field: int) -> str | None:
        """Return a text; None if it is absent."""
        at = self._place(field)
        if not at:
            return None
        return bytes(self._table.String(at))[: bounds.LONGEST_NAME].decode("utf-8", "replace")

    def floats(self, field: int) -> tuple[float, ...]:
        """Return a vector of float32 numbers; empty if it is absent."""
        return tuple(struct.unpack_from("<f", self._data, at)[0] for at in self._entries(field))

    def table(self, field: int) -> "_Table | None":
        """Return another table; None if it is absent."""
        at = self._place(field)
        return _Table(self._data, self._table.Indirect(at)) if at else None

    def tables(self, field: int) -> list["_Table"]:
        """Return a vector of tables; empty if it is absent."""
        return [_Table(self._data, self._table.Indirect(at)) for at in self._entries(field)]

    def _place(self, field: int) -> int:
        """Return the place of a field's value; 0 if it is absent."""
        at = int(self._table.Offset(4 + 2 * field))
        return at + int(self._table.Pos) if at else 0

    def _entries(self, field: int) -> list[int]:
        """Return the places of a vector's entries, each of 4 bytes."""
        at = int(self._table.Offset(4 + 2 * field))
        if not at:
            return []
        length = int(self._table.VectorLen(at))
        if not 0 <= length <= MOST_ENTRIES:
            raise ValueError(f"a list of {length:,} entries in the metadata")
        return [int(self._table.Vector(at)) + 4 * index for index in range(length)]


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data, 0)[0])


def archived_texts(data: bytes) -> dict[str, str]:
    """Return the .txt files in the zip archive behind a model, by name.

    Raises:
        WeightsError: the archive is damaged.
    """
    found: dict[str, str] = {}
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return found
    try:
        with Zip(data) as archive:
            for entry in archive.infolist()[:MOST_ENTRIES]:
                if entry.filename.endswith(".txt") and entry.file_size <= LARGEST_ENTRY:
                    found[entry.filename] = archive.content(entry, LARGEST_ENTRY).decode(
                        "utf-8-sig"
                    )
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise WeightsError(f"the list of labels in it is damaged ({error})") from None
    return found
