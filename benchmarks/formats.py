"""Every exported format of several networks against its edition, on real photos.

    python benchmarks/formats.py --models imagenet runs/clothing/best \
        --photos photos --output benchmarks/formats.md

Runs ``mobilenetv2 export`` and tabulates what it measured: each file was written, reloaded in its
own runtime, and compared with the NumPy edition in float64. Needs the extra export.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import machine
from public_data import resolve

from mobilenetv2.files import write_atomically
from mobilenetv2.formats import FORMATS

RUNS = (
    ("float32", ["--format", "all"]),
    ("normalisation inside", ["--format", "onnx", "--pictures"]),
    ("float16", ["--format", "all", "--precision", "float16"]),
    ("bfloat16", ["--format", "all", "--precision", "bfloat16"]),
)


def rows_of(model: str, photos: list[str]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for label, options in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "mobilenetv2", "export", model, folder, *options]
            command += ["--photos", *photos, "--json"]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            found += [(label, json.loads(line)) for line in run.stdout.splitlines()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--photos", nargs="+", default=["photos"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    packages = sorted({
        {"tensorflow": "tensorflow-cpu", "ai_edge_litert": "ai-edge-litert"}.get(name, name)
        for made in FORMATS.values() for name in made.packages
    })  # fmt: skip
    lines = [
        "# Exported formats against their edition", "",
        f"`python benchmarks/formats.py`, {machine(*packages)}.", "",
        "Each file reloaded in its own runtime (Core ML's package computed from its specification) "
        "and compared with the NumPy edition in float64 on photos and two random tensors. The "
        "difference is the largest of any logit; allowed is 1e-4 (float16: 1e-2, bfloat16: 1e-1) "
        "times max(1, the largest logit).", "",
    ]  # fmt: skip
    for model in options.models:
        place = Path(model)
        lines += [
            f"## {place.parent.name if place.name == 'best' else place.name}", "",
            "| format | | size | difference | allowed | same top-1 | |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for label, row in rows_of(model, [resolve(photo) for photo in options.photos]):
            if "max_abs_difference" not in row:
                lines.append(f"| {row['format']} | {label} | | | | | {row['error']} |")
                continue
            allowed = row["tolerance"] * max(1.0, row["max_abs_reference"])
            lines.append(
                f"| {row['format']} | {label} | {row.get('bytes', 0) / 1e6:.1f} MB "
                f"| {row['max_abs_difference']:.1e} | {allowed:.1e} "
                f"| {row['same_top1']} of {row['photos']} | {row.get('error', '')} |"
            )
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()
