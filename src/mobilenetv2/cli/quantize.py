"""``mobilenetv2 quantize``: a model in eight-bit integers, judged on held-out photos."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.cli.evaluate import interval
from mobilenetv2.cli.export import reported, status
from mobilenetv2.cli.main import table
from mobilenetv2.cli.trained_on import trained_on
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import MobileNetV2Error, require
from mobilenetv2.evaluate.matching import match
from mobilenetv2.evaluate.metrics import wilson
from mobilenetv2.export.job import Outcome, make_files, require_new, require_packages
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say, track
from mobilenetv2.quantize import calibration_set, job, post_training
from mobilenetv2.quantize.calibration_set import CalibrationSet
from mobilenetv2.quantize.job import Judge, Judgement
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.runtime.artifact import create_engine, load_artifact
from mobilenetv2.spec.records import ModelConfig

FEW = 200
"""Photos, below which a point or two says little."""


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print the table; 1 where one could not be kept, else 0."""
    check(arguments)
    model = locate(arguments.model)
    config, arrays = store.load(model)
    nncf = arguments.method == job.NNCF
    wanted = job.requests(arguments.format, Path(arguments.out), nncf)
    require_packages((request.format for request in wanted), [job.NNCF] if nncf else [])
    if arguments.train:
        prepare_process()
        require("torch")
    if arguments.sensitivity:
        require("matplotlib")
    if not arguments.overwrite:
        require_new(wanted)
    photos = chosen(arguments, config)
    if arguments.train and not (photos.training and len(photos.training)):
        raise MobileNetV2Error("--train needs a training split in DATA, and it has none")
    outputs = match(photos.judged.classes, config.labels, arguments.data)
    judge = Judge(photos.judged, outputs, config.preprocessing, create_engine(load_artifact(model)))
    settings = settings_of(arguments)
    say(f"calibrating on {photos.source}")
    scheme = post_training.quantise(
        config,
        arrays,
        photos.pictures,
        settings,
        counted(post_training.PASSES * len(photos.pictures)),
    )
    if arguments.train:
        scheme = trained(scheme, arrays, photos, outputs, arguments.epochs)
    facts = {
        "model": arguments.model, "calibrated_on": photos.source,
        "method": f"post-training by NNCF, {photos.source}" if nncf else scheme.method,
        "judged_on": f"{arguments.data} ({photos.judged.name})",
    }  # fmt: skip
    maker = job.Quantiser(
        scheme, fold(config.spec, arrays), photos.pictures, judge, facts, nncf, arguments.force
    )
    outcomes = reported(make_files(maker, wanted), arguments.json, facts)
    if not arguments.json:
        show(outcomes, judge, facts)
    if arguments.sensitivity:
        draw_sensitivity(config, arrays, photos, settings, folder_of(arguments))
    return status(outcomes)


def check(arguments: argparse.Namespace) -> None:
    """Options that do not go together.

    Raises:
        MobileNetV2Error: the first that is there in vain.
    """
    if arguments.epochs is not None and not arguments.train:
        raise MobileNetV2Error("--epochs is of --train, which is not given")
    if arguments.epochs is not None and arguments.epochs < 1:
        raise MobileNetV2Error(f"--epochs {arguments.epochs} must be at least 1")
    if arguments.method == job.NNCF:
        for option in ("no_equalise", "no_bias_correction", "per_tensor", "train", "sensitivity"):
            if getattr(arguments, option):
                raise MobileNetV2Error(
                    f"--method nncf does it all in its own way; leave out --{option}".replace(
                        "_", "-"
                    )
                )
        if arguments.weight_bits != 8:
            raise MobileNetV2Error("--method nncf has 8-bit weights; leave out --weight-bits")


def counted(total: int) -> Callable[[int], None]:
    """Progress of work that tells how much more of it is done."""
    bar = track(range(total), "calibrating", total)

    def step(more: int) -> None:
        for _ in range(more):
            next(bar, None)

    return step


def folder_of(arguments: argparse.Namespace) -> Path:
    """Where pictures go: OUT, or the folder that it is in."""
    out = Path(arguments.out)
    return out if out.is_dir() else out.parent


def chosen(arguments: argparse.Namespace, config: ModelConfig) -> CalibrationSet:
    """The photos; what cannot be read is named and left out of those that are judged."""
    parts = trained_on(arguments.model).parts
    folder = Path(arguments.calibration) if arguments.calibration else None
    photos = calibration_set.choose(
        open_dataset(arguments.data), config.preprocessing, arguments.calibration_photos,
        arguments.split, folder, dict(parts) or None,
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


def settings_of(arguments: argparse.Namespace) -> post_training.Settings:
    """The defaults, with what was asked for."""
    changes: dict[str, Any] = {"weight_bits": arguments.weight_bits}
    if arguments.method and arguments.method != job.NNCF:
        changes["method"] = arguments.method
    if arguments.no_equalise:
        changes["equalise"] = False
    if arguments.no_bias_correction:
        changes["correct_biases"] = False
    if arguments.per_tensor:
        changes["per_channel"] = False
    return dataclasses.replace(post_training.Settings(), **changes)


def trained(
    scheme: Scheme,
    arrays: Arrays,
    photos: CalibrationSet,
    outputs: Sequence[int],
    epochs: int | None,
) -> Scheme:
    """Quantisation-aware training, where there are photos to train on."""
    from mobilenetv2.quantize import training

    assert photos.training is not None  # checked before anything was computed
    recipe = training.Recipe() if epochs is None else training.Recipe(epochs=epochs)
    return training.train(scheme, arrays, photos.training, outputs, recipe)


def draw_sensitivity(
    config: ModelConfig, arrays: Arrays, photos: CalibrationSet, settings: post_training.Settings,
    folder: Path,
) -> None:  # fmt: skip
    """``sensitivity.png`` and ``sensitivity.json``: each layer quantised alone."""
    from mobilenetv2.quantize import sensitivity

    found = sensitivity.measure(config, arrays, photos.pictures, settings)
    folder.mkdir(parents=True, exist_ok=True)
    sensitivity.save(found, folder)
    say(f"which layers suffer: {folder / 'sensitivity.png'}")


def show(outcomes: list[Outcome[Judgement]], judge: Judge, facts: dict[str, Any]) -> None:
    """Float first, then each file."""
    rows: list[list[Any]] = []
    for outcome in outcomes:
        found, request = outcome.verdict, outcome.request
        if found is None:
            rows.append([request.format.name, *["-"] * 7, "failed"])
            continue
        if not rows or rows[0][0] != "float32":
            bounds = interval(wilson(found.float_right, found.photos))
            share = f"{found.float_right / found.photos:.1%}"
            rows.insert(0, ["float32", share, bounds, *[""] * 6])
        rows.append([
            request.label, f"{found.top1:.1%}",
            interval(wilson(found.right, found.photos)), f"{found.drop:+.1f}",
            "{:+.1f} to {:+.1f}".format(*found.drop_interval),
            f"{found.agreement:.1%}", interval(wilson(found.same, found.photos)),
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
