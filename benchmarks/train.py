"""Pictures a second in training, against a plain PyTorch loop and keras.applications with ``fit``.

    python benchmarks/train.py --data clothing/train --output benchmarks/train.md

Every candidate is a process that waits while the others work; rounds go from one to the next.
The plain loop is torchvision's network and reference loop: NCHW, float32, no compilation. Nothing
else should run on the machine. ``train_curves.py`` compares what they learn. Needs the extras torch
and keras.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from machine import machine
from public_data import resolve

from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say

KINDS = {
    "plain-nchw": "(a) plain PyTorch loop, NCHW, float32",
    "plain-nchw-again": "(a) once more: what chance makes of times",
    "plain-channels_last": "(a) in channels_last memory",
    "plain-channels_last-compiled": "(a) in channels_last memory, torch.compile",
    "plain-nchw-bfloat16": "(a) in bfloat16 by autocast",
    "keras": "(b) keras.applications on TensorFlow, float32",
    "keras-bfloat16": "(b) in Keras's mixed_bfloat16",
    "ours-float32-freed": "ours, float32, the C library's own malloc",
    "ours-float32": "ours, float32",
    "ours-bfloat16-everywhere": "ours, bfloat16 in all layers",
    "ours-bfloat16": "ours, bfloat16 (the default where the processor has it)",
}
WITH_PHOTOS = (
    "plain-nchw", "plain-nchw-bfloat16", "keras", "keras-bfloat16", "ours-float32", "ours-bfloat16",
)  # fmt: skip
SIZES = {32: 128, 96: 32, 128: 32, 224: 32}
"""Side -> batch."""
WARMING = 4
"""Steps before the first that is timed."""
HERE = Path(__file__).parent


class Candidate:
    def __init__(self, kind: str, size: int, batch: int, data: str, photos: int) -> None:
        words = [sys.executable, str(HERE / "train_candidate.py"), kind, str(size), str(batch)]
        self.process = subprocess.Popen(
            [*words, data, str(photos)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, count: int) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, "count": count}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("REPORT"):
                return json.loads(line.removeprefix("REPORT"))
        raise SystemExit("a candidate ended")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=resolve, default="clothing/train", help="a folder of class folders"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--photos", type=int, default=640, help="of the loop with data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES])
    arguments = parser.parse_args()
    lines = [
        "# Training: pictures a second", "", f"{machine('torch', 'keras', 'tensorflow-cpu')}.", "",
        f"`python benchmarks/train.py --rounds {arguments.rounds} --steps {arguments.steps}`. "
        "Width 1.0, 10 classes, SGD with Nesterov's momentum 0.9 and weight decay 4e-5 (Keras "
        "without decay and dropout, as keras.applications has it). "
        f"Medians of {arguments.rounds} rounds of {arguments.steps} "
        "steps in turns, each candidate a process of its own; in brackets, times (a).", "",
    ]  # fmt: skip
    header = "| candidate | " + " | ".join(f"{s} px, batch {SIZES[s]}" for s in arguments.sizes)
    steps: dict[str, list[str]] = {kind: [] for kind in KINDS}
    loops: dict[str, list[str]] = {kind: [] for kind in WITH_PHOTOS}
    firsts: dict[str, list[str]] = {kind: [] for kind in loops}
    for size in arguments.sizes:
        batch = SIZES[size]
        say(f"{size} pixels")
        candidates = {
            kind: Candidate(kind, size, batch, arguments.data, arguments.photos) for kind in KINDS
        }
        speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for candidate in candidates.values():
            candidate.ask("steps", WARMING)
        for _ in range(arguments.rounds):
            for kind, candidate in candidates.items():
                found = candidate.ask("steps", arguments.steps)
                speeds[kind].append(found["pictures"] / found["seconds"])
        add(steps, speeds)
        with_data: dict[str, list[float]] = {kind: [] for kind in loops}
        for kind in loops:  # warms up; ours holds the photos from here on
            found = candidates[kind].ask("photos", arguments.photos)
            firsts[kind].append(f"{found['pictures'] / found['seconds']:.0f}")
        for _ in range(3):
            for kind in loops:
                found = candidates[kind].ask("photos", arguments.photos)
                with_data[kind].append(found["pictures"] / found["seconds"])
        add(loops, with_data)
        for candidate in candidates.values():
            candidate.end()
    tables = (
        ("One step", steps), ("The loop with photos from files, its first epoch", firsts),
        ("The loop with photos from files, later epochs", loops),
    )  # fmt: skip
    for title, table in tables:
        lines += [f"## {title}", "", header + " |", "|---|" + "---|" * len(arguments.sizes)]
        lines += [f"| {KINDS[kind]} | " + " | ".join(cells) + " |" for kind, cells in table.items()]
        lines.append("")
    write_atomically(arguments.output, "\n".join(lines))


def add(cells: dict[str, list[str]], speeds: dict[str, list[float]]) -> None:
    base = median(speeds["plain-nchw"])
    for kind, column in cells.items():
        value = median(speeds[kind])
        column.append(f"{value:.0f} ({value / base:.2f})")


if __name__ == "__main__":
    main()
