"""Safetensors files: a header of JSON, then the arrays.

The header is compared with the file's size before any array is read. The library's own reader has
the same checks; this one adds limits, and holds only one array beside the result.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.documents import parse_table
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import open_file

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
WRITTEN = frozenset(np.dtype(kind) for code, kind in DTYPES.items() if code != "BF16")


def read_safetensors(path: Path, largest: int = bounds.LARGEST_FILE) -> Container:
    """Read a file of at most ``largest`` bytes; its own metadata is ``metadata["metadata"]``."""
    with open_file(path) as file, bounds.damage("safetensors file", path):
        return _contents(file, file.seek(0, 2), largest)


def _contents(file: BinaryIO, size: int, largest: int) -> Container:
    if size > largest:
        raise WeightsError(f"{size:,} bytes are more than the limit of {largest:,}")
    file.seek(0)
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > min(bounds.LARGEST_JSON, size - 8):
        raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
    header = parse_table(file.read(length), "its header", WeightsError)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata is not a table of text")
    if len(header) > bounds.MOST_ENTRIES:
        raise WeightsError(f"more than {bounds.MOST_ENTRIES:,} arrays; no network of this kind")
    entries = [_entry(name, entry) for name, entry in header.items()]
    position = 0
    for name, _, _, begin, end in sorted(entries, key=lambda entry: entry[3:]):
        if begin != position:
            raise ValueError(f"{name!r} begins at {begin:,}, not where the last one ends")
        position = end
    if 8 + length + position != size:
        raise ValueError(f"its arrays end at {8 + length + position:,} in a file of {size:,} bytes")
    arrays = {}
    for name, code, shape, begin, _ in entries:
        file.seek(8 + length + begin)
        stored = np.fromfile(file, DTYPES[code], math.prod(shape))
        if code == "BF16":  # the upper half of a float32
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        arrays[name] = stored.reshape(shape)
    texts = {bounds.clean(key): bounds.clean(value) for key, value in metadata.items()}
    return Container(arrays, {"format": "safetensors", "metadata": texts})


def _entry(name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    """Return name, code of the dtype, shape, first byte and the byte after the last."""
    bounds.check_name(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or not _naturals(shape) or not _naturals(offsets):
        raise ValueError(f"{name!r} has an impossible dtype, shape or offset")
    if code not in DTYPES:
        raise WeightsError(f"{name!r} has values of type {code}, which no network has")
    if len(offsets) != 2 or len(shape) > bounds.MOST_SIDES:
        raise ValueError(f"{name!r} has {len(shape)} dimensions and {len(offsets)} offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * np.dtype(DTYPES[code]).itemsize:
        raise ValueError(f"{name!r} has {end - begin:,} bytes for {code} of shape {shape}")
    return name, code, tuple(shape), begin, end


def _naturals(values: Any) -> bool:
    # In Python, unlike in JSON, a bool is an int.
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def safetensors_bytes(
    arrays: Mapping[str, NDArray], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the bytes of a whole file; same arrays, same bytes.

    Raises:
        WeightsError: an array has a type that the format does not have.
    """
    native = {}
    for name, array in arrays.items():
        native[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
        if native[name].dtype not in WRITTEN:
            raise WeightsError(f"{name}: safetensors has no type for {array.dtype}")
    return save(native, dict(metadata) if metadata else None)
