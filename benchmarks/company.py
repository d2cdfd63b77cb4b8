"""How fast a training is that is not alone, by how long its waiting threads spin.

    python benchmarks/company.py --output benchmarks/company.md

GNU OpenMP's threads wait in a loop before they sleep. Where somebody else works on the machine that
loop holds the core which the work that they wait for needs. Needs the extra torch.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import train_steps
from machine import machine

from mobilenetv2 import process
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import small

NETWORKS = {
    "the small network, width 0.5, 32 px, batch 64": (small(width=0.5, classes=10, size=32), 64),
    "width 1.0, 128 px, batch 32": (NetworkSpec(classes=10, size=(128, 128)), 32),
}
SETTINGS: dict[str, dict[str, str]] = {
    "OpenMP's own": {},
    "10,000 spins": {process.SPINS: "10000"},
    "3,000 spins (ours)": {process.SPINS: process.FEW_SPINS},
    "1,000 spins": {process.SPINS: "1000"},
    "OMP_WAIT_POLICY=passive": {process.POLICY: "passive"},
}
COMPANY = {"alone": (1, 0), "beside a busy process": (1, 1), "two of them at once": (2, 0)}
"""Trainings, and processes that only count."""
SECONDS = 5.0
BUSY = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(speed(*NETWORKS[arguments.child]))
        return
    lines = [
        "# Training in company: photos a second, by how long waiting threads spin", "",
        f"{machine('torch')}.", "",
        f"`python benchmarks/company.py --rounds {arguments.rounds}`. Steps in float32 for "
        f"{SECONDS:g} seconds, each in a process of its own; medians of {arguments.rounds} rounds "
        "in turns; of two at once, of each.", "",
    ]  # fmt: skip
    for network in NETWORKS:
        found: dict[tuple[str, str], list[float]] = {}
        for turn in range(arguments.rounds):
            say(f"{network}, round {turn + 1} of {arguments.rounds}")
            for company, (trainings, busy) in COMPANY.items():
                for setting in SETTINGS:
                    speeds = measured(network, setting, trainings, busy)
                    found.setdefault((setting, company), []).extend(speeds)
        lines += [f"## {network}", "", f"| | {' | '.join(COMPANY)} |", "|---|---|---|---|"]
        for setting in SETTINGS:
            cells = (f"{median(found[setting, company]):.0f}" for company in COMPANY)
            lines.append(f"| {setting} | {' | '.join(cells)} |")
        lines.append("")
    text = "\n".join(lines)
    if arguments.output:
        write_atomically(arguments.output, text)
    print(text)


def measured(network: str, setting: str, trainings: int, busy: int) -> list[float]:
    environment = {**os.environ, **SETTINGS[setting]}
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    command = [sys.executable, __file__, "--child", network]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(trainings)
    ]
    speeds = [float(child.communicate()[0]) for child in started]
    for other in others:
        other.kill()
        other.wait()
    return speeds


def speed(spec: NetworkSpec, batch: int) -> float:
    process.keep_memory()
    step = train_steps.ours(spec)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, *spec.size, 3), np.uint8)
    labels = random.integers(0, spec.classes, batch)
    step(pictures, labels)
    started, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - started < SECONDS:
        step(pictures, labels)
        steps += 1
    return steps * batch / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
