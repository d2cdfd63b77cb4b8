"""Run command lines of every verb in every kind of console, and compare with an ordinary one.

    python benchmarks/consoles.py [--only 'predict|describe'] [--consoles 'ascii|no home']

In each console a command must end with the status of an ordinary one and without a traceback, print
the same words in the console's encoding where it has a stdout, and write the same files. Prints a
table in Markdown; what differs follows it.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from command_lines import command_lines, make_inputs
from machine import machine

from mobilenetv2.streams import ESCAPE
from mobilenetv2.text import unescaped

LONGEST = 600
"""Seconds after which a command hangs."""
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
VARIES = re.compile(
    r"(\.keras|\.mnn|\.pt2|\.h5|\.pth|\.png|\.html|\.csv\.gz|benchmark\.json|metrics\.csv|"
    r"checkpoint\.safetensors|start\.json|summary\.md|report/.*|config\.json|README\.md)$"
)
"""Files that hold a time, or a path of the run: they are compared by being there.

In the C locale so is every file: Python takes the letters of names for bytes, which are escaped.
"""


@dataclass(frozen=True, slots=True)
class Console:
    """A way to start a command."""

    name: str
    encoding: str = "utf-8"
    redirect: str = ""
    """Redirection of a shell, such as '>&-'."""
    variables: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """Names of environment variables that are not set."""
    reader: str = ""
    """'stdout' or 'stderr': the pipe's reader left before the command began."""
    lost_folder: bool = False
    """True: the current folder was removed."""

    def prints(self, stream: str) -> bool:
        """Return True if somebody reads a stream."""
        closed = {"stdout": ">&-", "stderr": "2>&-"}[stream]
        return closed not in self.redirect.split() and self.reader != stream


ORDINARY = Console("UTF-8")
CONSOLES = (
    *(Console(name, name, variables={"PYTHONIOENCODING": name})
      for name in ("cp1252", "cp437", "latin-1", "ascii")),
    Console("C locale", "ascii", variables=C_LOCALE),
    ORDINARY,
    Console("stdin closed", redirect="<&-"),
    Console("stdout closed", redirect=">&-"),
    Console("stderr closed", redirect="2>&-"),
    Console("both closed", redirect=">&- 2>&-"),
    Console("stdout's reader gone", reader="stdout"),
    Console("stderr's reader gone", reader="stderr"),
    Console("no HOME", without=("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")),
    Console("HOME nowhere", variables={"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere"}),
    Console("current folder removed", lost_folder=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: bytes
    err: bytes
    files: Mapping[str, bytes]
    """Contents of the files that it wrote, by their path below the output folder."""


def start(words: list[str], console: Console, out: Path) -> Ended:
    """Run a command line in a console; ``out`` is emptied before, and read afterwards."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    folder = out.parent / "current"
    folder.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in console.without}
    environment |= {"OMP_NUM_THREADS": "1", **console.variables}
    command = f"cd {shlex.quote(str(folder))}; "
    command += f"rmdir {shlex.quote(str(folder))}; " if console.lost_folder else ""
    program = [sys.executable, "-m", "mobilenetv2", *words]
    command += f'exec "$@" {console.redirect}'
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if console.reader:
        end, streams[console.reader] = os.pipe()
        os.close(end)
    done = subprocess.run(
        [b"bash", b"-c", command.encode(), b"bash", *map(os.fsencode, program)],
        env=environment, timeout=LONGEST, check=False, stdin=subprocess.DEVNULL,
        stdout=streams["stdout"], stderr=streams["stderr"],
    )  # fmt: skip
    if console.reader:
        os.close(streams[console.reader])
    files = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    return Ended(done.returncode, done.stdout or b"", done.stderr or b"", files)


def differences(
    found: Ended, ordinary: Ended, console: Console, words: Sequence[str] = ()
) -> Iterator[str]:
    """Yield what is wrong with a command in a console.

    Args:
        found: how the command ended there.
        ordinary: how it ended in an ordinary console.
        console: the console.
        words: the command line.
    """
    # Nothing is left to be done once the reader of the rows has left.
    streaming = "predict" in words and "--json" in words
    # Files are UTF-8 in every console.
    encoding = "utf-8" if "/dev/stdout" in words else console.encoding
    if b"Traceback" in found.err or b"Exception ignored" in found.err:
        yield f"a traceback: {found.err[-300:]!r}"
    if console.reader == "stdout" and streaming:
        if found.status:
            yield f"status {found.status}, not 0: {found.err[-300:]!r}"
        return
    if found.status != ordinary.status:
        yield f"status {found.status}, not {ordinary.status}: {found.err[-300:]!r}"
    for stream, mine, theirs in (
        ("stdout", found.out, ordinary.out), ("stderr", found.err, ordinary.err),
    ):  # fmt: skip
        if console.prints(stream):
            written_in = encoding if stream == "stdout" else console.encoding
            lost = missing_words(mine, theirs.decode("utf-8"), written_in)
            if lost:
                yield f"{stream} lacks {lost[:5]}"
        elif mine:
            yield f"{stream} has {mine[:100]!r}"
    if missing := sorted(found.files.keys() ^ ordinary.files.keys()):
        yield f"files differ: {missing[:5]}"
    for name in found.files.keys() & ordinary.files.keys():
        if (
            not (VARIES.search(name) or console.variables == C_LOCALE)
            and found.files[name] != ordinary.files[name]
        ):
            yield f"{name} has other contents"


def missing_words(written: bytes, expected: str, encoding: str) -> list[bytes]:
    """Return the words of an ordinary console's text that are not in what was written.

    JSON is compared as such, for its escapes depend on the encoding.
    """
    if any(line.startswith(("{", "[")) for line in expected.splitlines()):
        here, there = (json_lines(text) for text in (written.decode(encoding), expected))
        return [line[:80].encode("utf-8", ESCAPE) for line in there
                if line not in here and "seconds" not in line]  # fmt: skip
    return [
        word.encode() for word in re.findall(r"[^\s\u2500-\u257f]+", expected)
        if not TIMES.search(word)
        # In the C locale Python takes every letter of a name for bytes that are no text.
        and not any(
            form.encode(encoding, ESCAPE) in written
            for form in (word, as_bytes(word))
        )
    ]  # fmt: skip


def as_bytes(text: str) -> str:
    """Return text as Python reads it from a file's name in the C locale."""
    return text.encode().decode("ascii", "surrogateescape")


def json_lines(text: str) -> list[str]:
    """Return the lines of JSON in a text, written in one form, without escapes of bytes."""
    found = (json.loads(line) for line in text.splitlines() if line.startswith(("{", "[")))
    lines = (json.dumps(value, ensure_ascii=False, sort_keys=True) for value in found)
    return [unescaped(line.replace("\\\\x", "\\x")) for line in lines]


TIMES = re.compile(r"\d\.\d|\d+%|seconds|\d/s|^\d+$")
"""Figures that differ from run to run: times, and what depends on them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pattern of command lines")
    parser.add_argument("--consoles", default="", help="pattern of consoles")
    arguments = parser.parse_args()
    print(
        f"{machine()}\n\n| command line | consoles | tracebacks | differences |\n|---|---|---|---|"
    )
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        inputs = make_inputs(Path(name) / "inputs")
        for title, words in command_lines(inputs, out).items():
            if not re.search(arguments.only, title):
                continue
            ordinary = start(words, ORDINARY, out)
            count = tracebacks = 0
            before = len(wrong)
            for console in CONSOLES:
                if re.search(arguments.consoles, console.name):
                    ended = start(words, console, out)
                    said = [*differences(ended, ordinary, console, words)]
                    count, tracebacks = count + 1, tracebacks + any("a tr" in one for one in said)
                    wrong += [f"- {title}, {console.name}: {one}" for one in said]
            if wrong[before:]:
                print(*wrong[before:], sep="\n", file=sys.stderr)
            print(f"| {title} | {count} | {tracebacks} | {len(wrong) - before} |", flush=True)
    print("\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
