"""The machine that a figure was measured on, and memory: of this process and of the machine."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenetv2.data.batches import workers
from mobilenetv2.errors import require

FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
"""What decides how quick eight and sixteen bits are, on x86 and ARM."""
CPU, STATUS, INFO = Path("/proc/cpuinfo"), Path("/proc/self/status"), Path("/proc/meminfo")
PEAK = "VmHWM"
"""The high-water mark of this program. Not getrusage's ``ru_maxrss``: on Linux that begins with
what the parent had when it started this process."""
IDLE = 0.25
"""Of the cores: programs that use more than that of them make every figure larger."""


def describe() -> dict[str, Any]:
    """Return plain values for JSON: processor, its flags that matter, cores, memory in bytes, how
    many programs used the cores in the last minute, system, Python."""
    fields = read_fields(CPU.read_text() if CPU.is_file() else "")
    have = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "flags": [flag for flag in FLAGS if flag in have],
        "cores": os.cpu_count() or 1,
        "cores_usable": workers(),
        "memory_bytes": total_memory(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def read_fields(text: str) -> dict[str, str]:
    """Return the fields of a file of Linux's ``/proc``, of cpuinfo those of the first processor."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def sentence(machine: Mapping[str, Any]) -> str:
    """Return 'AMD EPYC (avx2, avx512f), 2 cores, Python 3.11.7'."""
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    return (
        f"{machine['processor']}{flags}, {machine['cores_usable']} cores, "
        f"Python {machine['python']}"
    )


def warning(machine: Mapping[str, Any]) -> str | None:
    """Return what a person should know before anything is measured; None where all is quiet."""
    load, cores = machine["load_average"], machine["cores_usable"]
    if load is None or load <= IDLE * cores:
        return None
    return (
        f"note: other programs use this machine (load {load:g} of {cores} cores in the last "
        "minute); latencies will be longer than they need be, though in turns they compare"
    )


def peak_memory() -> int:
    """Return the most bytes that were resident since this process began.

    Raises:
        MissingExtra: off Linux, where psutil is not installed.
    """
    if STATUS.is_file():
        return _bytes(STATUS, PEAK)
    info = require("psutil").Process().memory_info()
    found: int = getattr(info, "peak_wset", info.rss)  # Windows has a peak, macOS has none
    return found


def total_memory() -> int | None:
    """Return the bytes of the machine; None where that cannot be found out without psutil."""
    return _of_machine("MemTotal", "total")


def available_memory() -> int | None:
    """Return the bytes that a new process can have without others being swapped out; None as in
    :func:`total_memory`."""
    return _of_machine("MemAvailable", "available")


def _of_machine(field: str, attribute: str) -> int | None:
    if INFO.is_file():
        return _bytes(INFO, field)
    try:
        found: int = getattr(require("psutil").virtual_memory(), attribute)
    except Exception:  # the figure is for the record only
        return None
    return found


def _bytes(path: Path, field: str) -> int:
    return 1024 * int(read_fields(path.read_text()).get(field, "0 kB").split()[0])
