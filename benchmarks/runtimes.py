"""Runtimes and precisions side by side, and what int8 gains: ``mobilenetv2 benchmark`` as a page.

    python benchmarks/runtimes.py --output benchmarks/runtimes.md \\
        --case imagenet imagenet-samples clothing/train \\
        --case runs/clothing/best clothing -

A case is a model, labelled photos, and a folder of photos to calibrate int8 on; '-' is the data's
own training split. Nothing else should run on the machine. Needs the extra export.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from public_data import resolve

from mobilenetv2.files import write_atomically
from mobilenetv2.machine import sentence
from mobilenetv2.progress import say

GAINERS = ("onnxruntime", "openvino", "litert")
"""Runtimes that have both float32 and int8."""
RESAMPLES = 2000
BATCHES = (1, 32)


def measure(model: str, data: str, calibration: str, options: argparse.Namespace) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "mobilenetv2", "benchmark", model, "--data", data]
        words += [] if calibration == "-" else ["--calibration", calibration]
        words += ["--precision", "float32,float16,int8", "--seconds", str(options.seconds)]
        words += ["--batch", ",".join(map(str, BATCHES)), "--output", folder, "--json"]
        words += ["--threads", str(options.threads)] if options.threads else []
        run = subprocess.run(words, stdout=subprocess.PIPE)
        if run.returncode not in (0, 1):
            sys.exit(run.returncode)
        return json.loads((Path(folder) / "benchmark.json").read_text("utf-8"))


def interval(bounds: list[float]) -> str:
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


COLUMNS = (
    "runtime", "precision", "batch 1: median, p95 (ms)", "pictures/s",
    "batch 32: median, p95 (ms)", "pictures/s", "same answer as float32 (%)", "largest difference",
    "top-1 (%)", "file", "memory: loaded, peak", "load",
)  # fmt: skip


def table(found: Any) -> list[str]:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in found["rows"]:
        if "error" in row:
            lines.append(
                f"| {row['runtime']} | {row['precision']} | {row['error']} " + "| " * 9 + "|"
            )
            continue
        cells = [row["runtime"], row["precision"]]
        for speed in row["speed"]:
            cells.append(f"{speed['median_ms']:.1f}, {speed['p95_ms']:.1f}")
            cells.append(f"{speed['pictures_per_second']:.1f}")
        cells += [
            f"{100 * row['agreement']:.1f} ({interval(row['agreement_interval'])})",
            "-" if row["max_abs_difference"] is None else f"{row['max_abs_difference']:.1e}",
            f"{100 * row['top1']:.1f} ({interval(row['top1_interval'])})",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['memory_after_load_bytes'] / 1e6:.0f}, {row['memory_bytes'] / 1e6:.0f} MB",
            f"{row['load_s']:.2f} s",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def runs(found: Any, runtime: str, precision: str, batch: int) -> np.ndarray | None:
    for row in found["rows"]:
        if (row["runtime"], row["precision"]) == (runtime, precision) and "error" not in row:
            (speed,) = (each for each in row["speed"] if each["batch"] == batch)
            return np.array(speed["runs_ms"])
    return None


def gain(found: Any, runtime: str, batch: int) -> str:
    """Median of float32 over median of int8, with a bootstrapped 95% interval."""
    both = [runs(found, runtime, precision, batch) for precision in ("float32", "int8")]
    if both[0] is None or both[1] is None:
        return "-"
    random = np.random.default_rng(0)
    slow, quick = (
        np.median(random.choice(each, (RESAMPLES, len(each))), 1)
        for each in both
        if each is not None
    )
    low, high = np.quantile(slow / quick, (0.025, 0.975))
    counts = f"n = {len(both[0])} and {len(both[1])}"
    ratio = np.median(both[0]) / np.median(both[1])
    return f"{ratio:.2f} ({low:.2f} to {high:.2f}, {counts})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--case", nargs=3, action="append", required=True,
        metavar=("MODEL", "DATA", "CALIBRATION"), type=resolve,
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = ["# Runtimes and precisions", ""]
    for index, (model, data, calibration) in enumerate(options.case):
        say(f"{model} on {data}")
        found = measure(model, data, calibration, options)
        if index == 0:
            made = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
            lines += [
                f"`python benchmarks/runtimes.py`, {sentence(found['machine'])}, "
                f"{found['threads']} threads for each runtime; {made}.", "",
                "Each row is a process of its own; they run in turns, in short bursts, for "
                f"{found['seconds']:g} s of counted runs at each size of batch. What is timed is "
                "the runtime's answer to pictures that are prepared already. Memory is the "
                "process's, load the time from the import of the runtime until it is ready. 95% "
                "intervals in brackets.", "",
            ]  # fmt: skip
        place = Path(model)
        lines += [
            f"## {place.parent.name if place.name == 'best' else place.name}", "",
            f"{found['photos']} photos of {Path(data).name}; int8 calibrated on "
            f"{str(found['calibrated_on']).partition(' of ')[0]} of "
            f"{Path(calibration).name if calibration != '-' else 'its training split'}.", "",
            *table(found), "",
            "How many times as quick int8 is as float32, by medians:", "",
            "| runtime | batch 1 | batch 32 |", "|---|---|---|",
            *(
                f"| {runtime} | " + " | ".join(gain(found, runtime, b) for b in BATCHES) + " |"
                for runtime in GAINERS
            ), "",
        ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()
