"""HDF5 files read by h5py: Keras's weights of both ages, and whole saved models.

The file is walked link by link, and nothing is opened by a name that the file gives. Everything
that could lead elsewhere, or to more than the file holds, is refused before a value is read.
:func:`read` runs in the process of :mod:`~mobilenetv2.checkpoints.containers.child` only.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.container import (
    LARGEST_JSON,
    MOST_ENTRIES,
    Budget,
    Container,
    clean,
    most_bytes,
    numeric,
)  # fmt: skip
from mobilenetv2.errors import WeightsError

DEEPEST = 32
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""The ones that come with h5py; others would load a plugin."""
TEXTS = ("keras_version", "backend", "model_config", "name")
JSON_TEXTS = ("model_config",)


def read(path: Path) -> Container:
    """Read every array, under Keras's names where the file lists them, else under its path.

    * ``keras-legacy``: ``Conv1/kernel:0`` and so on; a weight name that does not begin with its
      layer's gets that in front. ``metadata["layers"]`` is the order: [layer, [names]].
    * ``keras-3``: ``layers/conv2d/vars/0``; ``metadata["names"]`` has the groups' own names.

    Raises:
        WeightsError: links, external or virtual data, more than the file can hold, or damaged.
    """
    import h5py

    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            return _Walk(h5py, size).read(file)
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # whatever HDF5 finds wrong, in whatever class h5py makes of it
        reason = clean(str(error)).partition("\n")[0][:200]
        raise WeightsError(f"damaged HDF5 file ({reason}); download it again") from None


class _Walk:
    """One pass over one file, with what was found on the way."""

    def __init__(self, h5py: Any, size: int) -> None:
        self.h5py, self.size = h5py, size
        self.budget = Budget(size)
        self.seen: set[Any] = set()
        self.datasets: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}

    def read(self, file: Any) -> Container:
        self.visit(file, "", 0)
        metadata = self.texts(file)
        root = "model_weights" if "model_weights" in self.groups else ""
        if root:
            metadata = self.texts(self.groups[root]) | metadata
        layers = self.names(self.groups[root], "layer_names")
        if layers is not None:
            return self.legacy(root, layers, metadata)
        arrays = {name: self.array(name) for name in self.datasets}
        metadata["format"] = "hdf5"
        if any("vars" in name.split("/")[:-1] for name in arrays):
            metadata["format"] = "keras-3"
            named = {path: self.texts(group).get("name") for path, group in self.groups.items()}
            metadata["names"] = {path: name for path, name in named.items() if name is not None}
        return Container(arrays, metadata)

    def visit(self, thing: Any, path: str, depth: int) -> None:
        """Note a group or dataset and, of a group, all that it holds."""
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
        if thing.id.get_num_objs() > MOST_ENTRIES:
            raise WeightsError(f"{path or '/'!r} has more than {MOST_ENTRIES:,} entries")
        for name in thing:
            inner = f"{path}/{name}" if path else name
            if "/" in name:  # would be taken for a path
                raise WeightsError(f"damaged or hostile: an entry is named {clean(name)[:80]!r}")
            if thing.id.links.get_info(name.encode()).type != self.h5py.h5l.TYPE_HARD:
                raise WeightsError(
                    f"{clean(inner)!r} is a link to another place or file, which is not followed; "
                    "save the weights themselves"
                )
            self.visit(thing[name], inner, depth + 1)

    def declared(self, dataset: Any, path: str) -> int:
        """The array's bytes, once its storage is known to be plain and inside the file."""
        plist = dataset.id.get_create_plist()
        layout, h5d = plist.get_layout(), self.h5py.h5d
        if layout == h5d.VIRTUAL or (layout == h5d.CONTIGUOUS and plist.get_external_count()):
            raise WeightsError(f"{path!r} is kept in another file, which is not followed")
        dtype, shape = dataset.dtype, dataset.shape
        if dtype.kind not in "fiub" or dtype.itemsize > 8 or shape is None:
            raise WeightsError(f"{path!r} has values of type {dtype}, which no network has")
        count = int(np.prod(shape, dtype=object)) * int(dtype.itemsize)
        filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
        unknown = [number for number in filters if number not in FILTERS]
        if unknown:
            raise WeightsError(f"{path!r} is compressed in a way that is not read ({unknown[0]})")
        held = dataset.id.get_storage_size()
        if held > self.size or (not filters and count > held):
            raise WeightsError(f"damaged or hostile: {path!r} is larger than the file")
        if layout == h5d.CHUNKED:
            chunk = int(np.prod(plist.get_chunk(), dtype=object)) * int(dtype.itemsize)
            if chunk > most_bytes(self.size):
                raise WeightsError(f"damaged or hostile: {path!r} has pieces larger than the file")
        return count

    def array(self, path: str) -> NDArray:
        return numeric(np.asarray(self.datasets[path][()]), path)

    def attribute(self, thing: Any, name: str) -> Any:
        """An attribute of text; None where it is absent."""
        if name not in thing.attrs:
            return None
        identifier = self.h5py.h5a.open(thing.id, name.encode())
        dtype, shape = identifier.dtype, identifier.shape
        count = int(np.prod(shape, dtype=object)) * int(dtype.itemsize)
        if count > min(self.size, LARGEST_JSON):
            raise WeightsError(
                f"damaged or hostile: the attribute {name!r} is larger than the file"
            )
        if dtype.kind not in "SO" or (
            dtype.kind == "O" and self.h5py.check_string_dtype(dtype) is None
        ):
            return None
        return thing.attrs[name]

    def texts(self, thing: Any) -> dict[str, Any]:
        """The attributes that Keras keeps words in; a configuration is read as JSON."""
        found = {}
        for name in TEXTS:
            value = self.attribute(thing, name)
            value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            if not isinstance(value, str):
                continue
            if len(value) > LARGEST_JSON:
                raise WeightsError(f"its {name} is longer than {LARGEST_JSON:,} characters")
            found[name] = parse(value, name) if name in JSON_TEXTS else clean(value)
        return found

    def names(self, group: Any, attribute: str) -> list[str] | None:
        """A list of names; a long one is in pieces: layer_names0, layer_names1 and so on."""
        pieces = [self.attribute(group, attribute)]
        if pieces[0] is None:
            pieces = []
            while (piece := self.attribute(group, f"{attribute}{len(pieces)}")) is not None:
                pieces.append(piece)
            if not pieces:
                return None
        found = [name for piece in pieces for name in np.atleast_1d(piece).tolist()]
        if len(found) > MOST_ENTRIES:
            raise WeightsError(f"more than {MOST_ENTRIES:,} names in {attribute}")
        return [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in found]

    def legacy(self, root: str, layers: list[str], metadata: dict[str, Any]) -> Container:
        arrays: dict[str, NDArray] = {}
        order: list[tuple[str, list[str]]] = []
        start = f"{root}/" if root else ""
        for layer in layers:
            group = self.groups.get(f"{start}{layer}")
            if group is None:
                raise WeightsError(f"damaged: the layer {clean(layer)!r} is listed and not there")
            listed = self.names(group, "weight_names") or []
            names = [n if n.startswith(f"{layer}/") else f"{layer}/{n}" for n in listed]
            for weight, name in zip(listed, names, strict=True):
                path = f"{start}{layer}/{weight}"
                if path not in self.datasets:
                    raise WeightsError(f"damaged: {clean(name)!r} is listed and not there")
                if name in arrays:
                    raise WeightsError(f"damaged: {name!r} is listed twice")
                arrays[name] = self.array(path)
            order.append((layer, names))
        return Container(arrays, {**metadata, "format": "keras-legacy", "layers": order})


def parse(text: str, what: str) -> Any:
    """JSON of a foreign file.

    Raises:
        WeightsError: it is not JSON, or nested too deep to be read.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"its {what} is not JSON ({error})") from None
