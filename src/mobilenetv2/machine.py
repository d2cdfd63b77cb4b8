"""The machine: its description, its cores, and memory of the process and the machine."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilenetv2.errors import require

FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
"""CPU flags that decide how fast 8-bit and 16-bit arithmetic is, on x86 and ARM."""
PROCESSES = Path("/proc")
CPU, STATUS, INFO = (PROCESSES / name for name in ("cpuinfo", "self/status", "meminfo"))
PEAK = "VmHWM"
"""Field with the peak of this program's resident memory.

getrusage's ``ru_maxrss`` is not used: on Linux it starts with the parent's value.
"""
IDLE = 0.25
"""Fraction of the cores; other programs that use more of them make every figure larger."""


def workers() -> int:
    """Return the number of cores that this process may use.

    The processes that ``torchrun`` started on this machine share its cores evenly.
    """
    affine = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, cores // max(1, int(sharing))) if sharing.isdecimal() else cores


def describe() -> dict[str, Any]:
    """Return plain values for JSON that describe the machine.

    They are the processor, its relevant flags, cores, memory in bytes, the number of programs that
    used the cores in the last minute, system and Python.
    """
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
    """Return the fields of a file in Linux's ``/proc``, for the first processor only."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def sentence(machine: Mapping[str, Any]) -> str:
    """Return a description: 'AMD EPYC (avx2, avx512f), 2 cores, Python 3.11.7'."""
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    return (
        f"{machine['processor']}{flags}, {machine['cores_usable']} cores, "
        f"Python {machine['python']}"
    )


def warning(machine: Mapping[str, Any]) -> str | None:
    """Return a warning about other programs that use the machine, or None."""
    load, cores = machine["load_average"], machine["cores_usable"]
    if load is None or load <= IDLE * cores:
        return None
    return (
        f"note: other programs use this machine (load {load:g} of {cores} cores in the last "
        "minute); latencies are too long, but affect all candidates"
    )


def peak_memory() -> int:
    """Return the maximum number of resident bytes since this process began.

    Those of the processes that it started, and that still run, are added: a runtime may have one.

    Raises:
        MissingExtra: psutil is not installed, on systems other than Linux.
    """
    if STATUS.is_file():
        started = [
            PROCESSES / number / "status"
            for thread in (PROCESSES / "self" / "task").glob("*/children")
            for number in thread.read_text().split()
        ]
        return sum(_bytes(path, PEAK) for path in (STATUS, *started) if path.is_file())
    own = require("psutil").Process()
    infos = [process.memory_info() for process in (own, *own.children())]
    # Windows has a peak, macOS has none.
    return sum(getattr(info, "peak_wset", info.rss) for info in infos)


def total_memory() -> int | None:
    """Return the bytes of the machine's memory; None if psutil would be needed and is missing."""
    return _of_machine("MemTotal", "total")


def available_memory() -> int | None:
    """Return the bytes that a new process can have without swapping, or None."""
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
