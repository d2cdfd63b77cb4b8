"""Import and export of other projects' checkpoints."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import ImportOptions
from mobilenetv2.checkpoints.exporter import dialects_of, fitting_dialects, write_checkpoint
from mobilenetv2.checkpoints.importer import import_network
from mobilenetv2.checkpoints.labels import labels_of, read_label_file
from mobilenetv2.checkpoints.preprocessing_choice import words
from mobilenetv2.checkpoints.preprocessing_option import read_preprocessing
from mobilenetv2.checkpoints.strides import read_strides
from mobilenetv2.data.opening import find_photos
from mobilenetv2.data.sources import photographs
from mobilenetv2.errors import DialectError, RunError, WeightsError, argument
from mobilenetv2.evaluation.parity import NumericsEffect, numerics_effect
from mobilenetv2.evaluation.predictions import load_pictures
from mobilenetv2.files import require_only
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.hub.catalogue import HUB, catalogue
from mobilenetv2.hub.models import find_spec, locate
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.locks import hold
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing, Resize
from mobilenetv2.text import several

ARCHIVES = (".tgz", ".tar.gz", ".tar")
"""File name endings of TensorFlow checkpoint archives."""


class Imported(NamedTuple):
    """Config and weights of an imported checkpoint, which unpack: ``config, arrays = ...``."""

    config: ModelConfig
    arrays: Arrays
    """Weights as canonical float32 arrays, by name."""

    def __repr__(self) -> str:
        spec, origin = self.config.spec, self.config.origin
        source = f" from {origin.source} ({origin.dialect})" if origin else ""
        return (
            f"<MobileNetV2 {spec.width:g} at {spec.size[0]} x {spec.size[1]}, {spec.classes} "
            f"classes{source}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        spec, record = self.config.spec, self.config.preprocessing
        return {
            "dialect": self.config.origin.dialect if self.config.origin else None,
            "width": spec.width,
            "size": list(spec.size),
            "classes": spec.classes,
            "background": self.config.labels.background,
            "padding": spec.numerics.padding,
            "epsilon": spec.numerics.epsilon,
            "parameters": parameters(spec),
            "multiply_adds": multiply_adds(spec),
            "mean": list(record.mean),
            "std": list(record.std),
            "resize": list(record.resize),
            "fit": record.fit,
            "preprocessing": self.preprocessing,
        }

    @property
    def preprocessing(self) -> str:
        """Preprocessing in words, and why the import chose it."""
        origin = self.config.origin
        assumed = origin.preprocessing if origin else ""
        return assumed or f"{words(self.config.preprocessing)}: its config says so."


def import_checkpoint(
    file: str | PathLike[str],
    *,
    dialect: str = "auto",
    labels: str | PathLike[str] | Sequence[str] | Labels | None = None,
    width: float | None = None,
    size: int | Size | None = None,
    spec: NetworkSpec | str | PathLike[str] | None = None,
    strides: str | Sequence[int] | None = None,
    preprocessing: Preprocessing | str | PathLike[str] | None = None,
    resize: Resize | None = None,
    bgr: bool = False,
    body: bool = False,
    photos: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    rebase: bool = True,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Imported:
    """Import a checkpoint of another project: torchvision, timm, Keras, TensorFlow and others.

    Nothing in the file is executed.

    Args:
        file: .pth, .safetensors, .h5, .keras, .onnx or .tflite file; prefix, folder or .tgz of a
            TensorFlow checkpoint; folder of the Hugging Face hub; or published name, whose
            checkpoint is downloaded.
        dialect: naming scheme of the tensors, such as 'timm'. Default: 'auto', which detects it.
        labels: names of the outputs, if the file has none: a text file with one name a line, a
            list, or a record.
        width: width multiplier that the network must have. Default: as in the file.
        size: height and width of the input in pixels, if the file does not have them.
        spec: spec of a network that is not a published one: a record, a JSON file or a model
            folder.
        strides: strides of a state dict's network, which it does not say: 'paper', 'cifar' (1 in
            the stem and the 24-channel stage), 'small', or numbers for the stem and each stage.
            Default: the paper's, or 'cifar' for pictures below 64 pixels; the origin's note says
            which were assumed.
        preprocessing: what the network is fed, if the file does not say it, or wrongly: a range of
            pixels ('0..1', '-1..1', '0..255', or 'imagenet' for ImageNet's mean and deviation); a
            publisher ('keras', 'torchvision', 'timm' ...) or name of the catalogue; a JSON file
            (fields of a record; ``config.json`` of a model folder or of timm; Hugging Face's
            ``preprocessor_config.json``) or its folder; or a record. Default: the first that the
            file's config, its publisher, its graph or its calibrated input says, else the usual
            one; ``config.origin.preprocessing`` says which.
        resize: resize of photos to the network's size: 'stretch', 'cover' (the central part), or
            'none' (the centre of a photo that is at least as large). Default: as ``preprocessing``
            says.
        bgr: True if the network takes blue first, as OpenCV reads photos; its first layer is
            turned, so that it takes red first as all networks here.
        body: True for the body alone, with a new, untrained classifier: for a head that cannot be
            described here. Such a network gives features, and answers once it is trained.
        photos: photos or folders of photos, similar to those of your task. If the file's BatchNorm
            is folded (.tflite, most .onnx), its statistics are measured on them. Default: six
            photos of this package.
        rebase: False to leave a folded BatchNorm as it is; training then destroys the weights.
        output: path of a model folder to write. Default: none.
        overwrite: True to replace an existing model folder.

    Returns:
        The config and the arrays, which unpack: ``config, arrays = import_checkpoint(...)``.

    Raises:
        WeightsError: the file is missing, damaged or malicious.
        DialectError: the network is not a MobileNetV2, or does not match the arguments; or the
            preprocessing of a quantised file has to be given.
        RunError: the model folder exists.
        InUse: another process writes the model folder.
        ImageError: a photo cannot be read.
        MissingExtra: the library that reads the format is not installed.

    Example:
        >>> _ = mn.export_checkpoint("embedded", folder / "small.onnx", dialect="onnx")
        >>> config, arrays = mn.import_checkpoint(folder / "small.onnx")
        >>> config.spec.classes, config.labels.names[:2]
        (10, ('airplane', 'automobile'))
    """
    name, source = fspath(file), Path(file)
    out = None if output is None else Path(output)
    allowed = None if out is None else partial(require_replaceable, out, overwrite)
    with nullcontext() if out is None else hold(out, allowed=allowed):
        if source.exists() or source.with_name(f"{source.name}.index").is_file():
            options = ImportOptions(
                dialect=dialect,
                labels=labels_given(labels),
                width=width,
                size=(size, size) if isinstance(size, int) else size,
                spec=spec if isinstance(spec, NetworkSpec | None) else find_spec(fspath(spec)),
                preprocessing=preprocessing_of(preprocessing),
                resize=resize,
                bgr=bgr,
                body=body,
                strides=None if strides is None else read_strides(strides),
            )
            imported = Imported(
                *import_network(source, options, find_photos(several(photos)), rebase)
            )
        else:
            _require_name(name)
            given = {
                "labels": labels, "width": width, "size": size, "spec": spec, "strides": strides,
                "preprocessing": preprocessing, "resize": resize, "bgr": bgr or None,
                "body": body or None, "photos": photos or None,
                "rebase": None if rebase else rebase,
            }  # fmt: skip
            for option, value in given.items():
                if value is not None:
                    raise DialectError(f"{name}: {option} is for files; 'weights fetch' gives one")
            imported = Imported(*store.load(locate(name)))
        if out is not None:
            store.save(out, *imported)
        return imported


def _require_name(name: str) -> None:
    """Raise WeightsError if a text is the path of a missing file instead of a name."""
    path = Path(name)
    ends = dialects_of(path) or path.name.lower().endswith(ARCHIVES)
    known = name.startswith(HUB) or name in catalogue() or name in aliases()
    if not known and (ends or len(path.parts) > 1):
        raise WeightsError(f"{path}: no such file")


def labels_given(given: str | PathLike[str] | Sequence[str] | Labels | None) -> Labels | None:
    """Return labels from a list of names or from a file.

    Raises:
        DialectError: the file has no list of class names, or a name occurs twice.
        SpecError: the list has something that is no name.
    """
    if given is None or isinstance(given, Labels):
        return given
    if not isinstance(given, str | PathLike):
        return labels_of(Labels.of(given).names)
    return read_label_file(Path(given))


def preprocessing_of(
    given: Preprocessing | str | PathLike[str] | None,
) -> Preprocessing | str | None:
    """Return a given preprocessing as an import takes it: a record, or a name or path as text.

    Raises:
        DialectError: an unknown name, or a file that has no preprocessing.
    """
    if given is None or isinstance(given, Preprocessing):
        return given
    name = fspath(given)
    known = catalogue().get(name)
    record = known.published_preprocessing() if known else None
    if record is None:
        read_preprocessing(name, (224, 224))  # a mistake is told before a large file is read
    return record or name


def require_replaceable(out: Path, overwrite: bool) -> None:
    """Raise if a model folder cannot be written to a path.

    Raises:
        RunError: the path exists, and ``overwrite`` is False or it is no model folder.
        FileExistsError: the folder holds other files, which would be lost.
    """
    if out.exists() and not overwrite:
        raise RunError(
            f"{out}: exists already; choose another path, or give "
            f"{argument('overwrite', True)} to replace it"
        )
    if out.exists() and not (out / store.CONFIG).is_file():
        raise RunError(f"{out}: not a model folder, so not overwritten")
    require_only(out, store.FILES)


@dataclass(frozen=True, slots=True)
class Exported:
    """Files of an exported checkpoint, with notes."""

    paths: tuple[Path, ...]
    """Checkpoint file, and its sidecar file with labels and preprocessing if it needs one."""
    dialect: str
    """Naming scheme of the tensors, such as 'timm'."""
    notes: tuple[str, ...]
    """Remarks for the user, one sentence each."""
    config: ModelConfig
    """Config of the network as the other project computes it."""
    effect: NumericsEffect | None = None
    """Change of the predictions by the other project's numerics; None if they are the same."""

    def __repr__(self) -> str:
        return f"<{self.dialect} checkpoint {str(self.paths[0])!r}>"

    def __str__(self) -> str:
        """Return the paths, the notes, and the effect of ignored numerics in words, one a line."""
        effect = [f"numerics ignored: {self.effect}"] if self.effect else []
        return "\n".join([*map(str, self.paths), *(f"note: {n}" for n in self.notes), *effect])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {
            "paths": [str(path) for path in self.paths], "dialect": self.dialect,
            "notes": list(self.notes),
        }  # fmt: skip
        if self.effect is not None:
            values |= {
                "photos": self.effect.pictures, "agreements": self.effect.agreements,
                "logits_difference": self.effect.difference,
            }  # fmt: skip
        return values


def export_checkpoint(
    model: AnyModel,
    out: str | PathLike[str],
    *,
    dialect: str | None = None,
    ignore_numerics: bool = False,
    photos: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    overwrite: bool = False,
) -> Exported:
    """Write a model's weights for another library, with its names and layouts.

    :func:`mobilenetv2.exporting.export.export` writes files to run: ONNX, LiteRT and so on.

    Args:
        model: model folder, published name, or network of any edition.
        out: path of the file, whose ending sets the format (.pth, .safetensors, .h5, .weights.h5,
            .keras, .ckpt, .onnx or .tflite); for 'huggingface', path of a folder, and for 'timm'
            and 'tfjs' too if it has no ending.
        dialect: naming scheme of the tensors: 'torchvision', 'timm', 'keras', 'tf-slim',
            'huggingface', 'tonylins', 'd-li14', 'article', 'onnx', 'litert' or 'tfjs'. Default: the
            only one that fits the file format and the network.
        ignore_numerics: True to export although the other project computes with other numerics,
            such as another padding or epsilon.
        photos: photos or folders of photos to measure the effect of ``ignore_numerics`` on.
            Default: two photos of scikit-learn.
        overwrite: True to replace an existing file.

    Returns:
        The paths, notes, and the effect of ignored numerics.

    Raises:
        DialectError: the dialect cannot express the network, several dialects fit, or none fits
            the ending.
        WeightsError: the model cannot be downloaded or read.
        MissingExtra: the library that writes the format is not installed.
        ArtifactError: the file exists.

    Example:
        >>> net = mn.build(mn.published("torchvision", width=0.35, classes=3, size=64))
        >>> made = mn.export_checkpoint(net, folder / "net.safetensors", dialect="torchvision")
        >>> [path.name for path in made.paths]
        ['net.safetensors', 'net.safetensors.json']
    """
    place = Path(out)
    with located(model) as given:
        config, arrays = store.load(given.place)
    name = dialect or guess_dialect(config, place)
    shown = None
    if ignore_numerics:  # before writing, since a photo may be unreadable
        shown = _shown(several(photos), config.preprocessing)
    made = write_checkpoint(config, arrays, name, place, ignore_numerics, overwrite)
    effect = None
    if shown is not None and made.config.spec.numerics != config.spec.numerics:
        effect = numerics_effect(config, made.config, arrays, shown)
    return Exported(made.paths, name, made.notes, made.config, effect)


def guess_dialect(config: ModelConfig, out: Path) -> str:
    """Return the only dialect that fits a file name ending and a network.

    Raises:
        DialectError: several dialects fit, or none; or the ending is of a format for inference.
    """
    made = BY_ENDING.get(out.suffix.lower())
    if made is not None and made.name != "keras":
        weights = f"; {made.title} with the weights by their names: "
        weights += argument("dialect", made.name)
        raise DialectError(
            f"{out}: for a file that runs, use 'mobilenetv2 export MODEL {out}' (export in "
            f"Python){weights if made.graph else ''}"
        )
    names = dialects_of(out)
    if not names:
        raise DialectError(
            f"{out}: no checkpoint format has this ending; dialects 'huggingface', 'timm' and "
            "'tfjs' write a folder, the others write files such as weights.safetensors, .pth, "
            ".h5 or .ckpt"
        )
    fitting = fitting_dialects(config, names) or names
    if len(fitting) > 1:
        raise DialectError(
            f"{out}: several dialects fit: {', '.join(fitting)}; choose one, such as "
            f"{argument('dialect', fitting[0])}"
        )
    return fitting[0]


def _shown(photos: Sequence[str], record: Preprocessing) -> NDArray:
    if photos:
        return load_pictures(find_photos(photos), record)
    return np.stack([preprocess(photo, record, "a built-in photo") for photo in photographs()])
