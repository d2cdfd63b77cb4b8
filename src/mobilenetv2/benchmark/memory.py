"""The most memory that a process has had."""

from pathlib import Path

from mobilenetv2.errors import require

STATUS = Path("/proc/self/status")
INFO = Path("/proc/meminfo")
FIELD = "VmHWM"
"""The high-water mark of this program. Not getrusage's ``ru_maxrss``: on Linux that begins with
what the parent had when it started this process."""


def peak() -> int:
    """Bytes that were resident at most, since this process began.

    Raises:
        MissingExtra: off Linux, where psutil is not installed.
    """
    if STATUS.is_file():
        return _kilobytes(STATUS.read_text(), FIELD) * 1024
    info = require("psutil").Process().memory_info()
    found: int = getattr(info, "peak_wset", info.rss)  # Windows has a peak, macOS has none
    return found


def total() -> int | None:
    """Bytes of the machine; None where that cannot be found out without psutil."""
    return _of_machine("MemTotal", "total")


def available() -> int | None:
    """Bytes that a new process can have without others being swapped out; None as in
    :func:`total`."""
    return _of_machine("MemAvailable", "available")


def _of_machine(field: str, attribute: str) -> int | None:
    if INFO.is_file():
        return _kilobytes(INFO.read_text(), field) * 1024
    try:
        found: int = getattr(require("psutil").virtual_memory(), attribute)
    except Exception:  # the figure is for the record only
        return None
    return found


def _kilobytes(text: str, field: str) -> int:
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0
