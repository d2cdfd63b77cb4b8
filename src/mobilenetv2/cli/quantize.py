"""``mobilenetv2 quantize``: a model in eight-bit integers, judged on held-out photos."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.export import reported, status
from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import DATA_HELP, Parser, names, require_positive
from mobilenetv2.errors import MobileNetV2Error, require
from mobilenetv2.formats import OF_INT8
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.text import interval

if TYPE_CHECKING:
    from mobilenetv2.exporting.job import Outcome
    from mobilenetv2.quantization.calibration_set import CalibrationSet
    from mobilenetv2.quantization.job import Judge, Judgement
    from mobilenetv2.spec.records import ModelConfig

NNCF = "nncf"
FEW = 200
"""Photos, below which a point or two says little."""

EXAMPLES = """\
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx,litert
  mobilenetv2 quantize imagenet int8.onnx --data imagenet-val/ --calibration holiday/
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --train --sensitivity
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", "out")
    parser.add_argument(
        "--data", required=True, metavar="DATA",
        help=f"labelled photos to measure on (test, else validation): {DATA_HELP}",
    )  # fmt: skip
    parser.add_shared("--split")
    parser.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos to calibrate on (default: DATA's training split; of a folder without splits, "
        "a part that is then not measured on)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration-photos", type=int, default=200, metavar="N", help="how many (default: 200)"
    )
    parser.add_argument(
        "--format", type=names(OF_INT8), default=[], metavar="A,B",
        help=f"of {', '.join(OF_INT8)}, or all",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("min-max", "percentile", "mse", "entropy", "nncf"),
        help="how ranges are found (default: mse; nncf: all of it by Intel's NNCF, OpenVINO only)",
    )  # fmt: skip
    parser.add_flag("--no-equalise", "leave out cross-layer equalisation")
    parser.add_flag("--no-bias-correction", "leave out bias correction")
    parser.add_flag("--per-tensor", "one weight scale a layer")
    parser.add_argument(
        "--weight-bits", type=int, choices=(7, 8), default=8,
        help="7 for x86 processors without VNNI, whose products of 8 bits saturate (default: 8)",
    )  # fmt: skip
    parser.add_flag("--train",
        "train the integers on DATA's training split, where calibration is not enough",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N", help="with --train (default: 2)")
    parser.add_flag("--sensitivity",
        "which layers suffer: quantise each alone, and draw it (a minute or two)",
    )  # fmt: skip
    parser.add_flag("--force", "keep what loses more than 2.0 points, too")
    parser.add_shared("--overwrite", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print the table; 1 where one could not be kept, else 0."""
    from mobilenetv2.evaluation.matching import match
    from mobilenetv2.exporting.job import make_files, require_new, require_packages
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model import store
    from mobilenetv2.model.folding import fold
    from mobilenetv2.model.outputs import require_answers
    from mobilenetv2.quantization import post_training
    from mobilenetv2.quantization.job import Judge, Quantiser, requests
    from mobilenetv2.runtime.predictor import create_engine, load_artifact

    require_fitting(arguments)
    model = locate(arguments.model)
    config, arrays = store.load(model)
    require_answers(config.spec, arguments.model)
    nncf = arguments.method == NNCF
    requested = requests(arguments.format, Path(arguments.out), nncf)
    require_packages((request.format for request in requested), [NNCF] if nncf else [])
    if arguments.train:
        prepare_process()
        require("torch")
    if arguments.sensitivity:
        require("matplotlib")
    if not arguments.overwrite:
        require_new(requested)
    photos = chosen(arguments, config)
    if arguments.train and not (photos.training and len(photos.training)):
        raise MobileNetV2Error("--train needs a training split in DATA, and it has none")
    outputs = match(photos.judged.classes, config.labels, arguments.data)
    judge = Judge(
        photos.judged, outputs, config.preprocessing, create_engine(load_artifact(model)),
        config.spec.classifier.outputs,
    )  # fmt: skip
    settings = post_training.Settings(
        "mse" if nncf else arguments.method or "mse", not arguments.no_equalise,
        not arguments.no_bias_correction, not arguments.per_tensor, arguments.weight_bits,
    )  # fmt: skip
    shown = photos.pictures
    say(f"calibrating on {photos.source}")
    scheme = post_training.quantise(config, arrays, shown, settings)
    if arguments.train and photos.training:
        from mobilenetv2.quantization import training

        epochs = arguments.epochs
        recipe = training.Recipe() if epochs is None else training.Recipe(epochs=epochs)
        scheme = training.train(scheme, arrays, photos.training, outputs, recipe)
    facts = {
        "model": arguments.model, "calibrated_on": photos.source,
        "method": f"post-training by NNCF, {photos.source}" if nncf else scheme.method,
        "judged_on": f"{arguments.data} ({photos.judged.name})",
    }  # fmt: skip
    folded = fold(config.spec, arrays)
    maker = Quantiser(scheme, folded, shown, judge, facts, nncf, arguments.force)
    outcomes = reported(make_files(maker, requested), arguments.json, facts)
    if not arguments.json:
        show(outcomes, judge, facts)
    if arguments.sensitivity:
        from mobilenetv2.quantization import sensitivity

        out = Path(arguments.out)
        folder = out if out.is_dir() else out.parent
        impact = sensitivity.measure(config, arrays, shown, settings)
        folder.mkdir(parents=True, exist_ok=True)
        sensitivity.save(impact, folder)
        say(f"which layers suffer: {folder / 'sensitivity.png'}")
    return status(outcomes)


def require_fitting(arguments: argparse.Namespace) -> None:
    """Raise MobileNetV2Error where options do not go together."""
    if arguments.epochs is not None and not arguments.train:
        raise MobileNetV2Error("--epochs is of --train, which is not given")
    require_positive("--epochs", arguments.epochs)
    if arguments.method == NNCF:
        for option in ("no_equalise", "no_bias_correction", "per_tensor", "train", "sensitivity"):
            if getattr(arguments, option):
                raise MobileNetV2Error(
                    f"--method nncf does it all in its own way; leave out --{option}".replace(
                        "_", "-"
                    )
                )
        if arguments.weight_bits != 8:
            raise MobileNetV2Error("--method nncf has 8-bit weights; leave out --weight-bits")


def chosen(arguments: argparse.Namespace, config: ModelConfig) -> CalibrationSet:
    """Return the photos; what cannot be read is named and left out of those that are judged."""
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.data.scan import readable_photos
    from mobilenetv2.evaluation.run_record import trained_on
    from mobilenetv2.hub.models import locate
    from mobilenetv2.quantization import calibration_set

    photos = calibration_set.choose(
        open_dataset(arguments.data), config.preprocessing, arguments.calibration_photos,
        arguments.split, Path(arguments.calibration) if arguments.calibration else None,
        trained_on(locate(arguments.model)).parts,
    )  # fmt: skip
    judged, notes = readable_photos(photos.judged)
    for note in notes:
        say(note)
    if len(photos.pictures) < min(50, arguments.calibration_photos):
        say(f"note: {len(photos.pictures)} photos are few to calibrate on; 100 or more are better")
    if len(judged) < FEW:
        say(
            f"note: one of {len(judged)} photos is {100 / len(judged):.1f} points, so that a loss "
            "of a few points may be chance"
        )
    return dataclasses.replace(photos, judged=judged)


def show(outcomes: list[Outcome[Judgement]], judge: Judge, facts: dict[str, Any]) -> None:
    """Print a row for float, then one for each file."""
    from mobilenetv2.evaluation.metrics import wilson

    rows: list[list[Any]] = []
    for outcome in outcomes:
        verdict, request = outcome.verdict, outcome.request
        if verdict is None:
            rows.append([request.format.name, *["-"] * 7, "failed"])
            continue
        if not rows or rows[0][0] != "float32":
            bounds = interval(wilson(verdict.float_right, verdict.photos))
            share = f"{verdict.float_right / verdict.photos:.1%}"
            rows.insert(0, ["float32", share, bounds, *[""] * 6])
        rows.append([
            request.label, f"{verdict.top1:.1%}",
            interval(wilson(verdict.right, verdict.photos)), f"{verdict.drop:+.1f}",
            "{:+.1f} to {:+.1f}".format(*verdict.drop_interval),
            f"{verdict.agreement:.1%}", interval(wilson(verdict.same, verdict.photos)),
            f"{outcome.size / 1e6:.1f} MB" if outcome.size else "-",
            str(request.out) if not outcome.error else "not kept",
        ])  # fmt: skip
    table(
        f"{facts['model']} on {len(judge.split)} photos of {facts['judged_on']}, calibrated on "
        f"{facts['calibrated_on']}",
        ("", "top-1", "95% interval", "points lost", "95% interval", "same answer", "95% interval",
         "size", "file"),
        rows, texts=(0, 8),
    )  # fmt: skip
