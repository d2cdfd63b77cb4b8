"""Choice of an import's preprocessing, with the reason in words.

The first that says something is believed: the user; a config of ours or of the publisher, in the
file or beside it; the publisher of a known file; the scaling inside a graph; the range that a
quantised input was calibrated to; what is usual for files of this kind. Only a publisher's own
record has a centre crop: a Keras, LiteRT or ONNX file that says nothing of one gets none.
"""

import dataclasses

import numpy as np

from mobilenetv2.checkpoints.description import (
    METADATA,
    Description,
    ImportOptions,
    published_preprocessing,
)
from mobilenetv2.checkpoints.input_range import (
    RANGES,
    of_channels,
    range_words,
    require_range,
    same_normalisation,
)
from mobilenetv2.checkpoints.preprocessing_option import read_preprocessing
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.catalogue import Checkpoint
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing, Resize

Choice = tuple[Preprocessing, str]
STEM = "stem.conv.weight"
MAKERS = {
    "keras": "Keras models",
    "litert": "LiteRT files",
    "onnx": "ONNX files whose convolutions are padded so",
    "torchvision": "state dicts with torchvision's names",
    "timm": "timm's networks",
    "tf-slim": "TF-slim's networks",
    "huggingface": "Hugging Face's networks",
}
"""Files of a dialect in words, for the sentence that says what is usual."""


def choose_preprocessing(
    said: Description, usual: Preprocessing, dialect: str, spec: NetworkSpec,
    options: ImportOptions, known: Checkpoint | None = None,
) -> Choice:  # fmt: skip
    """Return the preprocessing of an import, and how it was chosen.

    Args:
        said: what the file and its configs say.
        usual: the usual preprocessing of the dialect's files, at the network's size.
        dialect: name of the dialect.
        known: the published checkpoint that the file is.

    Returns:
        The record at the network's size, and a sentence; '' if a config said everything.

    Raises:
        DialectError: an input was calibrated to an unknown range, or the option cannot be read or
            contradicts the graph.
    """
    if options.preprocessing is not None:
        record, why = _given(said, usual, spec, options, options.preprocessing)
    elif said.preprocessing is not None:
        record, why = said.preprocessing, ""
        if options.resize is None and not (options.bgr or said.bgr):
            found = f"{said.preprocessing_from} says so" if said.preprocessing_from else ""
            return record.at(spec.size), said.assumed or (found and f"{words(record)}: {found}.")
    else:
        record, why = _published(said, spec, known, dialect) or _found(said, usual, dialect, spec)
    if options.bgr or said.bgr:
        why = f"{why or 'its config says so'}, and its first layer was turned from blue first"
    record = resized(record.at(spec.size), options.resize)
    if options.resize is not None:
        why = f"{why or 'its config says the range'}, and the resize {options.resize} was given"
    return record, f"{words(record)}: {why}."


def _given(
    said: Description, usual: Preprocessing, spec: NetworkSpec, options: ImportOptions,
    given: Preprocessing | str,
) -> Choice:  # fmt: skip
    """Return what the user gave, or the catalogue for the user.

    Raises:
        DialectError: it cannot be read, or the graph has another scaling inside.
    """
    if isinstance(given, Preprocessing):
        record, why = given, options.preprocessing_from or "it was given"
    elif given in RANGES:
        mean, std = of_channels(RANGES[given], spec.input_channels)
        record = dataclasses.replace(said.preprocessing or usual, mean=mean, std=std)
        why = f"the range {given} was given"
    else:
        record = read_preprocessing(given, spec.size, spec.input_channels)
        why = f"{given!r} was given"
    inside = said.normalisation
    computed = said.preprocessing_from not in ("", METADATA)
    if inside is None or not computed or len(record.mean) != len(inside[0]):
        return record, why
    raw = of_channels(RANGES["0..255"], len(record.mean))
    if same_normalisation(record, raw):  # right of the file, which scales them itself
        record = dataclasses.replace(record, mean=inside[0], std=inside[1])
        why += f", and the file scales them itself ({said.preprocessing_from})"
    elif not same_normalisation(record, inside):
        raise DialectError(
            f"{said.preprocessing_from} in the file already turns pixels into "
            f"{range_words(*inside)}, but {range_words(record.mean, record.std)} was given; give "
            f"the pixels' own range, {argument('preprocessing', '0..255')}, or leave it out"
        )
    return record, why


def _published(
    said: Description, spec: NetworkSpec, known: Checkpoint | None, dialect: str
) -> Choice | None:
    """Return the publisher's own preprocessing if the file is a published one."""
    if known is None or known.dialect != dialect or known.classes not in (None, spec.classes):
        return None
    record = known.published_preprocessing()
    if record is None:  # LiteRT: how the files were measured, with the pixels that they take
        record = published_preprocessing("keras", spec)
        if said.input_range is not None:
            low, high = said.input_range
            std = round(255 / (high - low), 3)
            mean = round(-low * 255 / (high - low), 3)
            record = dataclasses.replace(record, mean=(mean,) * 3, std=(std,) * 3)
        elif said.normalisation is not None:
            mean_, std_ = said.normalisation
            record = dataclasses.replace(record, mean=mean_, std=std_)
    return record, f"the file is the published {known.name}, which was measured so"


def _found(said: Description, usual: Preprocessing, dialect: str, spec: NetworkSpec) -> Choice:
    """Return what the file says of itself, or else what is usual."""
    crop = "it says nothing of a crop"
    if is_teachable_machines(spec):
        usual = dataclasses.replace(usual.largest(), interpolation="lanczos")
        crop = "its head is Teachable Machine's, whose own code takes the central square"
    if said.normalisation is not None:
        mean, std = said.normalisation
        place = said.preprocessing_from or "the graph"
        says = (
            f"{place} says so" if place == METADATA else f"the file scales pixels itself ({place})"
        )
        return dataclasses.replace(usual, mean=mean, std=std), f"{says}, and {crop}"
    if said.input_range is not None:
        low, high = said.input_range
        name = require_range(low, high)
        mean, std = of_channels(RANGES[name], spec.input_channels)
        return (
            dataclasses.replace(usual, mean=mean, std=std),
            f"its input was calibrated to {low:.4g}..{high:.4g}, and {crop}",
        )
    if is_teachable_machines(spec):
        return usual, crop
    makers = MAKERS.get(dialect, f"{dialect}'s networks")
    return usual, f"the file says nothing, and {makers} are usually fed so"


def is_teachable_machines(spec: NetworkSpec) -> bool:
    """Return True if a network has the head that Teachable Machine trains, and its width."""
    head = spec.classifier
    hidden = [(layer.units, layer.activation) for layer in head.hidden]
    return hidden == [(100, "relu")] and not head.bias and spec.width == 0.35


def red_first(arrays: Arrays, said: Description) -> tuple[Arrays, Description]:
    """Return the arrays and the description of a network that takes blue first, for red first.

    Raises:
        DialectError: the network does not take three channels.
    """
    weight = arrays[STEM]
    if weight.shape[1] != 3:
        raise DialectError(f"{argument('bgr', True)} is for three channels; it takes grey pictures")
    if said.normalisation is not None:
        mean, std = said.normalisation
        said = dataclasses.replace(said, normalisation=(mean[::-1], std[::-1]))
    return {**arrays, STEM: np.ascontiguousarray(weight[:, ::-1])}, said


def resized(record: Preprocessing, how: Resize | None) -> Preprocessing:
    """Return a record with another resize; None keeps its own."""
    if how == "stretch":
        return record.stretched()
    if how == "cover":
        return record.largest()
    return record.unresized() if how == "none" else record


def words(record: Preprocessing) -> str:
    """Return a preprocessing in words that hold at every size of the network.

    Example:
        >>> from mobilenetv2.checkpoints.preprocessing_choice import words
        >>> words(mn.Preprocessing())
        "Pixels as ImageNet's mean and deviation, red first; photos resized to 1.14 times ..."
    """
    order = "red first" if record.channels == 3 else "grey"
    return f"Pixels as {range_words(record.mean, record.std)}, {order}; {resize_words(record)}"


def resize_words(record: Preprocessing) -> str:
    """Return the resize and the crop in words, in multiples of the network's size."""
    if record.fit == "none":
        return "photos not resized, their centre cut out"
    height, width = (big / side for big, side in zip(record.resize, record.size, strict=True))
    part = "" if record.central_fraction == 1 else f"the central {record.central_fraction:.1%} of "
    if record.fit == "stretch":
        text = f"{part}photos stretched to the network's size"
    else:
        text = f"{part}photos resized to cover the network's size"
    if record.resize == record.size:
        if record.fit == "cover":
            return f"{text}, centre cropped"
        return text if part else f"{text}, without a crop"
    times = (
        f"{height:.3g}" if round(height, 2) == round(width, 2) else f"{height:.3g} x {width:.3g}"
    )
    return text.replace("the network's size", f"{times} times the network's size, centre cropped")
