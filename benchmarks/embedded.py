"""Make the embedded model out of a run, and measure it as float32, float16 and int8.

    mobilenetv2 train data/cifar10 --weights none --recipe scratch-small \\
        --output runs/cifar10
    python benchmarks/embedded.py --run runs/cifar10 --data cifar10 \\
        --output benchmarks/embedded.md

Writes src/mobilenetv2/embedded. The test photos have been looked at once by the run; here they
are shown to what came of it, and nothing is chosen by them.
"""

import argparse
import csv
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from mobilenetv2.cli.inputs import with_flips
from public_data import resolve

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.calibration import measure_calibration
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.metrics import measure, wilson
from mobilenetv2.evaluation.predictions import Predictions, predict_split
from mobilenetv2.files import write_atomically
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.quantization import calibration_set, job, post_training
from mobilenetv2.quantization.job import Judge
from mobilenetv2.runtime.predictor import create_engine, load_artifact, load_predictor
from mobilenetv2.spec.records import TRAINED_HERE, Origin
from mobilenetv2.training.folder import RunFolder

RECIPE = "scratch-small"
NOTE = (
    "Trained from scratch by `mobilenetv2 train cifar10/ --weights none --recipe {recipe}`: "
    "{epochs} epochs of up to 32 x 32 pixels in {minutes:.0f} minutes of steps on {machine}; "
    "{photos} photos trained on, {selection} to choose the epoch and to fit a temperature, the "
    "test figures taken once at the end; weights stored in float16. The photos: CIFAR-10 (Alex "
    "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), published for "
    "research without a licence of its own; none of them is in here. It knows its ten classes and "
    "nothing else: whatever it is shown, it names one of them."
)

HISTORY = (
    "Trained from scratch on 47,500 photos of CIFAR-10 (Alex Krizhevsky, 2009), which was "
    "published for research without a licence of its own."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=resolve, default="cifar10")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    run, target = RunFolder(options.run), embedded_folder()
    with (run.path / "metrics.csv").open(encoding="utf-8") as file:
        epochs = list(csv.DictReader(file))
    with run.split.open(encoding="utf-8") as file:
        parts = [row["split"] for row in csv.DictReader(file)]
    seconds = sum(float(row["seconds"]) for row in epochs)
    config, arrays = store.load(run.best)
    test = open_dataset(options.data).splits["test"]
    on = machine("torch")
    note = NOTE.format(
        recipe=RECIPE, epochs=len(epochs), minutes=seconds / 60, machine=on,
        photos=f"{parts.count('train'):,}", selection=f"{parts.count('selection'):,}",
    )  # fmt: skip
    config = dataclasses.replace(
        config,
        origin=Origin(TRAINED_HERE, licence="Apache-2.0", note=note, history=(HISTORY,)),
    )
    store.save(target, config, arrays, "float16")

    rows, right = [], {}
    ways = (("float32", run.best), ("float16, `--flips`", target), ("float16", target))
    for name, model in ways:
        seen, answer = load_predictor(model)
        answer = with_flips(answer) if "flips" in name else answer
        logits, truth = predict_split(answer, test, seen.preprocessing)
        predictions = Predictions(logits, truth, test.classes)
        metrics, error = measure(predictions), measure_calibration(predictions).error
        right[name] = int((logits.argmax(1) == truth).sum())
        size = (model / store.WEIGHTS).stat().st_size
        rows.append(row(name, size, right[name], len(test), metrics.loss, error, right["float32"]))
    figures = {key: value for key, value in config.metrics.items() if not key.startswith("train.")}
    figures |= {
        "test.top1": metrics.top1, "test.top5": metrics.top5, "test.loss": metrics.loss,
        "test.calibration_error": error,
    }  # fmt: skip
    store.save(target, dataclasses.replace(config, metrics=figures), arrays, "float16")

    config, arrays = store.load(target)
    photos = calibration_set.choose(open_dataset(options.data), config.preprocessing, 200)
    outputs = match(photos.judged.classes, config.labels, options.data)
    judge = Judge(
        photos.judged, outputs, config.preprocessing, create_engine(load_artifact(target))
    )
    scheme = post_training.quantise(config, arrays, photos.pictures, post_training.Settings())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "embedded.onnx"
        job.write_int8("onnx", scheme, out)
        found = judge.compare(create_engine(load_artifact(out)), "int8")
        rows.append(row("int8 (ONNX)", out.stat().st_size, found.right, found.photos, None, None,
                        right["float32"]))  # fmt: skip
    speeds = [float(entry["images_per_second"]) for entry in epochs]
    text = "\n".join(
        [
            "# The embedded model", "", f"`python benchmarks/embedded.py`, {on}.", "",
            f"{len(epochs)} epochs, {seconds / 60:.1f} minutes of training, {min(speeds):.0f} to "
            f"{max(speeds):.0f} pictures a second (median {np.median(speeds):.0f}).", "",
            f"On the {len(test):,} test pictures:", "",
            "| numbers | bytes | top-1 (95% interval) | points lost | loss | calibration error |",
            "|---|---|---|---|---|---|", *rows, "",
            f"int8: {post_training.Settings().words(len(photos.pictures))}.", "",
            "| epoch | rate | train loss | train top-1 | selection loss | selection top-1 "
            "| seconds | pictures a second |", "|---|---|---|---|---|---|---|---|",
            *(
                f"| {e['epoch']} | {float(e['learning_rate']):.4f} | {float(e['train_loss']):.3f} "
                f"| {float(e['train_top1']):.1%} | {float(e['selection_loss']):.3f} "
                f"| {float(e['selection_top1']):.1%} | {float(e['seconds']):.0f} "
                f"| {float(e['images_per_second']):.0f} |"
                for e in epochs
            ), "",
        ]
    )  # fmt: skip
    print(text)
    if options.output:
        write_atomically(options.output, text)


def row(
    name: str,
    size: int,
    right: int,
    photos: int,
    loss: float | None,
    error: float | None,
    base: int,
) -> str:
    low, high = wilson(right, photos)
    return (
        f"| {name} | {size:,} | {right / photos:.2%} ({low:.2%} to {high:.2%}) "
        f"| {100 * (base - right) / photos:.2f} | {'-' if loss is None else f'{loss:.3f}'} "
        f"| {'-' if error is None else f'{error:.2%}'} |"
    )


if __name__ == "__main__":
    main()
