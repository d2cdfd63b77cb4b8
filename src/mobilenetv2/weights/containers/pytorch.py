"""PyTorch files (the zip of today and the pickle of before 1.6): a state dict, found and checked.

:func:`read` loads with ``weights_only``, which builds tensors and plain values and calls nothing
else, and only ever runs in the process of :mod:`~mobilenetv2.weights.containers.child`.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError, require
from mobilenetv2.weights.containers.archive import open_zip
from mobilenetv2.weights.containers.container import Budget, Container, is_plain, numeric, plain

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
STORED = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Under which keys training checkpoints keep the network; the average is the better one."""
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel, AveragedModel and torch.compile put before every name."""
DEEPEST = 3


def read(path: Path) -> Container:
    """The state dict of a file, and whatever plain values lie beside it.

    ``metadata`` has ``key`` (where the state dict lay, e.g. ``state_dict_ema``), ``passed_over``
    (other state dicts that are there), ``prefix`` (taken off every name), and ``checkpoint``.

    Raises:
        WeightsError: no state dict, other objects than tensors, or damaged.
    """
    import torch

    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with open_zip(path):
            pass  # its members are counted and their checksums compared
    try:
        with torch.serialization.safe_globals(_harmless()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # of its own unpickler, of the zip reader, of building tensors
        raise WeightsError(_complaint(str(error))) from None
    found, key, beside = _state_dict(loaded)
    metadata: dict[str, Any] = {"format": "pytorch", "key": key, "checkpoint": plain(beside)}
    metadata["passed_over"] = [
        name for name in (*AVERAGED, *STORED) if _is_state_dict(beside.get(name))
    ]
    found.pop("n_averaged", None)  # AveragedModel's own counter is no part of the network
    names, metadata["prefix"] = _unwrapped(list(found))
    budget = Budget(size)
    arrays: dict[str, NDArray] = {}
    for name, value in zip(names, found.values(), strict=True):
        if isinstance(value, torch.Tensor):
            arrays[name] = _array(value, name, budget)
    return Container(arrays, metadata)


def _harmless() -> list[Any]:
    """What published checkpoints keep beside their tensors: bare attributes and NumPy's scalars."""
    import argparse

    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *kinds, *((scalar, name) for name in names)]


def _complaint(message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return (
            f"holds {named[1]}, an object that only running its code could rebuild, and files are "
            "not run here; save the state_dict of the network and use that"
        )
    first = message.strip().partition("\n")[0][:200]
    return f"damaged PyTorch file ({first}); download it again"


def _is_state_dict(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())


def _state_dict(loaded: Any) -> tuple[dict[Any, Any], str | None, dict[Any, Any]]:
    """The tensors, under which key they lay, and what lay beside them."""
    where: list[str] = []
    beside: dict[Any, Any] = {}
    for _ in range(DEEPEST):
        if not isinstance(loaded, Mapping):
            break
        inner = next((k for k in (*AVERAGED, *STORED) if isinstance(loaded.get(k), Mapping)), None)
        if inner is None:
            if not _is_state_dict(loaded):
                break
            return dict(loaded), ".".join(where) or None, beside
        beside |= {key: value for key, value in loaded.items() if key != inner and is_plain(value)}
        loaded = loaded[inner]
        where.append(inner)
    held = sorted(map(str, loaded))[:8] if isinstance(loaded, Mapping) else type(loaded).__name__
    raise WeightsError(f"holds no state dict with tensors (it has: {held})")


def _unwrapped(names: list[Any]) -> tuple[list[str], str]:
    """The names without the wrappers that all of them begin with, and those wrappers."""
    if not all(isinstance(name, str) for name in names):
        raise WeightsError("its state dict has keys that are no names")
    prefix = ""
    while wrapper := next(
        (w for w in WRAPPERS if all(name.startswith(prefix + w) for name in names)), None
    ):
        prefix += wrapper
    return [name.removeprefix(prefix) for name in names], prefix


def _array(tensor: Any, name: str, budget: Budget) -> NDArray:
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
    return numeric(tensor.numpy(), name)


def write(arrays: Mapping[str, NDArray]) -> bytes:
    """A state dict as ``torch.save`` writes it; the same arrays always give the same bytes.

    Raises:
        MissingExtra: PyTorch is not installed.
    """
    require("torch")
    import torch

    # A copy of each: torch shares NumPy's memory otherwise, and warns where it is read-only.
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()
