"""SavedModels of Keras 2: the layers' config and the variables, both read as data.

A SavedModel is a program, which is never run here. Beside it, Keras 2 keeps the config of its
layers, in ``keras_metadata.pb`` or before TensorFlow 2.5 in ``saved_model.pb``. Its variables are a
TensorFlow checkpoint, whose object graph has their full names.

:func:`read_savedmodel` runs only in a process of :mod:`~mobilenetv2.checkpoints.containers.reader`.
"""

from collections.abc import Iterator
from pathlib import Path

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.checkpoints.containers.hdf5 import parse_keras_json
from mobilenetv2.checkpoints.containers.tensorflow import OBJECTS, read_tensorflow
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import read_file

PROGRAM, METADATA = "saved_model.pb", "keras_metadata.pb"
VARIABLES = "variables/variables"
MOST_FIELDS = 2_000_000
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_savedmodel(path: Path, folder: Path) -> Container:
    """Read the config and the variables of a Keras model.

    Args:
        path: its ``saved_model.pb``.
        folder: an empty folder.

    Returns:
        Arrays by full name, such as 'Conv1/kernel'; ``metadata["config"]`` has the layers.

    Raises:
        WeightsError: damaged, or no Keras model.
    """
    config = None
    for file, places in ((path.with_name(METADATA), (1,)), (path, (2, 7, 1, 4))):
        if config is None and file.is_file():
            if file.stat().st_size > bounds.LARGEST_GRAPH:
                raise WeightsError(f"{file.name} has {file.stat().st_size:,} bytes")
            with bounds.damage(f"{file.name} of a SavedModel"):
                config = _root_config(read_file(file, bounds.LARGEST_GRAPH), places)
    if config is None:
        raise WeightsError(
            "a SavedModel without the layers of Keras 2 in it: it is a program, which is never run "
            "here; import the .keras or .h5 file that it was made from"
        )
    variables = path.parent / VARIABLES
    stored = read_tensorflow(variables, folder)
    names = _full_names(bytes.fromhex(stored.metadata.get(OBJECTS, "")))
    arrays = {names.get(key, key): array for key, array in stored.arrays.items()}
    if len(arrays) != len(stored.arrays):
        raise WeightsError("two variables have one name")
    return Container(arrays, {"format": "savedmodel", "config": config})


def _root_config(data: bytes, places: tuple[int, ...]) -> object:
    """Return the config of the first object with layers, or None if there is none.

    Args:
        places: numbers of the fields that lead to an object.
    """
    metadata = 5 if len(places) == 1 else 3
    for item in _inside(data, places):
        found = dict(_fields(item))
        identifier = found.get(4 if len(places) == 1 else 1, b"")
        text = found.get(metadata)
        if isinstance(identifier, bytes) and identifier.startswith(b"_tf_keras_") and text:
            if not isinstance(text, bytes) or len(text) > bounds.LARGEST_JSON:
                raise WeightsError("its Keras metadata is too long")
            said = parse_keras_json(text.decode("utf-8", "replace"), "Keras metadata")
            if isinstance(said, dict) and isinstance(said.get("config"), dict):
                config = said["config"]
                # The root comes first.
                return {"class_name": said.get("class_name"), "config": config}
            return None
    return None


def _full_names(data: bytes) -> dict[str, str]:
    """Return the full name of each variable by its key in the checkpoint."""
    names = {}
    for attribute in _inside(data, (1, 2)):
        found = dict(_fields(attribute))
        full, key = found.get(2), found.get(3)
        if isinstance(full, bytes) and isinstance(key, bytes) and full:
            names[key.decode("utf-8", "replace")] = full.decode("utf-8", "replace")
    return names


def _inside(data: bytes, places: tuple[int, ...]) -> Iterator[bytes]:
    """Yield the messages at a path of field numbers."""
    first, *others = places
    for number, value in _fields(data):
        if number == first and isinstance(value, bytes):
            if others:
                yield from _inside(value, tuple(others))
            else:
                yield value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer's message: (number, value).

    Raises:
        WeightsError: the message is damaged or has too many fields.
    """
    place, count = 0, 0
    while place < len(data):
        count += 1
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == VARINT:
            value, place = _varint(data, place)
        elif wire in (BYTES, FIXED64, FIXED32):
            length = {FIXED64: 8, FIXED32: 4}.get(wire, 0)
            if wire == BYTES:
                length, place = _varint(data, place)
            if length > len(data) - place:
                raise WeightsError("damaged: a field is longer than its message")
            value, place = data[place : place + length], place + length
        else:
            raise WeightsError("damaged: a field of an unknown type")
        if count > MOST_FIELDS or not number:
            raise WeightsError("damaged: not a protocol buffer's fields")
        yield number, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise WeightsError("damaged: a number without an end")
