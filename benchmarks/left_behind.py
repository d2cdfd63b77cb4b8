"""Run command lines of every verb with empty user's folders; show what lies there afterwards.

    python benchmarks/left_behind.py [--only 'predict|export']

Each command runs in an environment made from nothing, with empty HOME, TMPDIR, XDG_* and current
folders, under strace where that is installed. Prints a table in Markdown: the files and folders
that are left, the addresses that were connected to or sent to, and the lines on stderr that are not
this package's.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from command_lines import command_lines, make_inputs
from machine import machine

from mobilenetv2 import __file__ as package
from mobilenetv2.hub.cache import SWITCH

FOLDERS = (
    "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
)  # fmt: skip
CACHE = "xdg_cache_home/mobilenetv2"
"""Documented cache: packages that keep something keep it there."""
TRACED = "connect,sendto,sendmsg,bind,listen"
OURS = re.compile(
    r"^(note: |mobilenetv2: |no --model given|\d+ of \d+|wrote |report: |audit: |model folder: |"
    r"\d+ classes, |precision |expected time|epoch |no temperature|numerics ignored|calibrat|"
    r"BatchNorm |training photos: |for int8 |$)"
)
"""Beginnings of the lines that this package writes on stderr."""


@dataclass(frozen=True, slots=True)
class Left:
    """Files, connections and lines that a command left."""

    status: int
    err: str
    paths: list[str]
    """Files and folders in the user's folders and the current one, without the cache's."""
    cached: list[str]
    """Files in the cache."""
    calls: list[str] | None
    """System calls that reach beyond this machine; None without strace."""


def run_in_empty_folders(words: list[str], home: Path) -> Left:
    """Run Python with arguments in empty user's folders.

    Args:
        words: Python's arguments, such as ``["-m", "mobilenetv2", "predict", ...]``.
        home: folder for the user's folders, which is made.
    """
    folders = {name: home / name.lower() for name in FOLDERS}
    for folder in (*folders.values(), home / "current"):
        folder.mkdir(parents=True)
    environment = {name: str(folder) for name, folder in folders.items()}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(package).parents[1])}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {name: os.environ[name] for name in (SWITCH,) if name in os.environ}
    with tempfile.NamedTemporaryFile("r", errors="replace") as trace:
        tracer = ["strace", "-f", "-qq", "-e", f"trace={TRACED}", "-o", trace.name]
        traced = shutil.which("strace") is not None
        done = subprocess.run(
            [*(tracer if traced else []), sys.executable, *words], env=environment,
            capture_output=True, text=True, errors="replace", cwd=home / "current", check=False,
        )  # fmt: skip
        calls = [re.sub(r"^\d+ +", "", line).strip() for line in trace] if traced else None
    places = {*folders.values(), home / "current"}
    found = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path not in places)
    return Left(
        done.returncode, done.stderr, [path for path in found if not path.startswith(CACHE)],
        [path for path in found if path.startswith(CACHE)],
        None if calls is None else [call for call in calls if reaches_out(call)],
    )  # fmt: skip


def reaches_out(call: str) -> bool:
    """Return True if a traced system call concerns an address that is not of this machine.

    Sockets of the family AF_UNIX are files: glibc asks one of them for the user's name. ``import
    tensorflow`` imports requests, and its urllib3 binds a socket to port 0 of ::1 and closes it, to
    learn whether the system has IPv6 (``_has_ipv6`` in urllib3/util/connection.py). Nothing is
    connected or sent: only this ``bind`` is let pass, and ``connect`` to ::1 is not.
    """
    asks_for_ipv6 = call.startswith("bind(") and '"::1"' in call and "htons(0)" in call
    return "sa_family=" in call and "AF_UNIX" not in call and not asks_for_ipv6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pattern of command lines")
    arguments = parser.parse_args()
    print(f"{machine()}\n\n| command line | status | left | in the cache | network | other lines |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        formats = ("onnx", "litert", "openvino", "ncnn", "mnn", "keras")
        inputs = make_inputs(Path(name) / "inputs", formats)
        for title, words in command_lines(inputs, out).items():
            if not re.search(arguments.only, title):
                continue
            for folder in (out, Path(name) / "user"):
                shutil.rmtree(folder, ignore_errors=True)
            out.mkdir()
            left = run_in_empty_folders(["-m", "mobilenetv2", *words], Path(name) / "user")
            foreign = [line for line in left.err.splitlines() if not OURS.match(line)]
            calls = "no strace" if left.calls is None else len(left.calls)
            cached = ", ".join(path.removeprefix(f"{CACHE}/") for path in left.cached)
            print(
                f"| {title} | {left.status} | {', '.join(left.paths) or 0} | {cached} | {calls} "
                f"| {len(foreign)} |", flush=True,
            )  # fmt: skip
            for line in [*foreign, *(left.calls or ())]:
                print(f"{title}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
