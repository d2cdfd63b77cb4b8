"""Kill a run with SIGKILL at random moments, resume it, compare its end with an undisturbed one.

    python benchmarks/kills.py [--kills 100] [--seed 0]

The run has many short epochs, so that much of its time goes into writing: checkpoints, models,
tables, pictures. After every kill what lies in the folder is read. Prints a table in Markdown.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image

from mobilenetv2.model import store
from mobilenetv2.training.folder import Checkpoint

CHANGES = (
    "network=small", "size=32", "width=0.1", "epochs=60", "batch_size=8", "dropout=0.3",
    "ema_decay=0.8", "precision=float32", "mixing.cutmix=1.0", "mixing.share=0.5", "balance=0.5",
    "selection=0.2", "validation=0.2", "phases=[0.5,1.0]", "augmentation.policy=trivialaugment",
    "replicas=2",
)  # fmt: skip
AT_MOST = 12.0
"""Seconds until the kill; a start takes about three."""


def photos(folder: Path) -> Path:
    """36 small pictures of three kinds."""
    random_ = np.random.default_rng(0)
    for label in range(3):
        (folder / f"kind{label}").mkdir(parents=True)
        for index in range(12):
            pixels = random_.integers(0, 120, (40, 40, 3), np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(folder / f"kind{label}" / f"{index}.png")
    return folder


def begin(data: Path, run: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mobilenetv2", "train", str(data), "--output", str(run)]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def models(run: Path) -> dict[str, bytes]:
    names = ("best/model.safetensors", "last/model.safetensors", "best/config.json")
    return {name: (run / name).read_bytes() for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moment = random.Random(arguments.seed)
    options = ["--weights", "none", *(word for change in CHANGES for word in ("--set", change))]
    kills = runs = before_start = unreadable = different = 0
    epochs: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        data = photos(Path(name) / "data")
        whole = Path(name) / "whole"
        begun = time.monotonic()
        _, errors = begin(data, whole, *options).communicate()
        assert (whole / "summary.md").is_file(), errors
        print(f"an undisturbed run: {time.monotonic() - begun:.1f} s", file=sys.stderr)
        expected = models(whole)
        while kills < arguments.kills:
            run = Path(name) / f"run{runs}"
            process = begin(data, run, *options)
            while True:
                try:
                    process.wait(moment.uniform(2, AT_MOST) if kills < arguments.kills else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                process.communicate()
                kills += 1
                if not (run / "start.json").is_file():
                    before_start += 1  # nothing to resume: the folder may be overwritten
                    process = begin(data, run, "--overwrite", *options)
                    continue
                try:
                    if (run / "checkpoint.safetensors").exists():
                        epochs.append(Checkpoint.load(run / "checkpoint.safetensors").epoch)
                    for model in [run / "best", run / "last"]:
                        if model.exists() or model.with_name(f".previous-{model.name}").exists():
                            store.load(model)
                except Exception as error:
                    unreadable += 1
                    print(f"after kill {kills}: {error}", file=sys.stderr)
                process = begin(data, run, "--resume")
            _, errors = process.communicate()
            if not (run / "summary.md").is_file():
                print(errors, file=sys.stderr)
                different += 1
            elif models(run) != expected:
                different += 1
            runs += 1
            print(f"{kills} kills, {runs} runs finished", file=sys.stderr)
    print(f"# {arguments.kills} kills\n")
    print(f"`python benchmarks/kills.py --kills {arguments.kills} --seed {arguments.seed}`, ")
    print(f"{machine('torch')}.\n")
    print("| what | number |\n|---|---|")
    print(f"| kills by SIGKILL at random moments | {kills} |")
    print(f"| of them before there was anything to resume | {before_start} |")
    print(f"| after an epoch, at epochs | {len(epochs)}, {min(epochs)} to {max(epochs)} |")
    print(f"| unreadable checkpoints or models | {unreadable} |")
    print(f"| runs that these were spread over, all resumed to their end | {runs} |")
    print(
        f"| runs whose final weights or figures differ from the undisturbed run's | {different} |"
    )


if __name__ == "__main__":
    main()
