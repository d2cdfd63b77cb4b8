"""Model folder: ``config.json``, ``model.safetensors`` and a card, written in one step."""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mobilenetv2.documents import LARGEST_JSON, parse_table, read_json
from mobilenetv2.errors import SpecError, WeightsError, importing
from mobilenetv2.files import atomic_folder, open_file, read_file, recover, write_atomically
from mobilenetv2.model.arrays import Arrays, check_arrays, require_same
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.records import FORMAT_VERSION, ModelConfig
from mobilenetv2.text import line

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FILES = frozenset({CONFIG, WEIGHTS, CARD})
METADATA = {"format_version": str(FORMAT_VERSION)}
"""Metadata of a weights file: only one entry, because safetensors writes several in an order that
changes from call to call, but the same weights should give the same bytes."""
DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def save(
    folder: Path,
    config: ModelConfig,
    arrays: Arrays,
    dtype: Literal["float32", "float16"] = "float32",
) -> None:
    """Write a model folder; an existing one is replaced as a whole, or not at all.

    Args:
        arrays: canonical, of any float type.
        dtype: type of the stored arrays.

    Raises:
        WeightsError: the arrays do not fit ``config.spec``.
        OSError: the disk is full, or the folder cannot be written.
    """  # fmt: skip
    from safetensors.numpy import save as serialise

    from mobilenetv2.model.card import card, title  # readers need none

    stored = {name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()}
    check_arrays(config.spec, stored, str(folder))
    with atomic_folder(folder) as temporary:
        write_atomically(temporary / WEIGHTS, serialise(stored, METADATA))
        write_atomically(temporary / CONFIG, config.to_json())
        write_atomically(temporary / CARD, card(config, title(folder)))


def load(folder: Path) -> tuple[ModelConfig, Arrays]:
    """Read a model folder and return its config and its arrays, canonical and float32.

    Raises:
        WeightsError: it is not a model folder, it is damaged, or tensors do not fit its config.
    """
    config = load_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise WeightsError(f"{folder}: the weights file {path.name} is missing")
    content = _checked_content(path, config)
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialise

    try:
        stored = deserialise(content)
    except SafetensorError as error:
        raise WeightsError(f"{path}: damaged safetensors file ({error})") from None
    arrays = {name: stored[name].astype(np.float32) for name in parameter_shapes(config.spec)}
    check_arrays(config.spec, arrays, str(path))
    return config, arrays


def read_weights(folder: Path, config: ModelConfig) -> bytes:
    """Return the bytes of the weights file, no more than its network can have; nothing is checked.

    Args:
        folder: the model folder.
        config: its config.

    Raises:
        WeightsError: the file is missing.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise WeightsError(f"{folder}: the weights file {path.name} is missing")
    return read_file(path, _most(parameter_shapes(config.spec)))


def load_config(folder: Path) -> ModelConfig:
    """Read only ``config.json``.

    Raises:
        WeightsError: the folder or the file is missing or invalid.
    """
    recover(folder)
    path = folder / CONFIG
    if folder.is_file():
        raise WeightsError(
            f"{folder}: a file; this needs a model folder, such as the one that it was exported "
            f"from, or the one that {importing(folder, 'imagenet')} makes"
        )
    if not folder.is_dir():
        raise WeightsError(f"{folder}: no such model folder")
    if not path.is_file():
        raise WeightsError(
            f"{folder}: not a model folder, it has no {CONFIG}; give one that 'train', 'weights "
            "import' or 'weights fetch' has made, or a name that 'weights list' shows"
        )
    mapping = read_json(path, WeightsError)
    try:
        config = ModelConfig.from_mapping(mapping, str(path))
        resolve(config.spec)  # raises if such a network is impossible
    except SpecError as error:
        message = str(error)
        raise WeightsError(
            message if line(str(path)) in message else f"{path}: {message}"
        ) from None
    return config


def _most(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the largest size of a weights file, in bytes."""
    return 8 + LARGEST_JSON + sum(4 * math.prod(shape) for shape in shapes.values())


def _checked_content(path: Path, config: ModelConfig) -> bytes:
    """Return the bytes of a weights file whose header fits the spec, and whose size fits both."""
    shapes = parameter_shapes(config.spec)
    most = _most(shapes)
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(LARGEST_JSON, size - 8):
            raise WeightsError(f"{path}: damaged safetensors file (its header has no end)")
        header = parse_table(
            file.read(length), f"{path}: damaged safetensors file, its header", WeightsError
        )
        try:
            metadata = dict(header.pop("__metadata__", {}))
            kinds = {entry["dtype"] for entry in header.values()}
            found = {
                name: tuple(int(side) for side in entry["shape"]) for name, entry in header.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise WeightsError(f"{path}: damaged safetensors file (its header is wrong)") from None
        version = str(metadata.get("format_version", FORMAT_VERSION))
        if version != str(FORMAT_VERSION):
            raise WeightsError(f"{path}: format_version {version} is not {FORMAT_VERSION}")
        if not kinds <= DTYPES.keys():
            raise WeightsError(
                f"{path}: tensors of type {', '.join(sorted(map(str, kinds - DTYPES.keys())))}; "
                "a model folder holds float32 or float16"
            )
        require_same(shapes, found, str(path))
        least = sum(2 * math.prod(shape) for shape in found.values())
        if size < 8 + length + least:
            raise WeightsError(f"{path}: truncated, {size:,} bytes are too few for its tensors")
        if size > most:
            raise WeightsError(f"{path}: damaged, {size:,} bytes are too many for its tensors")
        file.seek(0)
        return file.read(size)
