"""Damaged and hostile files: thousands of mutations of a real file of each kind.

    python benchmarks/fuzz.py --output benchmarks/fuzz.md
    python benchmarks/fuzz.py --modules exported --only OpenVINO --mutations 100

Every mutation must be read or give a clear error, within bounds of time and memory. What is fuzzed
is in the modules ``fuzz_NAME.py`` beside this one, each of which offers ``targets(folder)``. The
status is 1 if a mutation crashed its reader, or was answered wrongly.
"""

import argparse
import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_target import Target, WrongAnswer

from mobilenetv2.errors import MissingExtra, MobileNetV2Error
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

HERE = Path(__file__).parent
EXTREMES = (0, 1, -1, 0x7F, 0x80, 0x7FFF, 0x8000, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
EDGE = 8192
"""Formats keep their structure at the ends: half of all damage is done there."""
OFFERS = "\ndef targets("
"""Text of a module with targets."""
HANG = 10
"""Seconds after which an attempt is a hang."""
ROOM = 8 * 1024**3
"""Address space of an attempt in bytes, beside what its process had: bombs must not harm others."""
STOPPED = (
    "crashed on it", "of processor time", "far more memory", "did not end", "by its library",
    "bad_alloc", "allocate",
)  # fmt: skip
READ, REFUSED, STOPPED_BY, WRONG, CRASHED = 0, 1, 2, 3, 4
"""Exit statuses of an attempt in a fork."""


def mutate(data: bytes, seed: int) -> bytes:
    """One to eight changes of one kind, the same ones for the same seed."""
    choice = random.Random(seed)
    changed = bytearray(data)

    def place(length: int = 1) -> int:
        last = max(0, len(changed) - length)
        edge = min(EDGE, last)
        return choice.choice(
            (choice.randint(0, last), choice.randint(0, last),
             choice.randint(0, edge), choice.randint(last - edge, last))
        )  # fmt: skip

    kind = choice.randrange(6)
    for _ in range(choice.randint(1, 8) if changed else 0):
        if kind == 0:
            changed[place()] ^= 1 << choice.randrange(8)
        elif kind == 1:
            changed[place()] = choice.randrange(256)
        elif kind == 2:
            size, order = choice.choice((("I", 4), ("Q", 8))), choice.choice("<>")
            value = choice.choice(EXTREMES) % 256 ** size[1]
            at = place(size[1])
            changed[at : at + size[1]] = struct.pack(order + size[0], value)
        elif kind == 3:
            length = choice.randint(1, 4096)
            source, at = place(length), place(length)
            piece = changed[source : source + length]
            if choice.random() < 0.5:  # a splice that moves all that follows
                changed[at:at] = piece
            else:
                changed[at : at + len(piece)] = piece
        elif kind == 4:
            length = choice.randint(1, 1024)
            at = place(length)
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        else:
            del changed[place() :]
            break
    return bytes(changed)


@dataclass(slots=True)
class Tally:
    """Outcomes of the mutations of one file."""

    title: str
    mutations: int = 0
    read: int = 0
    refused: int = 0
    stopped: int = 0
    """Number of those refused whose library crashed or reached a limit, in its own process."""
    wrong: int = 0
    """Answers from a file that does not fit its config."""
    crashes: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    """Time of all mutations."""
    memory: int = 0
    """The most bytes that a file took beside what its process had."""
    failures: list[str] = field(default_factory=list)
    """Sentences on each wrong answer and crash."""

    def row(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.title} | {self.mutations:,} | {self.read:,} | {self.refused:,} "
            f"| {self.stopped:,} | {self.wrong} | {self.crashes} "
            f"| {self.seconds / max(1, self.mutations):.2f} | {self.slowest:.2f} "
            f"| {self.memory / 1e6:.0f} |"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one attempt."""

    status: int
    """One of READ, REFUSED, STOPPED_BY, WRONG; anything else is a crash."""
    words: str
    memory: int


def attempted(target: Target) -> tuple[int, str]:
    """Return the status of an attempt in this process, and its error in words."""
    try:
        target.attempt()
    except (MobileNetV2Error, OSError) as error:
        words = str(error)
        return STOPPED_BY if any(sign in words for sign in STOPPED) else REFUSED, words
    except WrongAnswer as error:
        return WRONG, str(error)
    except Exception as error:  # which is what fuzzing looks for
        return CRASHED, f"{type(error).__name__}: {error}"
    return READ, ""


def forked(target: Target | None) -> Outcome:
    """Attempt in a fork with limits; None: measure the fork alone."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status, words = CRASHED, ""
        try:
            signal.alarm(HANG)  # its default ends the process, also in native code
            _limit_memory()
            faulthandler.disable()  # pytest's
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in (1, 2):  # libraries write there
                os.dup2(nowhere, number)
            if target is None:
                status = READ
            else:
                status, words = attempted(target)
                os.write(writing, words.encode("utf-8", "replace")[:2000])
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        words = pipe.read().decode("utf-8", "replace")
    _, ended, usage = os.wait4(child, 0)
    status = os.waitstatus_to_exitcode(ended)
    if status == -signal.SIGALRM:
        words = f"a hang: no end after {HANG} s"
    elif status < 0:
        words = f"ended by {signal.Signals(-status).name}"
    return Outcome(status, words, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = Path("/proc/self/statm")
    if status.is_file():
        used = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


def outcome(target: Target, idle: int) -> Outcome:
    """Attempt once: in a fork, or where the target has a process of its own, here.

    Args:
        idle: bytes of a fork that does nothing.
    """
    if target.memory is not None:
        status, words = attempted(target)
        return Outcome(status, words, target.memory())
    made = forked(target)
    return Outcome(made.status, made.words, max(0, made.memory - idle))


def fuzz(target: Target, mutations: int, first: int = 0) -> Tally:
    """Attempt a target with one mutation after another.

    Raises:
        RuntimeError: the undamaged file is not read.
    """
    tally = Tally(target.title)
    idle = 0 if target.memory is not None else forked(None).memory
    target.path.write_bytes(target.wrap(target.piece))
    whole = outcome(target, idle)  # the file itself must be read; its libraries are imported now
    if whole.status != READ:
        raise RuntimeError(f"{target.title}: the file itself is not read ({whole.words})")
    change = target.mutate or mutate
    for number in range(first, first + mutations):
        target.path.write_bytes(target.wrap(change(target.piece, number)))
        start = time.perf_counter()
        made = outcome(target, idle)
        seconds = time.perf_counter() - start
        tally.slowest, tally.seconds = max(tally.slowest, seconds), tally.seconds + seconds
        tally.memory = max(tally.memory, made.memory)
        tally.mutations += 1
        tally.read += made.status == READ
        tally.refused += made.status in (REFUSED, STOPPED_BY)
        tally.stopped += made.status == STOPPED_BY
        tally.wrong += made.status == WRONG
        if made.status in (READ, REFUSED, STOPPED_BY):
            continue
        tally.crashes += made.status != WRONG
        tally.failures.append(f"{target.title}, mutation {number}: {made.words}")
        say(tally.failures[-1])
    target.path.write_bytes(target.wrap(target.piece))
    return tally


def targets(module: str, folder: Path) -> Generator[Target]:
    """Yield the targets of fuzz_MODULE.py; none if one of its libraries is not installed."""
    try:
        yield from importlib.import_module(f"fuzz_{module}").targets(folder)
    except (MissingExtra, ModuleNotFoundError) as error:
        if str(getattr(error, "name", "")).startswith(("fuzz", "mobilenetv2")):
            raise
        say(f"fuzz_{module}: the rest is left out ({error})")


def fuzz_module(module: str, only: str, mutations: int, first: int) -> list[Tally]:
    """Fuzz the targets of one module whose title has ``only`` in it."""
    made = []
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.closing(targets(module, Path(name))) as found,
    ):
        for target in found:
            if only in target.title:
                made.append(fuzz(target, mutations, first))
                say(made[-1].row())
    return made


def modules() -> list[str]:
    """Return the names of the modules beside this one that have targets."""
    found = (path for path in sorted(HERE.glob("fuzz_*.py")) if OFFERS in path.read_text("utf-8"))
    return [path.stem.removeprefix("fuzz_") for path in found]


def table(tallies: list[Tally], mutations: int, where: str) -> str:
    """Return the page of results.

    Args:
        where: the machine and the versions, in words.
    """
    lines = [
        "# What do damaged and hostile files do?",
        "",
        f"`python benchmarks/fuzz.py --mutations {mutations}`, {where}.",
        "",
        "A real file of every kind, one mutation at a time: bits, bytes, extreme integers, "
        "splices, zeros, truncations; half of them in the first or last 8 KiB. Seals and "
        "checksums are made anew, as an attacker would. Read: the file was read, or "
        "answered as its config says. "
        "Refused: one sentence; 'stopped' of those because a library crashed or reached its "
        "limits, in its own process. Wrong: an answer from a file that does not fit its config. "
        f"Crashes: anything else, and no end within {HANG} s. Memory is what the reading process "
        "took at most beside its library.",
        "",
        "| file | mutations | read | refused | of these stopped | wrong | crashes "
        "| mean, s | slowest, s | most extra memory, MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(tally.row() for tally in tallies),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fuzz what the arguments choose; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="page of results; default: none")
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument(
        "--modules", default="", help="names after fuzz_, with commas; default: all"
    )
    parser.add_argument("--only", default="", help="files whose title has this in it")
    arguments = parser.parse_args()
    from machine import machine  # the tests take the mutations from here, and not this

    tallies: list[Tally] = []
    for module in arguments.modules.split(",") if arguments.modules else modules():
        # A fresh process for each: a fork of one with another library's threads would hang.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            job = pool.submit(
                fuzz_module, module, arguments.only, arguments.mutations, arguments.first
            )
            tallies += job.result()
    if arguments.output is not None:
        where = machine("torch", "onnxruntime", "h5py", "numpy")
        write_atomically(arguments.output, table(tallies, arguments.mutations, where))
    return 1 if any(tally.wrong or tally.crashes for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
