"""TensorFlow checkpoints (TF-slim's): V2's index and data files, V1's single file, folders, tars.

:func:`read` runs in the process of :mod:`~mobilenetv2.checkpoints.containers.child` only.
"""

import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.archive import extract_checkpoint
from mobilenetv2.checkpoints.containers.container import Budget, Container, check_name, numeric
from mobilenetv2.checkpoints.containers.kind import DATA, TABLE, index_of, prefix_of
from mobilenetv2.errors import WeightsError, require

LARGEST_STATE = 1024**2
STATE = re.compile(rb'^model_checkpoint_path: "([^"]+)"', re.MULTILINE)


def read(path: Path, folder: Path) -> Container:
    """Read every numeric variable, moving averages and training state included.

    ``metadata`` has ``skipped``: names of what is not numbers (an object graph, for example).

    Args:
        path: as :func:`mobilenetv2.checkpoints.containers.container.read` takes it.
        folder: an empty one, for links to the files under names without special characters.

    Raises:
        WeightsError: no checkpoint, damaged, or more than its files can hold.
    """
    from tensorflow import train

    prefix = _newest(path) if path.is_dir() else prefix_of(path)
    if not index_of(prefix).is_file() and not _is_table(prefix):
        prefix = extract_checkpoint(path, folder)
    index, shards, size = _files(prefix)
    stem = folder / "checkpoint"
    for file in (index, *shards):
        _link(file, stem.with_name(stem.name + file.name.removeprefix(prefix.name)))
    try:
        reader = train.load_checkpoint(str(stem))
        shapes = reader.get_variable_to_shape_map()
        kinds = {name: reader.get_variable_to_dtype_map()[name] for name in sorted(shapes)}
        numbers, skipped = _checked(shapes, kinds, Budget(size), size if shards else None)
        arrays = {name: numeric(np.asarray(reader.get_tensor(name)), name) for name in numbers}
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # TensorFlow has a class for every status
        reason = str(error).strip().partition("\n")[0].replace(str(stem), path.name)[:200]
        raise WeightsError(f"damaged TensorFlow checkpoint ({reason}); download it again") from None
    return Container(arrays, {"format": "tensorflow", "skipped": skipped})


def _checked(
    shapes: Mapping[str, list[int]], kinds: Mapping[str, Any], budget: Budget, held: int | None
) -> tuple[list[str], list[str]]:
    """The variables that are numbers, and those that are not, before any is read.

    Args:
        held: bytes of V2's data files, which are never compressed.
    """
    numbers, skipped, total = [], [], 0
    for name, kind in kinds.items():
        check_name(name)
        # Strings, resources and variants have no size; 8-bit floats and quantised types are left
        # to numeric(), which names them.
        if not (kind.is_floating or kind.is_integer or kind.is_bool or kind.is_complex):
            skipped.append(name)
            continue
        count = math.prod(shapes[name]) * kind.size
        budget.take(name, count)
        total += count
        if held is not None and total > held:
            raise WeightsError(
                f"damaged or hostile: {name!r} of shape {list(shapes[name])} is larger than "
                "what its data files hold"
            )
        numbers.append(name)
    return numbers, skipped


def _newest(folder: Path) -> Path:
    state = folder / "checkpoint"
    if state.is_file():
        with state.open("rb") as file:
            found = STATE.search(file.read(LARGEST_STATE))
        # Only its last part: a checkpoint that was moved still names the folder it came from.
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
    with path.open("rb") as file:
        file.seek(max(0, size - len(TABLE)))
        return file.read() == TABLE


def _files(prefix: Path) -> tuple[Path, list[Path], int]:
    """The index (or V1's only file), the data files, and the bytes of what holds the values."""
    index = index_of(prefix)
    if not index.is_file():
        return prefix, [], prefix.stat().st_size
    shards = sorted(
        file
        for file in prefix.parent.iterdir()
        if DATA.search(file.name) and prefix_of(file) == prefix and file.is_file()
    )
    if not shards:
        raise WeightsError(f"{index.name} is there, but not {prefix.name}.data-00000-of-00001")
    return index, shards, sum(file.stat().st_size for file in shards)


def _link(file: Path, target: Path) -> None:
    try:
        target.symlink_to(file.resolve())
    except OSError:  # Windows asks for a privilege
        shutil.copyfile(file, target)


def write(arrays: Mapping[str, NDArray], prefix: Path) -> None:
    """Write ``prefix.index`` and ``prefix.data-00000-of-00001``: a V2 checkpoint, as slim reads it.

    Args:
        prefix: in an existing folder, usually a temporary one.

    Raises:
        MissingExtra: TensorFlow is not installed.
    """
    require("tensorflow")
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.convert_to_tensor(array) for array in arrays.values()],
    )
