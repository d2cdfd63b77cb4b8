"""PyTorch files: the state dict in a zip, or in the pickle of versions before 1.6.

:func:`read_pytorch` loads with ``weights_only``, which builds only tensors and plain values. It
runs only in a process of :mod:`~mobilenetv2.checkpoints.containers.reader`.
"""

import io
import math
import pickle  # only for its error class
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.errors import WeightsError, require

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
STORED = (
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "student",
    "backbone", "encoder",
)  # fmt: skip
"""Keys under which training checkpoints keep the network; averaged weights are preferred."""
OTHERS = re.compile(
    r"optim|sched|scaler|ema|rng|loss|criterion|metric|callback|loop|teacher|swa|moment", re.I
)
"""Pattern of keys beside the network that hold no part of it."""
ARGUMENTS = (
    "hyper_parameters", "datamodule_hyper_parameters", "hparams", "args", "opt", "config", "cfg",
    "meta", "metadata",
)  # fmt: skip
"""Keys under which training checkpoints keep the arguments that they were made with."""
SAYINGS = {
    "labels": (
        "class_to_idx", "idx_to_class", "class_names", "classes", "label_names", "labels", "names",
        "categories", "id2label",
    ),
    "size": ("img_size", "image_size", "input_size", "imgsz", "val_crop_size", "resolution"),
}  # fmt: skip
"""Keys of the values that say something of the network, by what they say."""
MOST_NAMES, LONGEST_TEXT = 25_000, 500
"""Limits of what is kept of such a value: entries, and characters of a text."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel, AveragedModel and torch.compile add to every name."""
DEEPEST = 3
WAY_OUT = "save the state dict alone: torch.save(model.state_dict(), FILE)"


def read_pytorch(path: Path) -> Container:
    """Return the state dict of a file.

    ``metadata["key"]`` is the key of the state dict, e.g. ``state_dict_ema``; None at the top
    level. ``metadata["beside"]`` has the labels and sizes that lie beside it, as lists of [key,
    plain value] by what they say.
    """
    import torch

    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with bounds.open_zip(path):
            pass  # this counts the members and compares their checksums
    try:
        with torch.serialization.safe_globals(_harmless()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # from the unpickler, the zip reader, or the building of tensors
        raise WeightsError(_complaint(error)) from None
    place = _state_dict(loaded)
    if place is None:
        held = (
            sorted(map(str, loaded))[:8] if isinstance(loaded, Mapping) else type(loaded).__name__
        )
        raise WeightsError(f"holds no state dict with tensors (it has: {held})")
    keys, found = place
    found.pop("n_averaged", None)  # AveragedModel's counter does not belong to the network
    names = _unwrapped(list(found))
    budget = bounds.Budget(size)
    arrays: dict[str, NDArray] = {}
    for name, value in zip(names, found.values(), strict=True):
        if isinstance(value, torch.Tensor):
            arrays[name] = _array(value, name, budget)
    metadata: dict[str, Any] = {"format": "pytorch", "key": ".".join(keys) or None}
    if beside := _beside(loaded, keys):
        metadata["beside"] = beside
    return Container(arrays, metadata)


def _harmless() -> list[Any]:
    """Return harmless types that checkpoints have: Namespace, NumPy's scalars, paths."""
    import argparse

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    # A path without a file system, whichever system wrote it, and of Python 3.13's module, too.
    paths = [
        (made, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for made, name in ((PurePosixPath, "PosixPath"), (PureWindowsPath, "WindowsPath"))
    ]
    return [argparse.Namespace, np.dtype, *kinds, *((scalar, name) for name in names), *paths]


def _complaint(error: Exception) -> str:
    # PyTorch's own message recommends to turn weights_only off, which would run a file's code.
    message = str(error)
    if "TorchScript" in message:
        return f"a TorchScript program, which is not run here; {WAY_OUT}"
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in message:
        named = re.search(r"GLOBAL ([\w.]+)", message)
        which, doubt = (f" ({named[1]})", "") if named else ("", ", or is damaged")
        return (
            f"holds Python objects beside its tensors{which}, which are not loaded, for "
            f"safety{doubt}; {WAY_OUT}"
        )
    first = message.strip().partition("\n")[0][:200]
    return f"damaged PyTorch file ({first or type(error).__name__}); download it again"


def _state_dict(loaded: Any, depth: int = DEEPEST) -> tuple[tuple[str, ...], dict[Any, Any]] | None:
    """Return the best state dict under the known keys, and the keys that lead to it."""
    if not depth or not isinstance(loaded, Mapping):
        return None
    for key in (*AVERAGED, *STORED):
        if inner := _state_dict(loaded.get(key), depth - 1):
            keys, found = inner
            # A head may lie beside its body, as a state dict of its own.
            heads = {} if keys or key in AVERAGED else _heads(loaded, key)
            return ((), _joined({key: found}) | heads) if heads else ((key, *keys), found)
    # Scalars do not count: averages also keep their decay and number of steps as tensors.
    if _has_arrays(loaded):
        return (), dict(loaded)
    parts = {key: table for key, table in _tables(loaded) if _has_arrays(table)}
    return ((), _joined(parts)) if parts else None


def _tables(loaded: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the tables in a checkpoint that may hold parts of a network, with their keys."""
    for key, table in loaded.items():
        if isinstance(key, str) and isinstance(table, Mapping) and not OTHERS.search(key):
            yield key, table


def _joined(tables: Mapping[str, Mapping[Any, Any]]) -> dict[Any, Any]:
    return {f"{key}.{name}": item for key, table in tables.items() for name, item in table.items()}


def _has_arrays(table: Mapping[Any, Any]) -> bool:
    import torch

    return any(isinstance(item, torch.Tensor) and item.ndim > 0 for item in table.values())


def _heads(loaded: Mapping[Any, Any], body: str) -> dict[Any, Any]:
    """Return the tensors of the other state dicts beside a body, with their keys as prefixes."""
    import torch

    def plain(table: Mapping[Any, Any]) -> bool:
        return all(isinstance(value, torch.Tensor) and value.ndim < 3 for value in table.values())

    names = (body, *AVERAGED, *STORED)
    found = {key: table for key, table in _tables(loaded) if key not in names}
    return _joined({key: t for key, t in found.items() if _has_arrays(t) and plain(t)})


def _beside(loaded: Any, keys: tuple[str, ...]) -> dict[str, list[list[Any]]]:
    """Return what lies beside a state dict and says something of its network."""
    tables: list[tuple[str, Any]] = [("", loaded)]
    for key in keys[:-1]:
        loaded = loaded[key]
        tables.append((f"{key}.", loaded))
    for place, table in list(tables):
        if isinstance(table, Mapping):
            tables += [(f"{place}{name}.", table[name]) for name in ARGUMENTS if name in table]
    found: dict[str, list[list[Any]]] = {}
    for place, table in tables:
        named = table if isinstance(table, Mapping) else getattr(table, "__dict__", {})
        for what, names in SAYINGS.items():
            for name in names:
                value = _plain(named.get(name))
                if value is not None:
                    found.setdefault(what, []).append([f"{place}{name}", value])
    return found


def _plain(value: Any) -> Any:
    """Return a plain value; a list of such; a table as {"pairs": [[key, value], ...]}; or None."""
    if isinstance(value, list | tuple) and 0 < len(value) <= MOST_NAMES:
        items = [_scalar(item) for item in value]
        return None if None in items else items
    if isinstance(value, Mapping) and 0 < len(value) <= MOST_NAMES:
        pairs = [[_scalar(key), _scalar(item)] for key, item in value.items()]
        return None if any(None in pair for pair in pairs) else {"pairs": pairs}
    return _scalar(value)


def _scalar(value: Any) -> str | int | float | None:
    if isinstance(value, str):
        return bounds.clean(value[:LONGEST_TEXT])
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _unwrapped(names: list[Any]) -> list[str]:
    """Return the names without the wrappers' prefixes that all of them have."""
    if not all(isinstance(name, str) for name in names):
        raise WeightsError("its state dict has keys that are not names")
    prefix = ""
    while wrapper := next(
        (w for w in WRAPPERS if all(name.startswith(prefix + w) for name in names)), None
    ):
        prefix += wrapper
    return [name.removeprefix(prefix) for name in names]


def _array(tensor: Any, name: str, budget: bounds.Budget) -> NDArray:
    import torch

    if tensor.layout != torch.strided or tensor.is_nested:
        raise WeightsError(f"{name!r} is a sparse or nested tensor; save it dense")
    if tensor.is_quantized:
        raise WeightsError(f"{name!r} is quantised; only float checkpoints are read from PyTorch")
    if tensor.device.type != "cpu":
        raise WeightsError(f"{name!r} has no values (it is on the device {tensor.device.type!r})")
    count = tensor.numel() * tensor.element_size()
    if count > tensor.untyped_storage().nbytes():
        raise WeightsError(
            f"damaged or hostile: {name!r} of shape {list(tensor.shape)} is a view larger than "
            "what is stored"
        )
    budget.take(name, count)
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    if tensor.dtype.is_complex or "float8" in str(tensor.dtype):
        raise WeightsError(f"{name!r} has values of type {tensor.dtype}, which no network has")
    return bounds.numeric(tensor.numpy(), name)


def pytorch_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """Return a state dict as ``torch.save`` writes it; same arrays, same bytes.

    Raises:
        MissingExtra: PyTorch is not installed.
    """
    torch = require("torch")
    # Without copies torch shares NumPy's memory, and warns if it is read-only.
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()
