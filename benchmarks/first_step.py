"""Training on photos of 12 megapixels: the time from the command to the first step.

    python benchmarks/first_step.py --before CHECKOUT --photos 200 --runs 3 \\
        --output benchmarks/first-step.md

CHECKOUT is another checkout of this project, whose code runs with this environment. The photos are
those of clothes, enlarged (``bulk.py --phones``), in two classes. Both versions read, check and
cache them as ``train`` does, and stop before the second step. Runs are in turns. Of more than
``MADE`` photos, the others are copies with some more bytes at their end, which no decoder reads.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bulk import phones
from machine import machine
from public_data import find

import mobilenetv2 as mn
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

MADE = 200
"""Number of photos that are made; the others are copies."""
SCRIPT = """
import sys
from mobilenetv2.training.steps import torch

class Enough(BaseException):
    pass

real = torch.TorchTrainer.step

def step(self, *given):
    real(self, *given)
    raise Enough

torch.TorchTrainer.step = step
import mobilenetv2 as mn
try:
    recipe = mn.Recipe().changed(epochs=1, trained="all")
    mn.train(sys.argv[1], output=sys.argv[2], weights="none", recipe=recipe)
except Enough:
    pass
"""


def photos_in_classes(count: int, folder: Path) -> Path:
    """Write photos of 12 megapixels into two folders."""
    made = [path.read_bytes() for path in sorted(
        phones(find("clothing"), min(count, MADE), folder).glob("*.jpg")
    )]  # fmt: skip
    for number in range(count):
        place = folder / "classes" / f"class-{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        more = number.to_bytes(4, "little") if number >= MADE else b""
        (place / f"{number:04}.jpg").write_bytes(made[number % MADE] + more)
    return folder / "classes"


def seconds(source: Path, photos: Path, folder: Path) -> float:
    """Return the seconds until the first step, of one version."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with tempfile.TemporaryDirectory(dir=folder) as output:
        began = time.perf_counter()
        words = [sys.executable, "-c", SCRIPT, str(photos), f"{output}/run"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time until the first step.")
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    sources = {"before": options.before / "src", "now": Path(mn.__file__).parents[1]}
    found: dict[str, list[float]] = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as name:
        photos = photos_in_classes(options.photos, Path(name))
        for number in range(options.runs):
            for version, source in sources.items():
                found[version].append(seconds(source, photos, Path(name)))
                say(f"{number + 1}: {version}: {found[version][-1]:.1f} s")
    ratios = [a / b for a, b in zip(*found.values(), strict=True)]
    lines = [
        f"{options.photos} photos of 12 megapixels, n = {options.runs}, {machine('torch')}.", "",
        "| version | seconds until the first step (median) |", "|---|---|",
        *(f"| {version} | {statistics.median(times):.1f} |" for version, times in found.items()),
        "", f"Ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}).",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.output:
        write_atomically(options.output, "\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
