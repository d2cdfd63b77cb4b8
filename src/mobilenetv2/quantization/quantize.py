"""A model in eight-bit integers, measured on held-out photos beside the float model."""

import dataclasses
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import ArtifactError, DataError, require
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.exporting.job import (
    Outcome,
    make_files,
    require_kept,
    require_new,
    require_packages,
)
from mobilenetv2.formats import OF_INT8, Int8Format
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.quantization import post_training
from mobilenetv2.quantization.calibration import Method
from mobilenetv2.quantization.calibration_set import CalibrationSet, choose
from mobilenetv2.quantization.job import NNCF, Judge, Judgement, Quantiser, requests
from mobilenetv2.quantization.post_training import Settings
from mobilenetv2.quantization.scheme import Scheme
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import several

METHODS = ("min-max", "percentile", "mse", "entropy", NNCF)
ENOUGH = 200
"""Photos from which a loss of a point or two says something."""
ENOUGH_TO_CALIBRATE = 50


def quantize(
    model: AnyModel,
    out: str | PathLike[str],
    *,
    data: str | PathLike[str],
    split: str | None = None,
    calibration: str | PathLike[str] | None = None,
    calibration_photos: int = 200,
    format: Int8Format | Literal["all"] | Sequence[Int8Format] | None = None,
    method: Method | Literal["nncf"] = "mse",
    equalise: bool = True,
    bias_correction: bool = True,
    per_tensor: bool = False,
    weight_bits: Literal[7, 8] = 8,
    train: bool = False,
    epochs: int | None = None,
    sensitivity: bool = False,
    force: bool = False,
    overwrite: bool = False,
    on_outcome: Callable[[Outcome[Judgement]], object] | None = None,
) -> list[Outcome[Judgement]]:
    """Write a model as int8 files, each measured on photos that it was not calibrated on.

    A file that loses more than 2 points of top-1 accuracy is not kept, unless ``force`` is given.

    Args:
        model: a model folder, a published name, or a network of any edition.
        out: a file, whose ending tells the format, or a folder for several files.
        data: labelled photos: a folder or archive of class folders, with splits or without.
        split: the split that is measured on; None is test, else validation.
        calibration: a folder of photos to calibrate on; None takes the training split of ``data``,
            and of a folder without splits a part that is then not measured on.
        calibration_photos: how many photos calibrate.
        format: 'onnx', 'openvino', 'litert', several of them, or 'all'; None takes the one of the
            ending.
        method: how the ranges of activations are found; 'nncf' leaves all of it to Intel's NNCF,
            for OpenVINO only.
        equalise: equalise the ranges of weights across layers.
        bias_correction: correct the biases for the mean error of the integers.
        per_tensor: use one weight scale for a layer instead of one for each channel.
        weight_bits: 7 is for x86 processors without VNNI, whose products of 8 bits saturate.
        train: train the integers on the training split, where calibration is not enough.
        epochs: epochs of that training; None is 2.
        sensitivity: quantise each layer alone, and draw the loss of each beside the files.
        force: keep the files that lose more than 2 points, too.
        overwrite: replace existing files.
        on_outcome: called with each outcome as soon as it is there.

    Returns:
        One outcome for each file, with its ``path``, ``size`` in bytes and ``verdict``: top-1
        accuracy beside the float model's, the points lost and their 95% interval. Where only some
        files could be kept, the others have an ``error``.

    Raises:
        NotKept: not one file could be kept; its ``outcomes`` say why.
        ArtifactError: a format without int8, or options that do not go together.
        DataError: no photos are left to calibrate or to measure on.
        WeightsError: the model cannot be had or read.
        MissingExtra: a package is not installed.
        FileExistsError: a file is there already.

    Example:
        >>> net = mn.load("embedded", classes=mn.Labels(("hat", "shoes")))
        >>> (made,) = mn.quantize(net, folder / "int8.onnx", data=photos, force=True)
        >>> made.path.name, made.precision, made.verdict.photos
        ('int8.onnx', 'int8', 12)
    """
    nncf = method == NNCF
    _require_fitting(
        method, train=train, epochs=epochs, equalise=equalise, bias_correction=bias_correction,
        per_tensor=per_tensor, sensitivity=sensitivity, weight_bits=weight_bits,
    )  # fmt: skip
    with located(model) as given:
        config, arrays = store.load(given.place)
        require_answers(config.spec, given.name)
        names = [] if format is None else OF_INT8 if format == "all" else several(format)
        requested = requests(names, Path(out), nncf)
        require_packages((request.format for request in requested), [NNCF] if nncf else [])
        if train:
            prepare_process()
            require("torch")
        if sensitivity:
            require("matplotlib")
        if not overwrite:
            require_new(requested)
        photos = _photos(given.place, config, data, split, calibration, calibration_photos)
        if train and not (photos.training and len(photos.training)):
            raise DataError(f"{fspath(data)}: it has no training split, which train needs")
        outputs = match(photos.judged.classes, config.labels, fspath(data))
        judge = Judge(
            photos.judged, outputs, config.preprocessing,
            create_engine(load_artifact(given.place)), config.spec.classifier.outputs,
        )  # fmt: skip
        ranges: Method = "mse" if method == "nncf" else method
        settings = Settings(ranges, equalise, bias_correction, not per_tensor, weight_bits)
        say(f"calibrating on {photos.source}")
        scheme = post_training.quantise(config, arrays, photos.pictures, settings)
        if train:
            scheme = _trained(scheme, arrays, photos, outputs, epochs)
        facts = {
            "model": given.name, "calibrated_on": photos.source,
            "method": f"post-training by NNCF, {photos.source}" if nncf else scheme.method,
            "judged_on": f"{fspath(data)} ({photos.judged.name})",
        }  # fmt: skip
        maker = Quantiser(
            scheme, fold(config.spec, arrays), photos.pictures, judge, facts, nncf, force
        )
        outcomes = make_files(maker, requested, facts, on_outcome)
        if sensitivity:
            _draw_sensitivity(config, arrays, photos, settings, Path(out))
        return require_kept(outcomes)


def _require_fitting(
    method: str, *, train: bool, epochs: int | None, **options: bool | int
) -> None:
    """Raise ArtifactError where options do not go together."""
    if method not in METHODS:
        raise ArtifactError(f"method {method!r} is unknown; {suggestion(method, METHODS)}")
    if options["weight_bits"] not in (7, 8):
        raise ArtifactError(f"weight_bits {options['weight_bits']} must be 7 or 8")
    if epochs is not None and not train:
        raise ArtifactError("epochs are for train, which is not given")
    if epochs is not None and epochs < 1:
        raise ArtifactError(f"epochs {epochs} must be at least 1")
    usual = {
        "train": False, "equalise": True, "bias_correction": True, "per_tensor": False,
        "sensitivity": False, "weight_bits": 8,
    }  # fmt: skip
    for name, value in (options | {"train": train}).items():
        if method == NNCF and value != usual[name]:
            raise ArtifactError(f"method nncf does all of it in its own way; leave out {name}")


def _photos(
    model: Path, config: ModelConfig, data: str | PathLike[str], split: str | None,
    calibration: str | PathLike[str] | None, count: int,
) -> CalibrationSet:  # fmt: skip
    """Return the photos; those that cannot be read are named, and not measured on."""
    photos = choose(
        open_dataset(fspath(data)), config.preprocessing, count, split,
        Path(calibration) if calibration is not None else None, trained_on(model).parts,
    )  # fmt: skip
    judged, notes = readable_photos(photos.judged)
    for note in notes:
        say(note)
    if len(photos.pictures) < min(ENOUGH_TO_CALIBRATE, count):
        say(f"note: {len(photos.pictures)} photos are few to calibrate on; 100 or more are better")
    if len(judged) < ENOUGH:
        say(
            f"note: one of {len(judged)} photos is {100 / len(judged):.1f} points, so that a loss "
            "of a few points may be chance"
        )
    return dataclasses.replace(photos, judged=judged)


def _trained(
    scheme: Scheme, arrays: Arrays, photos: CalibrationSet, outputs: Sequence[int],
    epochs: int | None,
) -> Scheme:  # fmt: skip
    from mobilenetv2.quantization import training  # PyTorch comes in with it

    assert photos.training is not None
    recipe = training.Recipe() if epochs is None else training.Recipe(epochs=epochs)
    return training.train(scheme, arrays, photos.training, outputs, recipe)


def _draw_sensitivity(
    config: ModelConfig, arrays: Arrays, photos: CalibrationSet, settings: Settings, out: Path
) -> None:
    from mobilenetv2.quantization import sensitivity  # matplotlib comes in with it

    folder = out if out.is_dir() else out.parent
    impact = sensitivity.measure(config, arrays, photos.pictures, settings)
    folder.mkdir(parents=True, exist_ok=True)
    sensitivity.save(impact, folder)
    say(f"the layers that suffer: {folder / 'sensitivity.png'}")
