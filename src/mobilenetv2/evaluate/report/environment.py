"""On what the report was made: versions and the machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mobilenetv2.version import __version__

PACKAGES = ("numpy", "Pillow", "torch", "keras", "tensorflow", "jax", "onnxruntime", "openvino")
CPU = Path("/proc/cpuinfo")


def environment() -> list[tuple[str, str]]:
    """(what, which), nothing of it imported to find out."""
    return [
        ("mobilenetv2", __version__),
        ("Python", platform.python_version()),
        *((name, found) for name in PACKAGES if (found := _version(name))),
        ("processor", processor(CPU.read_text() if CPU.is_file() else "")),
        ("cores", str(os.cpu_count() or 1)),
        ("system", f"{platform.system()} {platform.release()} ({platform.machine()})"),
    ]


def processor(text: str) -> str:
    """The first model name of Linux's ``/proc/cpuinfo``, or what the platform calls it."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
