"""A hundred thousand photos in one folder: memory, rate from first to last, time to the first row.

    python benchmarks/many_photos.py --photos ../shared/data/clothing --model MODEL \\
        --counts 5000,100000 --output benchmarks/many-photos.md

The photos are links to those given, in turns, in one folder. The command writes a CSV file; what is
in there is looked at while it grows, and so is the peak of the process's memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine

from mobilenetv2.files import write_atomically
from mobilenetv2.machine import PEAK, read_fields
from mobilenetv2.progress import say

SECONDS = 0.02
"""Seconds between two looks at the file."""


@dataclass(frozen=True, slots=True)
class Run:
    """Duration, memory and rates of one run."""

    photos: int
    seconds: float
    first: float
    """Seconds until the first row was in the file."""
    peak: int
    """Peak of the resident memory, in bytes."""
    tenths: tuple[float, ...]
    """Photos a second in each tenth of the rows; nan for one that came before the first look."""


def links(photos: Path, count: int, folder: Path) -> Path:
    """Make a folder of links to photos."""
    names = sorted(path.resolve() for path in photos.rglob("*.jpg"))
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.jpg").symlink_to(names[number % len(names)])
    return folder


def run(words: list[str], photos: Path, count: int, out: Path) -> Run:
    """Run the command once, and look at it."""
    unfinished = out.with_name(f"{out.name}.unfinished")
    began, first, peak = time.monotonic(), 0.0, 0
    seen: list[tuple[int, float]] = [(0, 0.0)]
    rows = size = 0
    with subprocess.Popen([*words, str(photos), "--output", str(out)],
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        while process.poll() is None:
            time.sleep(SECONDS)
            now = time.monotonic() - began
            try:
                fields = read_fields(Path(f"/proc/{process.pid}/status").read_text())
                peak = max(peak, 1024 * int(fields.get(PEAK, "0 kB").split()[0]))
                if unfinished.stat().st_size > size:
                    with unfinished.open("rb") as file:
                        file.seek(size)
                        data = file.read()
                    rows, size = rows + data.count(b"\n"), size + len(data)
                    seen.append((rows - 1, now))  # without the head
                    first = first or (now if rows > 1 else 0.0)
            except (FileNotFoundError, ProcessLookupError):
                continue
    if process.returncode:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}")
    done = time.monotonic() - began
    seen.append((count, done))
    # Rows come in groups, so the time of a row between two looks is interpolated; what the first
    # look finds was written before it, so it counts for no rate.
    rows_seen, times = zip(*seen[1:], strict=True)
    ends = np.arange(1, 11) * count / 10
    edges, starts = np.interp(ends, rows_seen, times), np.maximum(ends - count / 10, rows_seen[0])
    counted = np.maximum(ends - starts, 0)
    counted[counted == 0] = np.nan  # no rate of a tenth that the first look found whole
    tenths = tuple(counted / (edges - np.interp(starts, rows_seen, times)))
    return Run(count, done, first, peak, tenths)


def table(found: list[Run]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| photos | seconds | to the first row | peak of memory | photos/s in the first tenth | in "
        "the last | last/first |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {one.photos:,} | {one.seconds:.1f} | {one.first:.2f} s | {one.peak / 1e6:.0f} MB | "
            f"{one.tenths[0]:.1f} | {one.tenths[-1]:.1f} | {one.tenths[-1] / one.tenths[0]:.2f} |"
        )
    ratio = found[-1].peak / found[0].peak
    return [*lines, "", f"Peak of the last row against the first: {ratio:.3f}."]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a folder of very many photos.")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--counts", default="5000,100000")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    words = [sys.executable, "-m", "mobilenetv2", "predict", "--model", options.model]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: list[Run] = []
    for count in map(int, options.counts.split(",")):
        with tempfile.TemporaryDirectory() as name:
            photos = links(options.photos, count, Path(name) / "photos")
            found.append(run(words, photos, count, Path(name) / "answers.csv"))
        say(f"{count:,}: {found[-1].seconds:.1f} s")
    lines = table(found)
    print("\n".join(lines))
    if options.output:
        head = f"`{' '.join(['python', *sys.argv])}`, {machine('numpy', 'pillow', 'onnxruntime')}."
        write_atomically(options.output, "\n".join([head, "", *lines, ""]))


if __name__ == "__main__":
    main()
