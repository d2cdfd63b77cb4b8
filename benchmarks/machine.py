"""What a figure was measured on: processor, cores, and the versions that matter."""

import platform
from importlib.metadata import version
from pathlib import Path

from mobilenetv2.machine import workers


def machine(*packages: str) -> str:
    """'AMD EPYC (avx2, avx512f, avx512_bf16), 2 cores, Python 3.11.7, torch 2.13.0'."""
    parts = [processor(), f"{workers()} cores", f"Python {platform.python_version()}"]
    return ", ".join([*parts, *(f"{package} {version(package)}" for package in packages)])


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in info.read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    interesting = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    flags = [flag for flag in interesting if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"
