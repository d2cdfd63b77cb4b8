"""The main job on the built-in data: train, evaluate, predict. `make demo` runs this.

It types the commands that a person would type, shows them, and ends with what to type next.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path, PurePath, PureWindowsPath

from mobilenetv2.data.dataset import open_dataset

SHOWN = 6
"""Held-out digits that `predict` names."""


def run(*arguments: str) -> None:
    print(f"\n$ mobilenetv2 {' '.join(map(quoted, arguments))}", flush=True)
    subprocess.run([sys.executable, "-m", "mobilenetv2", *arguments], check=True)


def write_digits(folder: Path) -> list[Path]:
    """Write the built-in set as a folder of photos, train/CLASS/NAME.png; the held-out files."""
    written = {}
    for name, split in open_dataset("digits").splits.items():
        paths = [folder / photo.name for photo in split.photos]
        for photo, path in zip(split.photos, paths, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(split.source.read(photo.name))
        written[name] = paths
    return written["test"]


def quoted(text: str, windows: bool = os.name == "nt") -> str:
    """Return an argument as a shell takes it: PowerShell and cmd do not know ``shlex``'s quotes."""
    if not windows:
        return shlex.quote(text)
    return f'"{text}"' if " " in text else text


def command(script: PurePath, here: PurePath, found: str | None) -> str:
    """Return what to type for `mobilenetv2`, whether or not its environment is activated.

    Args:
        script: The command that the install has made, beside this Python.
        here: The folder in which the lines will be typed.
        found: What the shell finds by the name alone.
    """
    if found and type(script)(found).parent == script.parent:
        return "mobilenetv2"
    windows = isinstance(script, PureWindowsPath)
    short = script.relative_to(here) if script.is_relative_to(here) else script
    line = quoted(str(short), windows)
    return f"& {line}" if line.startswith('"') else line  # PowerShell calls a quoted path by &


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, help="fewer than the recipe's, for a quick look")
    options = parser.parse_args()
    started = time.monotonic()
    digits, photos = options.output / "digits", options.output / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    held_out = write_digits(digits)
    for path in held_out[:: len(held_out) // SHOWN][:SHOWN]:
        shutil.copy(path, photos / f"{path.parent.name}-{path.name}")
    run_folder, model = str(options.output / "run"), str(options.output / "run" / "best")
    epochs = ["--epochs", str(options.epochs)] if options.epochs else []

    run("train", "digits", "--output", run_folder, "--overwrite", *epochs)
    run("evaluate", "digits", "--model", model, "--report", str(options.output / "report"))
    run("predict", str(photos), "--model", model, "--top", "2")

    script = Path(sys.executable).with_name("mobilenetv2")
    typed = f"{quoted(sys.executable)} -m mobilenetv2"
    if script.is_file() or script.with_suffix(".exe").is_file():
        typed = command(script, Path.cwd(), shutil.which("mobilenetv2"))
    again, again_best = (quoted(str(options.output / name)) for name in ("again", "again/best"))
    print(f"""
Done in {time.monotonic() - started:.0f} s. A MobileNetV2 learned real handwritten digits \
from scratch, was measured
on {len(held_out)} that it never saw, and named six of them.

pictures   {run_folder}/curves.png  {run_folder}/confusion.png  {run_folder}/classes.png
summary    {run_folder}/summary.md
photos     {digits}/train has a folder of photos for each class

To go on, type as it stands here (half a minute: a new classifier on the model in the package):

  {typed} train {quoted(str(digits))} --weights embedded --recipe head-only --output {again} \
--overwrite
  {typed} predict {quoted(str(photos))} --model {again_best}

The same with your own photos: photos/ stands for your folder, with a folder of photos for each
class in it, and new.jpg for a photo of yours. The first line fetches ImageNet weights, 14 MB, once.

  {typed} train photos/ --output runs/photos
  {typed} predict new.jpg --model runs/photos/best""")


if __name__ == "__main__":
    main()
