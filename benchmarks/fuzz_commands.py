"""Run random command lines: every verb and option, hostile values, odd names, repeated words.

    python benchmarks/fuzz_commands.py [--count 1000] [--seed 0] [--seconds 20] [--show]

Each line is one of ``command_lines``, changed in one to four places. It runs in a fork of a process
that has imported the packages, without a network. A line that still works after some seconds gets
Ctrl-C. It must end with status 0, 1 or 2 (130 after Ctrl-C), soon, and without a traceback. Prints
a table in Markdown; lines that fail follow it.
"""

import argparse
import collections
import importlib
import io
import os
import random
import resource
import shlex
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_lines import Inputs, command_lines, make_inputs
from machine import machine

from mobilenetv2.cli.main import main as run_command
from mobilenetv2.cli.parser import make_parser
from mobilenetv2.streams import ESCAPE, Outlet
from mobilenetv2.training.recipe_file import every_key

PATIENCE = 30.0
"""Seconds in which a command ends after Ctrl-C."""
MEMORY = 6 * 2**30
"""Bytes that a command may allocate."""
LEFT_OUT = ("keras", "jax", "savedmodel", "coreml", "executorch", "pt2", "nncf", "benchmark")
"""Parts of the names of command lines that import more than the process has imported."""
WARM = (
    "torch", "numpy", "PIL.Image", "rich.table", "rich.progress", "onnxruntime", "sklearn",
    "matplotlib.figure", *(f"mobilenetv2.{name}" for name in (
        "runtime.prediction", "runtime.loading", "evaluation.evaluation", "training.run",
        "exporting.export", "quantization.quantize", "auditing.audit", "weights",
        "evaluation.explanation", "training.steps.torch",
    )),
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "2", "nan", "inf", "-inf", "1e309", "1e-309", "9" * 30, "9" * 5000, "0x10",
    "\uff11\uff12", "\u0663", "1_000", "1.5", "-0.0", "3,4", "1,,2", "32x32", "0x0", "224x",
)  # fmt: skip
TEXTS = (
    "", " ", "-", "--", "@", "@-", "=", "a=b=c", "\udce9", "\u202e", "\x1b[31m", "\n", "\t",
    "\ud800", "x" * 300, "x" * 5000, "all", "none", "auto", "embedded", "imagenet", "hf://",
    "hf://nobody/nothing", "http://127.0.0.1:9/", "[]", "[1", "{}", '{"a": [', "%s", "$HOME", "~",
    "*", "min-max", "onnx,onnx", "torch,torch", "mobilenetv2_100", "\u6f22,\u5b57", "true", "null",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command line ended."""

    status: int
    """Exit status; minus the number of the signal."""
    seconds: float
    err: str
    stopped: bool
    """True if it got Ctrl-C."""

    @property
    def fault(self) -> str:
        """Return the fault of the command in words; '' if it has none."""
        if self.status == -signal.SIGKILL and self.stopped:
            return "hangs"
        if self.status < 0:
            return f"ended by {signal.Signals(-self.status).name}"
        if "Traceback" in self.err or "Exception ignored" in self.err:
            return "traceback"
        allowed = (0, 1, 2, 130) if self.stopped else (0, 1, 2)
        return "" if self.status in allowed else f"status {self.status}"


def odd_paths(folder: Path) -> list[str]:
    """Make files that are odd; return their paths. None of them lies outside ``folder``."""
    folder.mkdir()
    (folder / "empty").touch()
    (folder / "empty.json").write_text("{}")
    (folder / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    (folder / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (folder / "list.csv").write_text("photo,label\nnoise.png,\u6f22\n")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nothing")
    names = [str(path) for path in folder.iterdir()]
    return [*names, f"@{folder}/list.csv", f"{folder}/no/such", f"{folder}/empty/below", ".", ".."]


class Words:
    """Random command lines."""

    def __init__(self, inputs: Inputs, out: Path, seed: int) -> None:
        self.random = random.Random(seed)
        lines = command_lines(inputs, out)
        self.lines = [
            words for title, words in lines.items() if not any(part in title for part in LEFT_OUT)
        ]
        self.paths = [
            *odd_paths(inputs.folder / "paths"), str(inputs.photos), str(inputs.model),
            str(inputs.odd), *map(str, inputs.weights.values()), str(out / "made"),
        ]  # fmt: skip
        self.options = {verb: list(options) for verb, options in options_of(make_parser())}
        self.keys = [key for key in every_key() if key != "distillation.teacher"]

    def value(self) -> str:
        """Return a number, a path or a text."""
        return self.random.choice(self.random.choice((NUMBERS, self.paths, TEXTS)))

    def option(self, verb: tuple[str, ...]) -> list[str]:
        """Return an option, most often of the verb; perhaps abbreviated, perhaps with a value."""
        if self.random.random() < (0.4 if verb == ("train",) else 0.02):
            return ["--set", f"{self.random.choice(self.keys)}={self.value()}"]
        if self.random.random() < 0.1 or not self.options.get(verb):
            verb = self.random.choice([verb for verb, options in self.options.items() if options])
        names, flag, choices = self.random.choice(self.options[verb])
        name = self.random.choice(names)
        if self.random.random() < 0.1:
            name = name[: self.random.randint(2, len(name))]
        if flag:
            return [name]
        value = self.random.choice(choices) if choices and self.random.random() < 0.5 else ""
        value = value or self.value()
        return [f"{name}={value}"] if self.random.random() < 0.2 else [name, value]

    def line(self) -> list[str]:
        """Return a command line."""
        words = [*self.random.choice(self.lines)]
        verb = tuple(words[: 2 if words[0] == "weights" else 1])
        for _ in range(self.random.randint(1, 3)):
            place = self.random.randint(len(verb), len(words))
            change = self.random.random()
            if change < 0.6:
                words[place:place] = self.option(verb)
            elif change < 0.75 and place < len(words):
                words[place] = self.value()
            elif change < 0.85:
                del words[place : place + 1]
            elif change < 0.97:
                words[place:place] = words[place : place + 2]  # repeated
            else:
                self.random.shuffle(words)
        return words


Option = tuple[Sequence[str], bool, Sequence[str]]
"""Names of an option, True for a flag, and the values that it can have."""


def options_of(
    parser: argparse.ArgumentParser, verb: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[Option]]]:
    """Yield each verb's words and its options."""
    if add_options := getattr(parser, "fill", None):
        add_options()
    actions = parser._actions
    yield verb, [
        (action.option_strings, action.nargs == 0, [str(one) for one in action.choices or ()])
        for action in actions if action.option_strings
    ]  # fmt: skip
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from options_of(below, (*verb, name))


def prepare(folder: Path) -> None:
    """Import packages, and cut this process and its forks off from the network."""
    os.environ |= {
        "OMP_NUM_THREADS": "1", "HOME": str(folder), "MOBILENETV2_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", "MPLCONFIGDIR": str(folder / "mpl"),
    }  # fmt: skip

    def refuse(host: object, *_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, f"no network: {host!r}")

    socket.getaddrinfo = refuse
    for name in WARM:
        importlib.import_module(name)


def run(words: Sequence[str], folder: Path, seconds: float) -> Ended:
    """Run a command line in a fork; after some seconds with Ctrl-C, at last with a kill."""
    current = folder / "current"
    current.mkdir(exist_ok=True)
    err = folder / "stderr"
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(words, current, err)
    stopped = False
    status: int | None = None
    while status is None:
        ended, code = os.waitpid(child, os.WNOHANG)
        spent = time.monotonic() - begun
        if ended:
            status = os.waitstatus_to_exitcode(code)
        elif spent > seconds + PATIENCE:
            os.kill(child, signal.SIGKILL)
        elif spent > seconds and not stopped:
            stopped = True
            os.kill(child, signal.SIGINT)
        time.sleep(0.01)
    return Ended(status, time.monotonic() - begun, err.read_text("utf-8", "replace"), stopped)


def _become(words: Sequence[str], current: Path, err: Path) -> None:
    """Run a command line as this process, and end it."""
    status = 70
    try:
        os.chdir(current)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in enumerate((os.devnull, os.devnull, str(err))):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.BufferedWriter(Outlet(number)), "utf-8", ESCAPE)
            for number in (1, 2)
        )
        status = run_command(words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # the finding: Python would print this, too
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def attempts(folder: Path, count: int, seed: int, seconds: float) -> Iterator[tuple[str, Ended]]:
    """Run random command lines in an empty folder; yield each with its end."""
    inputs = make_inputs(folder / "inputs")
    out = folder / "out"
    out.mkdir()
    words = Words(inputs, out, seed)
    prepare(folder)
    for _ in range(count):
        line = words.line()
        yield shlex.join(line), run(line, folder, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="until Ctrl-C")
    parser.add_argument("--show", action="store_true", help="show every line on stderr")
    arguments = parser.parse_args()
    tally: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    slowest = 0.0

    def tell(text: str) -> None:
        print(ascii(text)[:600], file=sys.stderr)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for line, ended in attempts(folder, arguments.count, arguments.seed, arguments.seconds):
            tally[ended.fault or f"status {ended.status}"] += 1
            slowest = max(slowest, 0 if ended.stopped else ended.seconds)
            if ended.fault:
                faults.append(f"{ended.fault}: {line[:300]!a}: {ended.err[-400:]!a}")
            if arguments.show or ended.fault:
                tell(f"{ended.fault or ended.status} {ended.seconds:.1f} s {line}: {ended.err}")
    print(f"{machine()}, seed {arguments.seed}\n\n| end | command lines |\n|---|---|")
    for end, count in sorted(tally.items()):
        print(f"| {end} | {count} |")
    print(f"\nthe slowest that ended by itself: {slowest:.1f} s\n")
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
