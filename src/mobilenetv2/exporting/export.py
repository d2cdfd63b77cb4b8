"""Export of a model as files for other runtimes, each compared with the model."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from mobilenetv2.data.opening import find_photos
from mobilenetv2.errors import ArtifactError
from mobilenetv2.evaluation.predictions import load_pictures
from mobilenetv2.exporting.job import (
    Given,
    Options,
    Outcome,
    Request,
    make_files,
    require_kept,
    require_packages,
    reserved,
)
from mobilenetv2.exporting.verify import (
    Comparison,
    Exporter,
    Reference,
    possible_requests,
    requests,
)
from mobilenetv2.formats import ALIASES, FormatName, Precision
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model import store
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.text import several

ALL = "all"


def export(
    model: AnyModel,
    out: str | PathLike[str],
    *,
    format: FormatName | Literal["all"] | Sequence[FormatName] | None = None,
    precision: Precision | Sequence[Precision] = "float32",
    pictures: bool = False,
    batch: int | None = None,
    any_size: bool = False,
    opset: int | None = None,
    outputs: Given | None = None,
    keep_inexact: bool = False,
    photos: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    overwrite: bool = False,
    on_outcome: Callable[[Outcome[Comparison]], object] | None = None,
) -> list[Outcome[Comparison]]:
    """Export a model to files for other runtimes: ONNX, OpenVINO, LiteRT, Core ML and others.

    Each file is reloaded in its own runtime and compared with the NumPy edition in float64. A file
    outside the tolerance is deleted, unless ``keep_inexact`` is True.

    Args:
        model: model folder, published name, or network of any edition.
        out: path of a file, whose ending sets the format, or of a folder for several files. For
            'triton' it is the repository, for 'web' the folder of the page.
        format: one or several formats, or 'all' for all installed ones but 'web', which is a page
            and no file for a runtime; default: that of the ending of ``out``.
        precision: one or several precisions of the weights: 'float32', 'float16' or 'bfloat16'.
            For int8, use :func:`mobilenetv2.quantization.quantize.quantize`.
        pictures: True for a file that takes uint8 images (batch, height, width, channels) and
            normalises them.
        batch: fixed batch size; default: any, if the format supports it.
        any_size: True for a file that takes any height and width; it needs a suitable padding.
        opset: ONNX opset, 13 to 22; default: 17.
        outputs: 'probabilities' for a file that ends in the softmax or sigmoid, 'logits' for one
            without. Default: probabilities for LiteRT, as its own converter writes Keras models,
            and logits for all other formats, which have no other.
        keep_inexact: True to keep files outside the tolerance; their comparison says so.
        photos: photos or folders of photos for the comparison; default: four generated images.
        overwrite: True to replace existing files.
        on_outcome: function that is called with each outcome at once.

    Returns:
        One outcome for each file, with its ``path``, ``size`` in bytes and ``verdict`` (the largest
        difference of an output and more). If only some files were kept, the others have an
        ``error``.

    Raises:
        NotKept: no file was kept; its ``outcomes`` have the reasons.
        ArtifactError: a format is unknown, or does not have a precision or an option; or a file
            exists.
        WeightsError: the model cannot be downloaded or read.
        DataError: the photos do not exist.
        MissingExtra: a format's packages are not installed.

    Example:
        >>> (made,) = mn.export("embedded", folder / "small.onnx")
        >>> made.path.name, made.precision, made.verdict.passed
        ('small.onnx', 'float32', True)
        >>> made.verdict.same_top1, made.verdict.photos
        (4, 4)
    """
    place = Path(out)
    with located(model) as given:
        config, arrays = store.load(given.place)
        require_answers(config, given.name)
        options = [
            Options(each, pictures, batch, any_size, opset, outputs, given.title)
            for each in precisions(precision)
        ]
        requested = wanted(format, options, place)
        with reserved(requested, overwrite):
            record, paths = config.preprocessing, find_photos(several(photos))
            shown = load_pictures(paths, record) if paths else sample_pictures(record)
            maker = Exporter(Reference(config, arrays, shown), keep_inexact)
            return require_kept(make_files(maker, requested, on_outcome=on_outcome))


def precisions(given: Precision | Sequence[Precision]) -> list[Precision]:
    """Return the canonical names of precisions without duplicates."""
    named = [ALIASES.get(name, name) for name in several(given)]
    if "int8" in named:
        raise ArtifactError("for precision int8, use 'quantize', which needs photos")
    return list(dict.fromkeys(named))  # type: ignore[arg-type]  # the format refuses the others


def wanted(
    format: str | Sequence[str] | None, options: Sequence[Options], out: Path
) -> list[Request]:
    """Return a request for each file; with 'all', a note names the formats that are left out.

    Raises:
        ArtifactError: a format is unknown, or does not have a precision or an option.
        MissingExtra: a format's packages are not installed.
    """
    if format == ALL:
        requested, notes = possible_requests(options, out)
        for note in notes:
            say(f"note: {note}")
        if not requested:
            raise ArtifactError(f"{out}: no format has all these precisions and options")
        return requested
    requested = requests([] if format is None else several(format), options, out)
    require_packages(request.format for request in requested)
    return requested
