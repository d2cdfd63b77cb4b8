"""The main job on a real folder of photos, as a person runs it, whole commands: the default, which
chooses for itself, the quick head, and the later blocks alone.

    python benchmarks/clothing.py --output benchmarks/clothing.md

Time is of the whole process: decoding and checking every photo, training, final figures, pictures.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from machine import machine
from public_data import find

from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.files import write_atomically

DEFAULT = "default"
RECIPES = ("head-only", "later-blocks", DEFAULT)
FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


def command(*arguments: str) -> tuple[dict[str, Any], float]:
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "mobilenetv2", *arguments, "--json"], check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(run.stdout)
    return found, time.monotonic() - started


def spread(recipe: str, found: list[float], photos: int) -> str:
    """Mean and range over seeds, and what so many photos allow."""
    low, high = wilson(round(mean(found) * photos), photos)
    return (
        f"- {recipe}: {mean(found):.1%} of {photos} in the mean of {len(found)} seeds, "
        f"{min(found):.1%} to {max(found):.1%}; the 95% interval of one such figure is "
        f"{low:.1%} to {high:.1%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="where the runs stay; else they are removed")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each recipe")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        weights = str(folder / "imagenet")
        command("weights", "import", str(find("published") / FILE), weights)
        rows = []
        figures: dict[str, list[float]] = {recipe: [] for recipe in options.recipes}
        for recipe in options.recipes:
            for seed in range(options.seeds):
                run = str(folder / f"{recipe}-{seed}")
                chosen = [] if recipe == DEFAULT else ["--recipe", recipe]
                found, seconds = command(
                    "train", str(find("clothing")), "--weights", weights, *chosen,
                    "--output", run, "--seed", str(seed),
                )  # fmt: skip
                m = found["metrics"]
                figures[recipe].append(m["validation.top1"])
                photos = int(m["validation.images"])
                rows.append(
                    f"| {recipe} | {seed} | {found['epochs']} | {m['train.top1']:.1%} "
                    f"| {m['selection.top1']:.1%} | {m['validation.top1']:.1%} "
                    f"| {m['validation.top5']:.1%} | {m['validation.loss']:.3f} "
                    f"| {m['validation.calibration_error_before']:.1%} "
                    f"| {m['validation.calibration_error']:.1%} ({m['temperature']:.2f}) "
                    f"| {seconds / 60:.1f} min |"
                )
                print(rows[-1], flush=True)
                # After each run: an hour's work is not lost with the next one.
                write_atomically(options.output, table(rows, figures, photos))


def table(rows: list[str], figures: dict[str, list[float]], photos: int) -> str:
    """All of the file."""
    return "\n".join(
        [
            "# Ten kinds of clothes: 3,068 photos to learn from, 341 to be judged on", "",
            f"`python benchmarks/clothing.py`, {machine('torch', 'scikit-learn', 'pillow')}, "
            f"from `{FILE}` (dequantised). Validation is looked at once, at the end; a tenth of "
            "the training photos selects.", "",
            "| recipe | seed | epochs | train top-1 | selection top-1 | validation top-1 "
            "| validation top-5 | validation loss | calibration error before | after "
            "(temperature) | whole command |",
            "|---|---|---|---|---|---|---|---|---|---|---|", *rows, "",
            *(spread(recipe, found, photos) for recipe, found in figures.items() if found), "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
