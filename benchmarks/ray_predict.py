"""Thousands of photos by `predict --on ray` and by the plain path, on the same cores in one run.

    python benchmarks/ray_predict.py --output benchmarks/ray_predict.md
    python benchmarks/ray_predict.py --cifar 3000 --clothes 300 --runs 1

The photos are CIFAR-10's 60,000, from two .zip files, and the 3,409 of clothes, from a folder. Both
ways take turns; each is a whole command with a file of answers, whose bytes must be the same. The
memory is that of all processes of the command together, by their proportional share of pages
(Pss), so that the object store counts once.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil
from machine import machine
from public_data import find

from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

EVERY = 1.0
"""Seconds between two looks at the memory."""


@dataclass
class Run:
    seconds: float
    """Time of the whole command."""
    memory: list[tuple[float, float]]
    """(part of the time from 0 to 1, MiB of all its processes)."""

    def between(self, first: float, last: float) -> float:
        """Return the median of the memory in a part of the time."""
        found = [size for at, size in self.memory if first <= at <= last]
        return statistics.median(found) if found else float("nan")


def pss(process: psutil.Process) -> int:
    """Return the bytes of a process and all below it, each shared page counted once in all."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue  # it has ended
    return total


def run(photos: list[Path], output: Path, options: list[str]) -> Run:
    command = [sys.executable, "-m", "mobilenetv2", "predict", *map(str, photos),
               "--output", str(output), "--overwrite", *options]  # fmt: skip
    looks: list[tuple[float, float]] = []
    begun = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    over = threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            try:
                looks.append(
                    (time.perf_counter() - begun, pss(psutil.Process(process.pid)) / 2**20)
                )
            except psutil.Error:
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    status = process.wait()
    seconds = time.perf_counter() - begun
    over.set()
    thread.join()
    if status:
        raise SystemExit(f"{' '.join(command[:6])} ... ended with {status}")
    return Run(seconds, [(at / seconds, size) for at, size in looks])


def some_of(archives: list[Path], count: int, folder: Path) -> list[Path]:
    """Return an archive with the first photos of archives."""
    place = folder / "some.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as out:
        left = count
        for archive in archives:
            with zipfile.ZipFile(archive) as file:
                names = [name for name in file.namelist() if name.endswith((".png", ".jpg"))]
                for name in names[:left]:
                    out.writestr(f"{archive.stem}/{name}", file.read(name))
                left -= len(names[:left])
    return [place]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=int, default=60_000, metavar="N")
    parser.add_argument("--clothes", type=int, default=3_409, metavar="N")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder with cifar10/ and clothing/")
    parser.add_argument("--output", type=Path, help="page to write")
    given = parser.parse_args()
    data = given.data or find("cifar10").parent
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = [data / "cifar10" / "train.zip", data / "cifar10" / "test.zip"]
        if given.cifar < 60_000:
            archives = some_of(archives, given.cifar, folder)
        clothes = sorted((data / "clothing").rglob("*.jpg"))
        sets = {
            "CIFAR-10, .zip": (archives, given.cifar),
            "clothes, files": ([*islice(clothes, given.clothes)], min(given.clothes, len(clothes))),
        }
        for title, (photos, count) in sets.items():
            found: dict[str, list[Run]] = {"plain": [], "ray": []}
            for _ in range(given.runs):
                for way, runs in found.items():
                    options = ["--on", "ray"] if way == "ray" else []
                    runs.append(run(photos, folder / f"{way}.csv", options))
                    say(f"{title}, {way}: {count / runs[-1].seconds:.0f} photos/s")
            same = (folder / "plain.csv").read_bytes() == (folder / "ray.csv").read_bytes()
            rates = {way: statistics.median(count / one.seconds for one in runs)
                     for way, runs in found.items()}  # fmt: skip
            ratio = statistics.median(
                plain.seconds / ray.seconds
                for plain, ray in zip(found["plain"], found["ray"], strict=True)
            )
            last = found["ray"][-1]
            rows.append(
                f"| {title} | {count:,} | {rates['plain']:,.0f} | {rates['ray']:,.0f} "
                f"| {ratio:.2f} | {last.between(0.3, 0.5):,.0f} | {last.between(0.8, 1.0):,.0f} "
                f"| {found['plain'][-1].between(0.8, 1.0):,.0f} | {'yes' if same else 'NO'} |"
            )
    page = "\n".join([
        "# Predictions on Ray against the plain path", "",
        "Made by `benchmarks/ray_predict.py`: whole commands in turns, the start of Ray among the "
        "time.", "", machine(), "",
        f"Medians of {given.runs} runs. Memory is that of all processes together (Pss), in the "
        "middle and at the end of the last run.", "",
        "| photos | number | plain, photos/s | Ray, photos/s | Ray / plain "
        "| MiB with Ray, at 30-50% | at 80-100% | MiB plain | same answers |",
        "|---|---|---|---|---|---|---|---|---|", *rows, "",
    ])  # fmt: skip
    print(page)
    if given.output:
        write_atomically(given.output, page.encode())


if __name__ == "__main__":
    main()
