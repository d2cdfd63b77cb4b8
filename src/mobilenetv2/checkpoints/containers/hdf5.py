"""HDF5 files of old and new Keras versions, read and written, and ``.keras`` archives.

A file is walked link by link; no name from the file is used to open anything. Whatever could lead
to another file, or to more data than the file holds, is refused before a value is read. The reading
functions run only in a process of :mod:`~mobilenetv2.checkpoints.containers.reader`.
"""

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import documents
from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.errors import WeightsError, require

DEEPEST = 32
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Filters that are part of h5py; other filters would load a plugin."""
MODEL_CONFIG = "model_config"
TEXTS = ("keras_version", "backend", MODEL_CONFIG, "name")
CONFIG, METADATA, WEIGHTS = KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
"""Members of a ``.keras`` archive; the configuration is only read as JSON."""

Layers = Sequence[tuple[str, Sequence[tuple[str, NDArray]]]]
"""Name of every layer with weights, in order, and its (weight name, array) pairs."""
MADE_BY = {"backend": "tensorflow", "keras_version": "2.15.0"}
"""Attributes that Keras checks; it would transpose kernels of other versions and backends."""


def read_keras_archive(path: Path, folder: Path) -> Container:
    """Read a ``.keras`` archive by unpacking it into an empty folder.

    ``metadata["config"]`` is the model's configuration.
    """
    texts, unpacked = {}, folder / WEIGHTS
    with bounds.open_zip(path) as archive:
        if missing := [name for name in KERAS_MEMBERS if name not in archive.namelist()]:
            raise WeightsError(f"not a .keras archive: it has no {missing[0]}")
        for key, name in (("config", CONFIG), ("saved", METADATA)):
            if archive.getinfo(name).file_size > bounds.LARGEST_JSON:
                raise WeightsError(f"its {name} is larger than {bounds.LARGEST_JSON:,} bytes")
            texts[key] = parse_keras_json(archive.read(name).decode("utf-8", "replace"), name)
        with archive.open(WEIGHTS) as source:
            bounds.copy_member(source, unpacked, archive.getinfo(WEIGHTS).file_size)
    contents = read_hdf5(unpacked)
    return Container(contents.arrays, contents.metadata | texts)


def read_hdf5(path: Path) -> Container:
    """Read every array, under Keras's name if the file lists it, otherwise under its path.

    * ``keras-legacy``: ``Conv1/kernel:0`` and so on; a weight name without its layer's name gets
      that as a prefix. ``metadata["layers"]`` is the order: [layer, [names]].
    * ``keras-3``: ``layers/conv2d/vars/0``; ``metadata["names"]`` has the groups' own names.
    """
    import h5py

    with bounds.damage("HDF5 file"), h5py.File(path, "r") as file:
        return _Walk(h5py, path.stat().st_size).contents(file)


class _Walk:
    """State of one pass over one file."""

    def __init__(self, h5py: Any, size: int) -> None:
        self.h5py, self.size = h5py, size
        self.budget = bounds.Budget(size)
        self.seen: set[Any] = set()
        self.datasets: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}

    def contents(self, file: Any) -> Container:
        self.visit(file, "", 0)
        root = "model_weights" if "model_weights" in self.groups else ""
        metadata = self.texts(self.groups[root]) | self.texts(file)
        layers = self.names(self.groups[root], "layer_names")
        if layers is not None:
            return self.legacy(root, layers, metadata)
        arrays = {name: self.array(name) for name in self.datasets}
        metadata["format"] = "hdf5"
        if any("vars" in name.split("/")[:-1] for name in arrays):
            texts = {path: self.texts(group) for path, group in self.groups.items()}
            names = {path: text["name"] for path, text in texts.items() if "name" in text}
            metadata |= {"format": "keras-3", "names": names}
        return Container(arrays, metadata)

    def visit(self, thing: Any, path: str, depth: int) -> None:
        """Record a dataset, or a group with everything in it."""
        if depth > DEEPEST:
            raise WeightsError(f"damaged or hostile: groups more than {DEEPEST} deep")
        information = self.h5py.h5o.get_info(thing.id)
        place = (information.fileno, information.addr)
        if place in self.seen:
            raise WeightsError(f"damaged or hostile: {path!r} is linked to twice, or to itself")
        self.seen.add(place)
        if isinstance(thing, self.h5py.Dataset):
            self.budget.take(path, self.declared(thing, path))
            self.datasets[path] = thing
            return
        if not isinstance(thing, self.h5py.Group):
            raise WeightsError(f"{path!r} is neither an array nor a group")
        self.budget.take(path or "/", 0)
        self.groups[path] = thing
        if thing.id.get_num_objs() > bounds.MOST_ENTRIES:
            raise WeightsError(f"{path or '/'!r} has more than {bounds.MOST_ENTRIES:,} entries")
        for name in thing:
            inner = f"{path}/{name}" if path else name
            if "/" in name:  # h5py would take it for a path
                named = bounds.clean(name)[:80]
                raise WeightsError(f"damaged or hostile: an entry is named {named!r}")
            if thing.id.links.get_info(name.encode()).type != self.h5py.h5l.TYPE_HARD:
                raise WeightsError(
                    f"{bounds.clean(inner)!r} is a link to another place or file, which is not "
                    "read; save the weights themselves"
                )
            self.visit(thing[name], inner, depth + 1)

    def declared(self, dataset: Any, path: str) -> int:
        """Return the array's size in bytes; raise unless it is stored plainly in the file."""
        plist = dataset.id.get_create_plist()
        layout, h5d = plist.get_layout(), self.h5py.h5d
        if layout == h5d.VIRTUAL or (layout == h5d.CONTIGUOUS and plist.get_external_count()):
            raise WeightsError(f"{path!r} is stored in another file, which is not read")
        dtype, shape = dataset.dtype, dataset.shape
        if dtype.kind not in "fiub" or dtype.itemsize > 8 or shape is None:
            raise WeightsError(f"{path!r} has values of type {dtype}, which no network has")
        count: int = math.prod(shape) * dtype.itemsize
        filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
        unknown = [number for number in filters if number not in FILTERS]
        if unknown:
            raise WeightsError(f"{path!r} is compressed by an unsupported filter ({unknown[0]})")
        held = dataset.id.get_storage_size()
        if held > self.size or (not filters and count > held):
            raise WeightsError(f"damaged or hostile: {path!r} is larger than the file")
        if layout == h5d.CHUNKED:
            chunk = math.prod(plist.get_chunk()) * dtype.itemsize
            if chunk > bounds.most_bytes(self.size):
                raise WeightsError(f"damaged or hostile: {path!r} has pieces larger than the file")
        return count

    def array(self, path: str) -> NDArray:
        return bounds.numeric(np.asarray(self.datasets[path][()]), path)

    def attribute(self, thing: Any, name: str) -> Any:
        """Return an attribute of text, or None if it is absent."""
        if name not in thing.attrs:
            return None
        identifier = self.h5py.h5a.open(thing.id, name.encode())
        dtype, shape = identifier.dtype, identifier.shape
        count = math.prod(shape) * dtype.itemsize
        if count > min(self.size, bounds.LARGEST_JSON):
            raise WeightsError(
                f"damaged or hostile: the attribute {name!r} is larger than the file"
            )
        return None if self.h5py.check_string_dtype(dtype) is None else thing.attrs[name]

    def texts(self, thing: Any) -> dict[str, Any]:
        """Return the text attributes of Keras; a configuration is read as JSON."""
        texts = {}
        for name in TEXTS:
            value = self.attribute(thing, name)
            value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            if not isinstance(value, str):
                continue
            if len(value) > bounds.LARGEST_JSON:
                raise WeightsError(f"its {name} is longer than {bounds.LARGEST_JSON:,} characters")
            texts[name] = (
                parse_keras_json(value, name) if name == MODEL_CONFIG else bounds.clean(value)
            )
        return texts

    def names(self, group: Any, attribute: str) -> list[str] | None:
        """Return a list of names; a long list is in parts: layer_names0, layer_names1 ..."""
        pieces = [self.attribute(group, attribute)]
        if pieces[0] is None:
            numbered = (self.attribute(group, f"{attribute}{n}") for n in itertools.count())
            pieces = list(itertools.takewhile(lambda piece: piece is not None, numbered))
        if not pieces:
            return None
        names = [name for piece in pieces for name in np.atleast_1d(piece).tolist()]
        if len(names) > bounds.MOST_ENTRIES:
            raise WeightsError(f"more than {bounds.MOST_ENTRIES:,} names in {attribute}")
        return [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names]

    def legacy(self, root: str, layers: list[str], metadata: dict[str, Any]) -> Container:
        arrays: dict[str, NDArray] = {}
        order: list[tuple[str, list[str]]] = []
        start = f"{root}/" if root else ""
        for layer in layers:
            group = self.groups.get(f"{start}{layer}")
            if group is None:
                named = bounds.clean(layer)
                raise WeightsError(f"damaged: the layer {named!r} is listed but missing")
            listed = self.names(group, "weight_names") or []
            names = [n if n.startswith(f"{layer}/") else f"{layer}/{n}" for n in listed]
            for weight, name in zip(listed, names, strict=True):
                path = f"{start}{layer}/{weight}"
                if path not in self.datasets:
                    raise WeightsError(f"damaged: {bounds.clean(name)!r} is listed but missing")
                if name in arrays:
                    raise WeightsError(f"damaged: {name!r} is listed twice")
                arrays[name] = self.array(path)
            order.append((layer, names))
        return Container(arrays, {**metadata, "format": "keras-legacy", "layers": order})


def parse_keras_json(text: str, what: str) -> Any:
    """Return the value of JSON that Keras has written, its tuples as lists.

    Raises:
        WeightsError: the text is not JSON.
    """
    return documents.parse_json(text, f"its {what}", WeightsError, constants=True, hook=_listed)


def _listed(found: dict[str, Any]) -> Any:
    """Return a JSON object, or the list in one that stands for a tuple in Python."""
    tuples = ("__tuple__", "TensorShape")
    return found["items"] if found.get("class_name") in tuples and "items" in found else found


def legacy_keras_bytes(layers: Layers) -> bytes:
    """Return a ``.h5`` file for ``load_weights`` of Keras 2 and 3; same input, same bytes."""
    buffer = io.BytesIO()
    with require("h5py").File(buffer, "w") as root:
        root.attrs["layer_names"] = np.array([layer.encode() for layer, _ in layers], "S")
        for name, said in MADE_BY.items():
            root.attrs[name] = said.encode()
        for layer, weights in layers:
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name, _ in weights], "S")
            for name, array in weights:
                group.create_dataset(name, data=array, track_times=False)
    return buffer.getvalue()


def keras3_bytes(entries: Sequence[tuple[str, Sequence[NDArray]]]) -> bytes:
    """Return a ``.weights.h5`` file of Keras 3; same input, same bytes.

    Args:
        entries: paths such as ``layers/conv2d``, each with its variables.
    """
    buffer = io.BytesIO()
    with require("h5py").File(buffer, "w") as root:
        for path, arrays in entries:
            group = root.require_group(f"{path}/vars")
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=array, track_times=False)
    return buffer.getvalue()
