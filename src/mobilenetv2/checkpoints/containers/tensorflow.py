"""TensorFlow checkpoints, as TF-slim's: V2's index and data files, V1's file, folders, tars.

:func:`read_tensorflow` runs only in a process of :mod:`~mobilenetv2.checkpoints.containers.reader`.
"""

import math
import re
import shutil
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.errors import WeightsError, require
from mobilenetv2.files import open_file

TABLE = struct.pack("<Q", 0xDB4775248B80FB57)
"""Last bytes of a sorted table, the format of indices and old checkpoints."""
DATA = ".data-00000-of-00001"
"""End of the name of a checkpoint's data file; the checkpoint's own name is the prefix."""
PART = re.compile(r"(?P<stem>.+?)(?P<part>\.index|\.data-\d{5}-of-\d{5})", re.DOTALL)
TAR_EXPANSION = 4
"""Factor for the size of an archive, which also holds graphs and training state."""
LARGEST_STATE = 1024**2
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""Entry with the names of the variables of a TensorFlow 2 model, as a protocol buffer."""
STATE = re.compile(rb'^model_checkpoint_path: "([^"]+)"', re.MULTILINE)


def prefix_of(path: Path) -> Path:
    """Return TensorFlow's name of a checkpoint, its prefix, for the name of any of its files."""
    part = PART.fullmatch(path.name)
    return path.with_name(part["stem"]) if part else path


def index_of(prefix: Path) -> Path:
    """Return the index file of a TensorFlow checkpoint."""
    return prefix.with_name(f"{prefix.name}.index")


def read_tensorflow(path: Path, folder: Path) -> Container:
    """Read every numeric variable, including moving averages and training state.

    ``metadata["skipped"]`` has the names of entries that are not numbers, and ``metadata[OBJECTS]``
    the object graph in hexadecimal, if there is one.

    Args:
        path: a checkpoint's prefix, any of its files, a folder with one, or a tar with one.
        folder: an empty folder for links to the files, under names without special characters.
    """
    from tensorflow import train

    prefix = _newest(path) if path.is_dir() else prefix_of(path)
    if not index_of(prefix).is_file() and not _is_table(prefix):
        prefix = extract_checkpoint(path, folder)
    index, shards, size = _files(prefix)
    stem = folder / "checkpoint"
    for file in (index, *shards):
        link = stem.with_name(stem.name + file.name.removeprefix(prefix.name))
        try:
            link.symlink_to(file.resolve())
        except OSError:  # links need a privilege on Windows
            shutil.copyfile(file, link)
    budget, total = bounds.Budget(size), 0
    arrays: dict[str, NDArray] = {}
    skipped: list[str] = []
    with bounds.damage("TensorFlow checkpoint"):
        reader = train.load_checkpoint(str(stem))
        kinds = reader.get_variable_to_dtype_map()
        for name, shape in sorted(reader.get_variable_to_shape_map().items()):
            bounds.check_name(name)
            kind = kinds[name]
            # Strings, resources and variants have no size. bounds.numeric refuses 8-bit floats and
            # quantised types by name.
            if not (kind.is_floating or kind.is_integer or kind.is_bool or kind.is_complex):
                skipped.append(name)
                continue
            count = math.prod(shape) * kind.size
            budget.take(name, count)
            total += count
            if shards and total > size:  # data files are never compressed
                raise WeightsError(
                    f"damaged or hostile: {name!r} of shape {list(shape)} is larger than what its "
                    "data files hold"
                )
            arrays[name] = bounds.numeric(np.asarray(reader.get_tensor(name)), name)
        metadata = {"format": "tensorflow", "skipped": skipped}
        if OBJECTS in skipped and not reader.get_variable_to_shape_map()[OBJECTS]:
            graph = bytes(reader.get_tensor(OBJECTS))
            if 2 * len(graph) <= bounds.LARGEST_JSON // 2:
                metadata[OBJECTS] = graph.hex()
    return Container(arrays, metadata)


def _newest(folder: Path) -> Path:
    state = folder / "checkpoint"
    if state.is_file():
        with open_file(state) as file:
            found = STATE.search(file.read(LARGEST_STATE))
        # Only the last part, because a moved checkpoint still names its old folder.
        name = found[1].decode("utf-8", "replace").replace("\\", "/") if found else ""
        prefix = folder / (name.rpartition("/")[2] or "?")
        if index_of(prefix).is_file() or prefix.is_file():
            return prefix
    indices = sorted(folder.glob("*.index"))
    if len(indices) != 1:
        raise WeightsError(f"a folder with {len(indices)} TensorFlow checkpoints; name one")
    return indices[0].with_suffix("")


def _is_table(path: Path) -> bool:
    size = path.stat().st_size
    with open_file(path) as file:
        file.seek(max(0, size - len(TABLE)))
        return file.read() == TABLE


def _files(prefix: Path) -> tuple[Path, list[Path], int]:
    """Return the index (or V1's only file), the data files, and the bytes that hold values."""
    index = index_of(prefix)
    if not index.is_file():
        return prefix, [], prefix.stat().st_size
    shards = sorted(
        file
        for file in prefix.parent.iterdir()
        if prefix_of(file) == prefix and file.suffix.startswith(".data-") and file.is_file()
    )
    if not shards:
        raise WeightsError(f"{index.name} is there, but not {prefix.name}{DATA}")
    return index, shards, sum(file.stat().st_size for file in shards)


def extract_checkpoint(path: Path, folder: Path) -> Path:
    """Extract the only checkpoint in a tar to ``folder`` under new names, and return its prefix.

    Raises:
        WeightsError: the tar is damaged, or does not have exactly one checkpoint.
    """
    budget = bounds.Budget(path.stat().st_size * TAR_EXPANSION)
    parts: dict[str, list[str]] = {}
    with open_file(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    with bounds.damage("tar file"), tarfile.open(path, "r:gz" if gzipped else "r:") as archive:
        for member in archive:
            budget.take(member.name, member.size)
            found = PART.fullmatch(PurePosixPath(member.name).name)
            if found is None or not member.isreg():
                continue
            stem = str(PurePosixPath(member.name).with_name(found["stem"]))
            parts.setdefault(stem, []).append(found["part"])
            source = archive.extractfile(member)
            assert source is not None  # a regular member
            target = folder / f"{list(parts).index(stem)}{found['part']}"
            bounds.copy_member(source, target, member.size)
    whole = [number for number, found in enumerate(parts.values()) if ".index" in found]
    if len(whole) != 1:
        raise WeightsError(
            f"a tar with {len(whole)} TensorFlow checkpoints; unpack it and name the one you want"
        )
    return folder / str(whole[0])


def write_tensorflow(arrays: Mapping[str, NDArray], prefix: Path) -> None:
    """Write a V2 checkpoint for TF-slim: ``prefix.index`` and a data file.

    Raises:
        MissingExtra: TensorFlow is not installed.
    """
    tf = require("tensorflow")
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.convert_to_tensor(array) for array in arrays.values()],
    )
