"""Quantization of a model to 8-bit integers, compared with the float model on held-out photos."""

import dataclasses
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.errors import ArtifactError, DataError, require
from mobilenetv2.evaluation.matching import index_note, match
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.exporting.job import (
    Outcome,
    make_files,
    require_kept,
    require_packages,
    reserved,
)
from mobilenetv2.formats import OF_INT8, Int8Format
from mobilenetv2.images.preprocess import least_size
from mobilenetv2.locks import hold
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
from mobilenetv2.runtime.fastest import remember_verified
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import TRAINED_HERE, ModelConfig, Origin
from mobilenetv2.text import several

METHODS = ("min-max", "percentile", "mse", "entropy", NNCF)
ENOUGH = 200
"""Minimum number of photos for a meaningful loss of one or two points."""
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
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> list[Outcome[Judgement]]:
    """Quantise a model to int8 files, and measure each on photos outside the calibration.

    A file that loses more than 2 points of top-1 accuracy is deleted, unless ``force`` is True.

    Args:
        model: model folder, published name, or network of any edition.
        out: path of a file, whose ending sets the format, or of a folder for several files.
        data: labelled photos: folder or archive of class folders, with or without splits.
        split: split of ``data`` to measure on; default: test, else validation.
        calibration: folder of photos for calibration. Default: training split of ``data``; in a
            folder without splits, a part of the photos, which is left out of the measurement.
        calibration_photos: number of photos for calibration.
        format: 'onnx', 'openvino', 'litert', several of them, or 'all'; default: that of the
            ending of ``out``.
        method: method to choose the ranges of activations. With 'nncf', Intel's NNCF does the whole
            quantization, for OpenVINO only.
        equalise: True for cross-layer equalisation.
        bias_correction: True to correct the biases for the mean rounding error.
        per_tensor: True for one weight scale per layer, False for one per channel.
        weight_bits: bits of the weights; 7 is for x86 processors without VNNI, where products of 8
            bits saturate in OpenVINO, and in ONNX Runtime without this package.
        train: True for quantization-aware training on the training split, if calibration alone
            loses too much accuracy.
        epochs: epochs of ``train``; default: 2.
        sensitivity: True to measure the loss from quantising each layer alone, and draw a figure
            beside the files.
        force: True to keep files that lose more than 2 points.
        overwrite: True to replace existing files.
        on_outcome: function that is called with each outcome at once.
        ignore: patterns of names of files and folders that are passed over, such as "raw*" or
            "hat/old"; a pattern with a '/' is matched with the path below the data.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8, such as 'gbk'.
            Default: UTF-8, else code page 437.

    Returns:
        One outcome for each file, with its ``path``, ``size`` in bytes and ``verdict``: top-1
        accuracy of both models, and the lost points with their 95% interval. If only some files
        were kept, the others have an ``error``.

    Raises:
        NotKept: no file was kept; its ``outcomes`` have the reasons.
        ArtifactError: a format has no int8, or options exclude each other.
        DataError: no photos are left for calibration or measurement.
        WeightsError: the model cannot be downloaded or read.
        MissingExtra: a package is not installed.

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
        require_answers(config, given.name)
        names = [] if format is None else OF_INT8 if format == "all" else several(format)
        requested = requests(names, Path(out), nncf)
        require_packages((request.format for request in requested), [NNCF] if nncf else [])
        if train:
            prepare_process()
            require("torch")
        if sensitivity:
            require("matplotlib")
        with reserved(requested, overwrite):
            dataset = open_dataset(fspath(data), ignore, zip_encoding)
            for note in dataset.notes:
                say(note)
            photos = _photos(
                given.place, config, dataset, split, calibration, calibration_photos, ignore
            )
            if train and not (photos.training and len(photos.training)):
                raise DataError(
                    f"{fspath(data)}: train needs a training split, and the data has none"
                )
            outputs = match(photos.judged.classes, config.labels, fspath(data))
            if by_index := index_note(photos.judged.classes, config.labels):
                say(f"note: {by_index}")
            judge = Judge(
                photos.judged, outputs, config.preprocessing,
                create_engine(load_artifact(given.place)), config.spec.classifier.outputs,
            )  # fmt: skip
            ranges: Method = "mse" if method == "nncf" else method
            settings = Settings(ranges, equalise, bias_correction, not per_tensor, weight_bits)
            say(f"calibrating on {photos.source}")
            # The figures are those of the float model; the judgement beside the file has its own.
            config = dataclasses.replace(
                config, metrics={}, origin=_quantised(config.origin, train)
            )
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
            for made in outcomes:
                if made.verdict is not None and made.verdict.passed:
                    remember_verified(given.place, made.path)
            if sensitivity:
                _draw_sensitivity(config, arrays, photos, settings, Path(out))
            return require_kept(outcomes)


def _quantised(origin: Origin | None, trained: bool) -> Origin:
    origin = origin or Origin(TRAINED_HERE)
    how = " with training" if trained else ""
    history = (f"Quantized to int8{how}.", *origin.history)
    return dataclasses.replace(origin, history=history)


def _require_fitting(
    method: str, *, train: bool, epochs: int | None, **options: bool | int
) -> None:
    """Raise ArtifactError if options exclude each other."""
    if method not in METHODS:
        raise ArtifactError(f"method {method!r} is unknown; {suggestion(method, METHODS)}")
    if options["weight_bits"] not in (7, 8):
        raise ArtifactError(f"weight_bits {options['weight_bits']} must be 7 or 8")
    if epochs is not None and not train:
        raise ArtifactError("epochs needs train; give train, too")
    if epochs is not None and epochs < 1:
        raise ArtifactError(f"epochs {epochs} must be at least 1")
    usual = {
        "train": False, "equalise": True, "bias_correction": True, "per_tensor": False,
        "sensitivity": False, "weight_bits": 8,
    }  # fmt: skip
    for name, value in (options | {"train": train}).items():
        if method == NNCF and value != usual[name]:
            raise ArtifactError(f"method nncf does not support {name}; omit it")


def _photos(
    model: Path, config: ModelConfig, dataset: Dataset, split: str | None,
    calibration: str | PathLike[str] | None, count: int, ignore: str | Sequence[str],
) -> CalibrationSet:  # fmt: skip
    """Return the photos without unreadable ones, which a message names."""
    photos = choose(
        dataset, config.preprocessing, count, split,
        Path(calibration) if calibration is not None else None, trained_on(model).parts, ignore,
    )  # fmt: skip
    judged, notes = readable_photos(photos.judged, least=least_size(config.preprocessing))
    for note in notes:
        say(note)
    if len(photos.pictures) < min(ENOUGH_TO_CALIBRATE, count):
        say(f"note: {len(photos.pictures)} photos are few for calibration; use 100 or more")
    if len(judged) < ENOUGH:
        say(
            f"note: with {len(judged)} photos, one photo is {100 / len(judged):.1f} points, so "
            "that a loss of a few points may be chance"
        )
    return dataclasses.replace(photos, judged=judged)


def _trained(
    scheme: Scheme, arrays: Arrays, photos: CalibrationSet, outputs: Sequence[int],
    epochs: int | None,
) -> Scheme:  # fmt: skip
    from mobilenetv2.quantization import training  # it imports PyTorch

    assert photos.training is not None
    recipe = training.Recipe() if epochs is None else training.Recipe(epochs=epochs)
    return training.train(scheme, arrays, photos.training, outputs, recipe)


def _draw_sensitivity(
    config: ModelConfig, arrays: Arrays, photos: CalibrationSet, settings: Settings, out: Path
) -> None:
    from mobilenetv2.quantization import sensitivity  # it imports matplotlib

    folder = out if out.is_dir() else out.parent
    impact = sensitivity.measure(config, arrays, photos.pictures, settings)
    with hold(folder / "sensitivity.json", wait=True):  # makes the folder
        sensitivity.save(impact, folder)
    say(f"sensitivity of the layers: {folder / 'sensitivity.png'}")
