"""PyTorch files: the state dict in a zip, or in the pickle of versions before 1.6.

:func:`read_pytorch` loads with ``weights_only``, which builds only tensors and plain values. It
runs only in a process of :mod:`~mobilenetv2.checkpoints.containers.reader`.
"""

import io
import pickle  # only for its error class
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container, bounds
from mobilenetv2.errors import WeightsError, require

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
STORED = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Keys under which training checkpoints keep the network; averaged weights are preferred."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel, AveragedModel and torch.compile add to every name."""
DEEPEST = 3
WAY_OUT = "save the state dict alone: torch.save(model.state_dict(), FILE)"


def read_pytorch(path: Path) -> Container:
    """Return the state dict of a file.

    ``metadata["key"]`` is the key of the state dict, e.g. ``state_dict_ema``; None at the top
    level.
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
    return Container(arrays, {"format": "pytorch", "key": ".".join(keys) or None})


def _harmless() -> list[Any]:
    """Return harmless types that published checkpoints have: Namespace, NumPy's scalars."""
    import argparse

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *kinds, *((scalar, name) for name in names)]


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
    import torch

    if not depth or not isinstance(loaded, Mapping):
        return None
    for key in (*AVERAGED, *STORED):
        if inner := _state_dict(loaded.get(key), depth - 1):
            return (key, *inner[0]), inner[1]
    # Scalars do not count: averages also keep their decay and number of steps as tensors.
    if any(isinstance(item, torch.Tensor) and item.ndim > 0 for item in loaded.values()):
        return (), dict(loaded)
    return None


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
