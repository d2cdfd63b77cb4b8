"""Start: seconds to readiness, of which imports, memory, and the packages of the extra."""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mobilenetv2.progress import say
from serving.inputs import photo_files
from serving.load import Client, closed_loop, post
from serving.servers import ours, proportional_memory, serving, start, stop

SERVER = "import mobilenetv2.cli.serve, mobilenetv2.serving.server, uvicorn.loops.uvloop, httptools"
"""Imports of the process that takes requests."""
COMPUTING = "import mobilenetv2.serving.computing.compute, onnxruntime, onnxruntime.capi"
"""Imports of a process that computes."""
PAUSE = 0.005


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--times", type=int, default=10)


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    times = 2 if options.small else options.times
    files = [file.read_bytes() for file in photo_files(200)]
    _started(options.model)  # fills the caches
    whole, server, computing = [], [], []
    for number in range(times):
        whole.append(_started(options.model))
        server.append(_imported(SERVER))
        computing.append(_imported(COMPUTING))
        say(f"start {number + 1}: {whole[-1]:.2f} s")
    rest = [a - b - c for a, b, c in zip(whole, server, computing, strict=True)]
    with serving(ours(options.model)) as one:
        before = proportional_memory(one.pids())
        requests = [post(one.server.path, "image/jpeg", file) for file in files]
        asyncio.run(closed_loop(Client(one.port, requests), 16, times=len(requests)))
        after = proportional_memory(one.pids())
        count = len(one.pids()) - 1
    core, added = packages("mobilenetv2", ()), packages("mobilenetv2", ("serve",))
    more = sorted(added - core)
    return [
        f"Median of {times} starts, files in the system's cache.", "",
        "| | |", "|---|---|",
        f"| from the command to readiness | {_range(whole)} |",
        f"| of it an interpreter and the imports of the server | {_range(server)} |",
        f"| of it an interpreter and the imports of a process that computes | "
        f"{_range(computing)} |",
        f"| the rest | {_range(rest)} |",
        f"| memory (PSS) of the server with {count} processes that compute | "
        f"{before / 1e6:.0f} MB; after {len(files)} photos {after / 1e6:.0f} MB |",
        f"| packages that the extra adds | {len(more)}: {', '.join(more)} |",
        f"| packages without it | {len(core)} |",
    ]  # fmt: skip


def _started(model: Path) -> float:
    begin = time.perf_counter()
    one = start(ours(model))
    try:
        one.wait(PAUSE)
        return time.perf_counter() - begin
    finally:
        stop(one)


def _imported(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def packages(name: str, extras: Sequence[str]) -> set[str]:
    """Return the packages that an installation of a package needs, by what is installed here."""
    found: set[str] = set()
    waiting = [(name, tuple(extras))]
    seen = set(waiting)
    while waiting:
        one, of_it = waiting.pop()
        try:
            requires = distribution(one).requires or []
        except PackageNotFoundError:
            sys.exit(f"{one} is not installed: the packages of the extra cannot be counted")
        for line in requires:
            need = Requirement(line)
            if need.marker is not None and not any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *of_it)
            ):
                continue
            found.add(canonicalize_name(need.name))
            entry = need.name, tuple(sorted(need.extras))
            if entry not in seen:
                seen.add(entry)
                waiting.append(entry)
    return found - {canonicalize_name(name)}


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"
