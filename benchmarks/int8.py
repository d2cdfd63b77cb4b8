"""int8 against float on photos that neither calibrated nor trained: every format and method.

    python benchmarks/int8.py --model runs/clothing/best --data clothing \\
        --output benchmarks/int8-clothing.md
    python benchmarks/int8.py --model imagenet --data imagenet-samples \\
        --calibration clothing/train --output benchmarks/int8-imagenet.md

'naive' is one scale a weight and tensor, from the smallest to the largest value. Needs the extra
export.
"""

import argparse
import dataclasses
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from machine import machine
from public_data import resolve

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.exporting.job import reload
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import FORMATS
from mobilenetv2.model import store
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization import calibration_set, job, post_training
from mobilenetv2.quantization.job import Judge, Judgement
from mobilenetv2.quantization.post_training import NAIVE, Settings
from mobilenetv2.runtime.predictor import create_engine, load_artifact

DEFAULT = Settings()
NNCF = "openvino by NNCF"
METHODS = {
    "the default": DEFAULT,
    "min-max": dataclasses.replace(DEFAULT, method="min-max"),
    "percentile": dataclasses.replace(DEFAULT, method="percentile"),
    "mse": dataclasses.replace(DEFAULT, method="mse"),
    "entropy": dataclasses.replace(DEFAULT, method="entropy"),
    "default, equalisation the other way": dataclasses.replace(
        DEFAULT, equalise=not DEFAULT.equalise
    ),
    "default without bias correction": dataclasses.replace(DEFAULT, correct_biases=False),
    "naive": NAIVE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=resolve, required=True)
    parser.add_argument("--calibration", type=lambda text: Path(resolve(text)))
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    config, arrays = store.load(options.model)
    photos = calibration_set.choose(
        open_dataset(options.data), config.preprocessing, options.photos, folder=options.calibration
    )
    outputs = match(photos.judged.classes, config.labels, options.data)
    judge = Judge(
        photos.judged, outputs, config.preprocessing, create_engine(load_artifact(options.model))
    )
    lines = [
        f"# int8 against float: {len(photos.judged)} photos of {options.data}", "",
        f"`python benchmarks/int8.py {shlex.join(sys.argv[1:])}`, "
        f"{machine('onnxruntime', 'ai-edge-litert', 'openvino', 'nncf')}. "
        f"Calibrated on {photos.source}, none of which is judged on.", "",
    ]  # fmt: skip
    rows: list[str] = []
    float_right = 0
    with tempfile.TemporaryDirectory() as folder:
        for method, settings in METHODS.items():
            scheme = post_training.quantise(config, arrays, photos.pictures, settings)
            maker = job.Quantiser(scheme, fold(config.spec, arrays), photos.pictures, judge, {})
            for format_, found in measured(maker, Path(folder), method == "the default"):
                float_right = found.float_right
                rows.append(row(format_, method if format_ != NNCF else "its own", found))
                print(rows[-1], file=sys.stderr, flush=True)
    count = len(photos.judged)
    lines += [
        f"float32: {share(float_right, count)}", "",
        f"The default is: {DEFAULT.words(len(photos.pictures))}.", "",
        "| format | method | top-1 (95% interval) | points lost (95% interval) "
        "| same answer (95% interval) |",
        "|---|---|---|---|---|", *rows, "",
    ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    if options.output:
        write_atomically(options.output, text)


def measured(
    maker: job.Quantiser, folder: Path, everything: bool
) -> Iterator[tuple[str, Judgement]]:
    names = ("onnx", "litert", "openvino", NNCF) if everything else ("onnx",)
    for label in names:
        name = "openvino" if label == NNCF else label
        (request,) = job.requests([name], folder / f"m{FORMATS[name].suffix}")
        dataclasses.replace(maker, nncf=label == NNCF).write(request, request.out)
        yield label, maker.judge.compare(reload(FORMATS[name], request.out), label)


def row(format_: str, method: str, found: Judgement) -> str:
    return (
        f"| {format_} | {method} | {share(found.right, found.photos)} | {found.drop:+.1f} "
        f"({found.drop_interval[0]:+.1f} to {found.drop_interval[1]:+.1f}) "
        f"| {share(found.same, found.photos)} |"
    )


def share(part: int, whole: int) -> str:
    low, high = wilson(part, whole)
    return f"{part / whole:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
