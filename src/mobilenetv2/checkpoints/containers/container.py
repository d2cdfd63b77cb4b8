"""What every foreign weights file comes down to: named arrays, and what else the file says.

``read`` is the one way in for people's files. It looks at the first bytes, not at the name, and
takes nothing of the file for granted: see :mod:`mobilenetv2.checkpoints.containers.isolated`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError
from mobilenetv2.formats import GRAPHS

LARGEST_FILE = 1024**3
"""Bytes: a training checkpoint of the widest published network, with all its state, is a tenth."""
MOST_ENTRIES = 20_000
"""Arrays, groups or archive members: MobileNetV2 has 314 tensors, a checkpoint a few times that."""
LONGEST_NAME = 1024
EXPANSION, ROOM = 4, 64 * 1024**2
"""Arrays may take this many times the file's size, and this much beside it.

Weights hardly compress, and the widest widening (bfloat16 to float32) takes twice the bytes.
"""
LARGEST_JSON = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Container:
    """A foreign file's arrays under its own names, and the rest as plain JSON values."""

    arrays: dict[str, NDArray]
    """As stored: floats, integers and booleans of any size, native byte order. NumPy has no
    bfloat16, so that is widened to float32, which holds each of its values."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """``format`` is always there: pytorch, safetensors, keras-legacy, keras-3, hdf5, tensorflow."""


def read(path: Path) -> Container:
    """Read a foreign weights file: PyTorch, HDF5, .keras, safetensors or TensorFlow checkpoint.

    Args:
        path: a file; for TensorFlow also a checkpoint's prefix (``model.ckpt`` where there is a
            ``model.ckpt.index``), a folder with a checkpoint, or a .tar.gz with one.

    Raises:
        WeightsError: not such a file, damaged, hostile, or of a type that no network has.
        MissingExtra: the library that reads it is not installed.
        OSError: it cannot be opened.
    """
    # Here, because both import this module for the record above.
    from mobilenetv2.checkpoints.containers import isolated, safetensors
    from mobilenetv2.checkpoints.containers.kind import recognise

    kind = recognise(path)
    if kind == "safetensors":
        return safetensors.read(path)
    if kind in GRAPHS:
        raise WeightsError(f"{path}: a network's graph, not named weights; it has its own reader")
    return isolated.read(kind, path)


def most_bytes(size: int) -> int:
    """How many bytes of arrays a file of ``size`` bytes may hold before it counts as a bomb."""
    return EXPANSION * size + ROOM


def numeric(array: NDArray, name: str) -> NDArray:
    """The array in native byte order, contiguous; bfloat16 widened to float32.

    Raises:
        WeightsError: text, objects, complex numbers, 8-bit floats: nothing that a network has.
    """
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise WeightsError(f"{name!r} has values of type {array.dtype}, which no network has")
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def check_name(name: str) -> None:
    """Names are shown to people and become JSON: they are text, and not long.

    Raises:
        WeightsError: empty, longer than ``LONGEST_NAME``, or half of a surrogate pair in it.
    """
    if not 0 < len(name) <= LONGEST_NAME:
        raise WeightsError(f"damaged: an entry has a name of {len(name):,} characters")
    if clean(name) != name:
        raise WeightsError(f"damaged: {clean(name)[:80]!r} has characters that are no text")


def clean(text: str) -> str:
    """Text that can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


class Budget:
    """What a file's arrays may still take, counted before any of them is read."""

    def __init__(self, size: int) -> None:
        """``size`` is the file's, in bytes."""
        self._left, self._entries = most_bytes(size), MOST_ENTRIES

    def take(self, name: str, count: int) -> None:
        """One entry of ``count`` bytes.

        Raises:
            WeightsError: too many entries, too many bytes, or a name that is none.
        """
        self._entries -= 1
        self._left -= count
        if self._entries < 0:
            raise WeightsError(f"more than {MOST_ENTRIES:,} entries; no network of this kind")
        check_name(name)
        if count < 0 or self._left < 0:
            raise WeightsError(
                f"damaged or hostile: {name!r} is declared larger than the file can hold"
            )


def plain(value: Any, depth: int = 8) -> Any:
    """``value`` as far as it is plain JSON; whatever else is left out of mappings and lists."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if depth and isinstance(value, Mapping):
        kept = {
            clean(str(key)): plain(item, depth - 1) for key, item in value.items() if is_plain(item)
        }
        return kept
    if depth and isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in value if is_plain(item)]
    return None


def is_plain(value: Any) -> bool:
    """Whether :func:`plain` has something to say about it."""
    return value is None or isinstance(value, bool | int | float | str | bytes | Mapping | list)
