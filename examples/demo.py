"""The main job on the built-in data: train, evaluate, predict. `make demo` runs this.

It types the commands that a person would type, and shows them.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from mobilenetv2.data.dataset import open_dataset


def run(*arguments: str) -> None:
    print(f"\n$ mobilenetv2 {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "mobilenetv2", *arguments], check=True)


def write_photos(folder: Path, count: int) -> list[str]:
    """A few of the digits that were held out, as files that predict can name."""
    test = open_dataset("digits").splits["test"]
    paths = []
    for photo in test.photos[:: len(test) // count][:count]:
        path = folder / photo.name.replace("/", "-")
        path.write_bytes(test.source.read(photo.name))
        paths.append(str(path))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, help="fewer than the recipe's, for a quick look")
    options = parser.parse_args()
    started = time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    photos = options.output / "photos"
    photos.mkdir(exist_ok=True)
    run_folder, model = str(options.output / "run"), str(options.output / "run" / "best")
    epochs = ["--epochs", str(options.epochs)] if options.epochs else []

    run("train", "digits", "--output", run_folder, "--overwrite", *epochs)
    run("evaluate", "digits", "--model", model, "--report", str(options.output / "report"))
    run("predict", *write_photos(photos, 6), "--model", model, "--top", "2")

    print(f"""
Done in {time.monotonic() - started:.0f} s. A MobileNetV2 learned real handwritten digits \
from scratch, was measured
on 360 that it never saw, and named six of them.

pictures   {run_folder}/curves.png  {run_folder}/confusion.png  {run_folder}/classes.png
summary    {run_folder}/summary.md

With your own photos, one folder for each class:

  mobilenetv2 weights import tf2_mobilenet_v2_1.0_224_ptq.tflite imagenet
  mobilenetv2 train PHOTOS --weights imagenet --output runs/photos
  mobilenetv2 predict NEW.jpg --model runs/photos/best""")


if __name__ == "__main__":
    main()
