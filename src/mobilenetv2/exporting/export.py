"""A model as files for other runtimes, each compared with the model before it is kept."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from mobilenetv2.data.sources import find_photos
from mobilenetv2.errors import ArtifactError
from mobilenetv2.evaluation.predictions import load_pictures
from mobilenetv2.exporting.job import (
    Options,
    Outcome,
    Request,
    make_files,
    require_kept,
    require_new,
    require_packages,
)
from mobilenetv2.exporting.verify import (
    Comparison,
    Exporter,
    Reference,
    possible_requests,
    requests,
    sample_pictures,
)
from mobilenetv2.formats import ALIASES, FormatName, Precision
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
    photos: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    overwrite: bool = False,
    on_outcome: Callable[[Outcome[Comparison]], object] | None = None,
) -> list[Outcome[Comparison]]:
    """Write a model as files to run elsewhere: ONNX, OpenVINO, LiteRT, Core ML and others.

    Each file is reloaded in its own runtime and compared with the NumPy edition in float64. A file
    outside the tolerance is not kept.

    Args:
        model: a model folder, a published name, or a network of any edition.
        out: a file, whose ending tells the format, or a folder for several files.
        format: one format or several; None takes the one of the ending, 'all' every installed one.
        precision: of the weights, one or several: 'float32', 'float16' or 'bfloat16'.
            :func:`mobilenetv2.quantization.quantize.quantize` makes int8.
        pictures: the file takes uint8 pictures (batch, height, width, channels) and normalises
            them itself.
        batch: a fixed size of batch; None leaves it open where the format can.
        any_size: the file takes any height and width, where the padding allows it.
        opset: version of ONNX's operators, 13 to 22; None is 17.
        photos: photos, or folders of photos, to compare on; none: four pictures drawn here.
        overwrite: replace existing files.
        on_outcome: called with each outcome as soon as it is there.

    Returns:
        One outcome for each file, with its ``path``, ``size`` in bytes and ``verdict`` (the largest
        difference of a logit and more). Where only some files could be kept, the others have an
        ``error``.

    Raises:
        NotKept: not one file could be kept; its ``outcomes`` say why.
        ArtifactError: an unknown format, or one without such a precision or option.
        WeightsError: the model cannot be had or read.
        DataError: no such photos.
        MissingExtra: a format's packages are not installed.
        FileExistsError: a file is there already.

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
        require_answers(config.spec, given.name)
        options = [
            Options(each, pictures, batch, any_size, opset) for each in precisions(precision)
        ]
        requested = wanted(format, options, place)
        if not overwrite:
            require_new(requested)
        record, paths = config.preprocessing, find_photos(several(photos))
        shown = load_pictures(paths, record) if paths else sample_pictures(record)
        maker = Exporter(Reference(config, arrays, shown))
        return require_kept(make_files(maker, requested, on_outcome=on_outcome))


def precisions(given: Precision | Sequence[Precision]) -> list[Precision]:
    """Return precisions by their own names, each once."""
    named = [ALIASES.get(name, name) for name in several(given)]
    if "int8" in named:
        raise ArtifactError("precision int8 is made by 'quantize', which needs photos")
    return list(dict.fromkeys(named))  # type: ignore[arg-type]  # the format refuses the others


def wanted(
    format: str | Sequence[str] | None, options: Sequence[Options], out: Path
) -> list[Request]:
    """Return a request for each file; of all formats, what is left out is said.

    Raises:
        ArtifactError, MissingExtra: as :func:`export`.
    """
    if format == ALL:
        requested, notes = possible_requests(options, out)
        for note in notes:
            say(f"note: {note}")
        if not requested:
            raise ArtifactError(f"{out}: no format has all that is asked for")
        return requested
    requested = requests([] if format is None else several(format), options, out)
    require_packages(request.format for request in requested)
    return requested
