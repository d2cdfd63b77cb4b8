"""Cost of classifying, or training on, 10^3 to 10^10 photos, from stated figures.

    python benchmarks/growth.py
    python benchmarks/growth.py --engine-ms 4.3 --core-hour 0.03 --cores 64
    python benchmarks/growth.py --measure ../shared/data/clothing --model MODEL --counts 1000,10000

The first two lines print the tables of docs/growth.md, with the figures of this project or with a
reader's own. The third one compares the formula with `predict`: photos are links to those given.
"""

import argparse
import dataclasses
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from machine import machine
from many_photos import links

COUNTS = tuple(10**power for power in range(3, 11))
DAY = 86_400.0


def figure(default: float, meaning: str) -> float:
    """Return a field of :class:`Figures` with its meaning."""
    found: float = field(default=default, metadata={"meaning": meaning})
    return found


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures from which the tables are computed."""

    start_s: float = figure(0.85, "seconds to start one process and load the model, on one core")
    read_ms: float = figure(0.005, "core-milliseconds to list a photo")
    decode_ms: float = figure(1.40, "core-milliseconds to read and decode a photo")
    resize_ms: float = figure(2.03, "core-milliseconds to resize, crop and normalise it")
    engine_ms: float = figure(9.08, "core-milliseconds of the network, 224 pixels, float32")
    rest_ms: float = figure(0.39, "core-milliseconds of the rest: Python, queues, rows")
    train_ms: float = figure(46.5, "core-milliseconds of a training step for a photo, bfloat16")
    photo_kb: float = figure(115.0, "thousands of bytes of a photo")
    answer_kb: float = figure(0.6, "thousands of bytes of five answers for a photo")
    name_b: float = figure(330.0, "bytes of memory for the name and place of a photo")
    part_mb: float = figure(4.19, "millions of bytes of one request for a part of a shard")
    part_photos: float = figure(1e7, "photos of one index of shards")
    cores: float = figure(32.0, "cores of a machine")
    core_hour: float = figure(0.04, "USD of a core-hour")
    million_requests: float = figure(0.40, "USD of a million requests to an object store")
    gb_month: float = figure(0.023, "USD of a month of 10^9 bytes in an object store")
    days_to_failure: float = figure(365.0, "mean days until a machine fails or is taken away")

    @property
    def photo_s(self) -> float:
        """Core-seconds to classify a photo."""
        parts = self.read_ms, self.decode_ms, self.resize_ms, self.engine_ms, self.rest_ms
        return sum(parts) / 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of one number of photos."""

    photos: int
    work: float
    """Core-seconds for the photos."""
    starts: int
    """Processes that start, one after the other on each machine."""
    machines: int
    """Smallest number of machines that end within a day."""
    figures: Figures

    @property
    def seconds(self) -> float:
        """Core-seconds; the other cores of a machine wait while a process starts."""
        return self.work + self.starts * self.figures.start_s * self.figures.cores

    @property
    def dollars(self) -> float:
        """Cost of the cores."""
        return self.seconds / 3600 * self.figures.core_hour

    @property
    def wall(self) -> float:
        """Seconds on these machines."""
        return self.seconds / (self.machines * self.figures.cores)

    @property
    def failures(self) -> float:
        """Failures to expect while the work lasts."""
        return self.machines * self.wall / DAY / self.figures.days_to_failure

    @property
    def bytes(self) -> float:
        """Bytes of the photos."""
        return self.photos * self.figures.photo_kb * 1000

    @property
    def parts(self) -> int:
        """Number of indices of shards, each of which is a piece of work."""
        return math.ceil(self.photos / self.figures.part_photos)


def classify(photos: int, figures: Figures) -> Cost:
    """Return the cost of classifying photos, with one start for each machine and index."""
    work = photos * figures.photo_s
    machines = max(1, math.ceil(work / (figures.cores * DAY)))
    starts = max(machines, math.ceil(photos / figures.part_photos))
    return Cost(photos, work, starts, machines, figures)


def train(photos: int, figures: Figures) -> Cost:
    """Return the cost of one epoch."""
    work = photos * (figures.train_ms + figures.read_ms) / 1000
    machines = max(1, math.ceil(work / (figures.cores * DAY)))
    return Cost(photos, work, machines, machines, figures)


def amount(number: float, unit: str = "") -> str:
    """Return a number with two digits that count, and thousands by commas."""
    if number >= 100:
        digits = len(f"{number:.0f}") - 2
        text = f"{round(number, -digits):,.0f}"
    elif number >= 10:
        text = f"{number:.0f}"
    else:
        text = f"{number:.2g}" if number >= 0.01 else f"{number:.1g}"
    return f"{text}{unit}"


def size(number: float) -> str:
    """Return bytes in words, such as '1.2 TB'."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return amount(number, f" {unit}")
        number /= 1000
    return amount(number, " PB")


def duration(seconds: float) -> str:
    """Return a duration in words, such as '3.2 h'."""
    for unit, length in (("s", 60.0), ("min", 60.0)):
        if seconds < length:
            return amount(seconds, f" {unit}")
        seconds /= length
    return amount(seconds, " h")


def power(number: int) -> str:
    """Return a power of ten as it is written in a table."""
    return f"10^{round(math.log10(number))}"


def table(head: str, rows: list[list[str]]) -> list[str]:
    """Return the lines of a table."""
    line = "|" + "---|" * (head.count("|") - 1)
    return [head, line, *(f"| {' | '.join(row)} |" for row in rows)]


def tables(figures: Figures) -> list[str]:
    """Return the lines of all tables, as they stand in docs/growth.md."""
    inputs = [
        [f"`--{one.name.replace('_', '-')}`", f"{getattr(figures, one.name):g}",
         one.metadata["meaning"]]
        for one in dataclasses.fields(figures)
    ]  # fmt: skip
    costs = [classify(photos, figures) for photos in COUNTS]
    cores = f"{figures.cores:g}"
    compute = [
        [
            power(one.photos), amount(one.seconds / 3600), amount(one.dollars), f"{one.machines:,}",
            duration(one.wall), f"{one.work / one.seconds:.0%}",
            amount(one.failures),
        ]
        for one in costs
    ]  # fmt: skip
    request = figures.million_requests / 1e6
    data = [
        [
            power(one.photos), size(one.bytes), size(one.photos * figures.answer_kb * 1000),
            size(min(one.photos, figures.part_photos) * figures.name_b), f"{one.parts:,}",
            amount(one.photos * request),
            amount(max(one.parts, one.bytes / (figures.part_mb * 1e6)) * request),
            amount(one.bytes / 1e9 * figures.gb_month),
            amount(8 * one.bytes / one.wall / one.machines / 1e9),
        ]
        for one in costs
    ]  # fmt: skip
    epochs = [train(photos, figures) for photos in COUNTS]
    training = [
        [
            power(one.photos), amount(one.seconds / 3600), amount(one.dollars), f"{one.machines:,}",
            duration(one.wall), amount(one.failures),
        ]
        for one in epochs
    ]  # fmt: skip
    return [
        *table("| figure | value | meaning |", inputs), "",
        *table(
            f"| photos | core-hours | USD | machines of {cores} cores | time on them | not start | "
            "failures |",
            compute,
        ), "",
        *table(
            "| photos | bytes | answers | names in memory | indices | USD, a request a photo | "
            "USD, requests of shards | USD, a month of storage | Gbit/s a machine |",
            data,
        ), "",
        *table(
            f"| photos | core-hours an epoch | USD | machines of {cores} cores | time on them | "
            "failures |",
            training,
        ),
    ]  # fmt: skip


def measure(photos: Path, model: str, count: int) -> tuple[float, float]:
    """Return the seconds and the core-seconds of `predict` for links to photos."""
    with tempfile.TemporaryDirectory() as name:
        folder = links(photos, count, Path(name) / "photos")
        words = [sys.executable, "-m", "mobilenetv2", "predict", str(folder), "--model", model]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([*words, "--output", f"{name}/answers.csv"], check=True,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, spent


def measured(figures: Figures, photos: Path, model: str, counts: list[int]) -> list[str]:
    """Return a table of the formula against runs of `predict`."""
    rows = []
    for count in counts:
        seconds, spent = measure(photos, model, count)
        said = figures.start_s + count * figures.photo_s
        rows.append([f"{count:,}", f"{seconds:.1f}", f"{spent:.1f}", f"{said:.1f}",
                     f"{said / spent - 1:+.0%}"])  # fmt: skip
        print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    head = "| photos | seconds | core-seconds | formula, core-seconds | formula is off by |"
    return [f"{machine('numpy', 'pillow', 'onnxruntime')}.", "", *table(head, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what 10^3 to 10^10 photos cost.")
    for one in dataclasses.fields(Figures):
        name = f"--{one.name.replace('_', '-')}"
        parser.add_argument(name, type=float, default=one.default, help=one.metadata["meaning"])
    parser.add_argument("--measure", type=Path, metavar="PHOTOS")
    parser.add_argument("--model")
    parser.add_argument("--counts", default="1000,10000")
    options = vars(parser.parse_args())
    figures = Figures(**{one.name: options[one.name] for one in dataclasses.fields(Figures)})
    if options["measure"]:
        counts = [int(count) for count in options["counts"].split(",")]
        lines = measured(figures, options["measure"], options["model"], counts)
    else:
        lines = tables(figures)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
