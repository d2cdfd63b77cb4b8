"""TensorFlow.js layers models: ``model.json`` and the files of weights that it lists.

The JSON has the model's layers, as Keras 2 writes them, and the name, shape and type of every
weight; the files are the weights one after another. Values may be quantised to 8 or 16 bits. No
file outside of the folder is opened, and all sizes are compared before a file is read.
"""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.checkpoints.containers.hdf5 import parse_keras_json
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import read_file

MODEL, WEIGHTS = "model.json", "weights.bin"
"""Names of a model's two files, as Teachable Machine writes them."""
TYPES = {
    "float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2",
    "bool": "u1",
}  # fmt: skip
"""Stored values by the name of a type."""
MOST_SHARDS = 4096


def read_tfjs(path: Path) -> Container:
    """Read a layers model.

    Args:
        path: its ``model.json``; the weights lie beside it.

    Returns:
        Arrays by name; ``metadata["config"]`` has the layers, ``metadata["user"]`` what its maker
        added.

    Raises:
        WeightsError: not a layers model, damaged, or its files lie elsewhere.
    """
    with bounds.damage("TensorFlow.js model", path):
        if path.stat().st_size > bounds.LARGEST_JSON:
            raise WeightsError(f"its JSON has more than {bounds.LARGEST_JSON:,} bytes")
        said = parse_keras_json(
            read_file(path, bounds.LARGEST_JSON).decode("utf-8-sig", "replace"), path.name
        )
        if not isinstance(said, dict) or "modelTopology" not in said:
            raise WeightsError("not a TensorFlow.js model: it has no modelTopology")
        config = _config(said)
        arrays: dict[str, NDArray] = {}
        budget = bounds.Budget(bounds.LARGEST_FILE)
        for group in _list(said.get("weightsManifest"), "weightsManifest"):
            entries = _list(_mapping(group).get("weights"), "weights")
            data = _read_shards(path.parent, _list(_mapping(group).get("paths"), "paths"))
            _take(entries, data, arrays, budget)
        user = said.get("userDefinedMetadata")
        return Container(arrays, {"format": "tfjs", "config": config, "user": user})


def _config(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the layers."""
    topology = said["modelTopology"]
    if said.get("format") == "graph-model" or (isinstance(topology, dict) and "node" in topology):
        raise WeightsError(
            "a TensorFlow.js graph model, whose layers were compiled away; import the model that "
            "it was made from (.h5, .keras, SavedModel), or convert that one as a layers model "
            "(tensorflowjs_converter --output_format tfjs_layers_model)"
        )
    topology = _mapping(topology)
    return _mapping(topology.get("model_config", topology))


def _read_shards(folder: Path, names: list[Any]) -> bytes:
    """Return the content of files in the folder, one after another."""
    if len(names) > MOST_SHARDS:
        raise WeightsError(f"damaged or hostile: {len(names):,} files of weights")
    files: list[Path] = []
    inside = folder.resolve()
    for name in names:
        if not isinstance(name, str):
            raise WeightsError("damaged: a file's name is no text")
        bounds.check_name(name)
        place = PurePosixPath(name)
        file = (folder / place).resolve()
        unusual = place.is_absolute() or ".." in place.parts or set(name) & set(":\\")
        if unusual or not file.is_relative_to(inside):
            raise WeightsError(f"hostile: its weights are outside of the folder, in {name!r}")
        if not file.is_file():
            raise WeightsError(
                f"its weights are in {name!r}, which is not beside it; put the whole export into "
                "one folder"
            )
        files.append(file)
    total = sum(file.stat().st_size for file in files)
    if total > bounds.LARGEST_FILE:
        raise WeightsError(f"{total:,} bytes of weights are more than {bounds.LARGEST_FILE:,}")
    return b"".join(read_file(file, bounds.LARGEST_FILE) for file in files)


def _take(
    entries: list[Any], data: bytes, arrays: dict[str, NDArray], budget: bounds.Budget
) -> None:
    """Add the arrays that the bytes of a group hold, in order."""
    first = 0
    for entry in map(_mapping, entries):
        name = entry.get("name")
        if not isinstance(name, str):
            raise WeightsError("damaged: a weight without a name")
        quantisation = entry.get("quantization")
        quantised = _mapping(quantisation) if quantisation is not None else {}
        kind = quantised.get("dtype", entry.get("dtype"))
        if kind not in TYPES:
            raise WeightsError(f"{name!r} has values of type {kind!r}, which no network has")
        shape = _list(entry.get("shape"), "shape")
        if len(shape) > bounds.MOST_SIDES or not all(type(x) is int and x >= 0 for x in shape):
            raise WeightsError(f"damaged: {name!r} has the shape {str(shape)[:80]}")
        dtype, count = np.dtype(TYPES[kind]), math.prod(shape)
        size = count * dtype.itemsize
        if first + size > len(data):
            raise WeightsError(
                f"damaged: {name!r} ends beyond the {len(data):,} bytes of its files; download "
                "them again"
            )
        budget.take(name, count * 4)
        if name in arrays:
            raise WeightsError(f"damaged: {name!r} is listed twice")
        stored = np.frombuffer(data, dtype, count, first).reshape(shape)
        arrays[name] = bounds.numeric(_values(stored, quantised, name), name)
        first += size
    if first != len(data):
        raise WeightsError(f"damaged: {len(data) - first:,} bytes of weights are not listed")


def _values(stored: NDArray, quantised: Mapping[str, Any], name: str) -> NDArray:
    """Return the values of a weight, which may be quantised."""
    if not quantised:
        return stored
    if stored.dtype.kind == "f":
        return stored.astype(np.float32)
    scale, least = quantised.get("scale"), quantised.get("min")
    if not isinstance(scale, int | float) or not isinstance(least, int | float):
        raise WeightsError(f"damaged: {name!r} is quantised without a scale and a minimum")
    with np.errstate(all="ignore"):
        return (stored.astype(np.float32) * np.float32(scale) + np.float32(least)).astype(
            np.float32
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WeightsError(f"damaged: {str(value)[:80]!r} where a JSON object belongs")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise WeightsError(f"damaged: its {name} is no list")
    return value
