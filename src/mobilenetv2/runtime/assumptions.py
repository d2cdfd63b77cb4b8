"""Assumptions about a foreign file that says too little of its pictures and answers, in words.

What the user says comes first, then the file's metadata, then scaling inside its graph, then the
calibrated range of a quantised input, if it is a usual one, and at last what such files usually
take. Every decision is a note that says what was taken, and why.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import assert_never

from mobilenetv2.checkpoints.description import Normalisation, usual_labels
from mobilenetv2.checkpoints.foreign import Facts
from mobilenetv2.checkpoints.foreign.wiring import Meaning
from mobilenetv2.checkpoints.input_range import RANGES, of_channels, range_words, require_range
from mobilenetv2.checkpoints.preprocessing_choice import resize_words, resized
from mobilenetv2.checkpoints.preprocessing_option import read_preprocessing
from mobilenetv2.errors import ArtifactError, DialectError, argument
from mobilenetv2.formats import FORMATS
from mobilenetv2.spec.foreign import Given
from mobilenetv2.spec.network import Outputs, Size
from mobilenetv2.spec.records import Labels, Preprocessing

USUAL_SIZE = (224, 224)
SMALL_FILTER = 0.1
"""Norm below which all first filters are those of a network that takes 0 to 255.

Converters multiply a scaling of the picture into the first convolution. Filters for values of 0 to
1 or -1 to 1 have norms of about 0.5 to 5, and 1/255 of that with the scaling inside.
"""


def choose_preprocessing(
    facts: Facts, given: Given, where: str, imported: tuple[Preprocessing, str] | None = None
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return how a photo becomes the network's picture, and notes that say why.

    Args:
        facts: facts of the file.
        given: what the user says about it.
        where: name of the file for messages.
        imported: what an import of a MobileNetV2 chooses, and why. It takes the place of the
            assumptions here; where the graph scales pixels itself, of that on the resize.

    Raises:
        ArtifactError: the range of a quantised input is none of the usual ones, or the given
            preprocessing has another number of channels.
    """
    notes: list[str] = []
    asked, size = given.preprocessing, facts.size
    if size is None:
        size = asked.size if isinstance(asked, Preprocessing) else USUAL_SIZE
        notes.append(f"pictures of {_words(size)} pixels, since the graph takes any size")
    if imported is not None and facts.scaled is None:
        record, why = imported
        return record.at(size), (*notes, f"as an import: {why[:1].lower()}{why[1:].rstrip('.')}")
    fit, why = given.resize, "as given"
    if asked is not None:
        record, name = _asked(asked, facts, size, where)
        if record.channels != facts.channels:
            raise ArtifactError(
                f"{where}: the given preprocessing has {record.channels} channels, and the network "
                f"takes {facts.channels}"
            )
        record = record.at(size)
        notes.append(f"pixel values {range_words(record.mean, record.std)}: {name} was given")
        if fit is None:
            notes.append(f"{resize_words(record)}: {name} was given")
    else:
        (mean, std), why_scaled = _scale(facts, where)
        notes.append(f"pixel values {range_words(mean, std)}: {why_scaled}")
        record = Preprocessing(size, size, "stretch", mean=mean, std=std)
        if imported is not None:
            record = dataclasses.replace(imported[0].at(size), mean=mean, std=std)
            notes.append(f"{resize_words(record)}: as an import of this MobileNetV2 has it")
        elif fit is None:
            fit = facts.fit or "stretch"
            other = argument("resize", "cover" if fit == "stretch" else "stretch")
            why = "its metadata" if facts.fit else f"assumed, as it says nothing; else give {other}"
    if fit is not None:
        record = resized(record, fit)
        notes.append(f"{resize_words(record)}: {why}")
    if facts.channels == 3:
        order = "blue, green, red: its metadata" if facts.bgr else "red, green, blue: the usual one"
        notes.append(f"colours in the order {order}")
    return record, tuple(notes)


def _asked(
    asked: Preprocessing | str, facts: Facts, size: Size, where: str
) -> tuple[Preprocessing, str]:
    """Return the preprocessing that the user gave, and its name.

    Raises:
        ArtifactError: it is a range that the graph makes of the pixels itself.
        DialectError: its name is unknown, or its file has none.
    """
    if isinstance(asked, Preprocessing):
        return asked, "a record"
    if facts.scaled is not None and asked in RANGES:
        largest, operators = facts.scaled
        own = "0..255" if largest == 255 else "0..1"
        if asked != own:
            raise ArtifactError(
                f"{where}: its graph scales pixels of {own} itself ({' and '.join(operators)}), so "
                f"that {asked} would scale them twice; leave {argument('preprocessing')} out"
            )
    return read_preprocessing(asked, size, facts.channels), repr(asked)


def _scale(facts: Facts, where: str) -> tuple[Normalisation, str]:
    """Return mean and deviation of pixels from 0 to 255, and the reason.

    Raises:
        ArtifactError: the range of a quantised input is none of the usual ones.
    """
    if facts.normalisation is not None:
        return facts.normalisation, facts.normalisation_from
    advice = f"else give {argument('preprocessing')}"
    if facts.scaled is not None:
        largest, operators = facts.scaled
        name = "0..255" if largest == 255 else "0..1"
        why = f"its graph scales them itself ({' and '.join(operators)})"
    elif facts.input_range is not None:
        low, high = facts.input_range
        try:
            name = require_range(low, high)
        except DialectError as error:
            raise ArtifactError(f"{where}: {error}") from None
        why = f"its input was calibrated to {low:.4g}..{high:.4g}"
    elif facts.input_type == "uint8":
        name, why = "0..255", "it takes uint8"
    elif facts.largest_filter is not None and facts.largest_filter < SMALL_FILTER:
        name = "0..255"
        why = (
            f"its first filters are so small (at most {facts.largest_filter:.2g}) that a scaling "
            f"by 1/255 or so must be in them; {advice}"
        )
    elif facts.from_tensorflow:
        makers = "LiteRT files" if facts.format == "litert" else "networks of TensorFlow"
        name, why = "-1..1", f"assumed, as most {makers} that say nothing take them; {advice}"
    else:
        makers = f"{FORMATS[facts.format].title} files of PyTorch"
        name, why = "imagenet", f"assumed, as most {makers} take them; {advice}"
    return of_channels(RANGES[name], facts.channels), why


def _words(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def choose_outputs(
    meaning: Meaning, last: str, answers: "Sample", classes: int
) -> tuple[Outputs, bool, str]:
    """Return the meaning of the outputs, True for probabilities, and a note that says why.

    Args:
        meaning: meaning of the last operator.
        last: name of the last operator.
        answers: the network's outputs for a few pictures.
        classes: number of outputs.
    """
    kind: Outputs = "logit" if classes == 1 else "softmax"
    if meaning == "softmax":
        return kind, True, f"outputs are probabilities: the last operator is {last}"
    if meaning == "sigmoid":
        if classes == 1:
            return kind, True, f"one output for two classes, a probability: {last} at the end"
        return "sigmoid", True, f"outputs are independent probabilities: {last} at the end"
    if meaning == "linear" or meaning == "features":
        return kind, False, f"outputs are logits: the last operator is {last}"
    if meaning != "unknown":
        assert_never(meaning)
    if classes > 1 and answers.sums_to_one():
        return kind, True, "outputs are probabilities: they are not negative and sum to 1"
    if classes == 1 and answers.within_one():
        return kind, True, "one output for two classes, a probability: it is from 0 to 1"
    return kind, False, f"outputs are taken for logits, since they end in {last or 'no operator'}"


@dataclass(frozen=True, slots=True)
class Sample:
    """Outputs of a network for a few pictures."""

    rows: tuple[tuple[float, ...], ...]

    def sums_to_one(self) -> bool:
        """Return True if no value is negative and every row sums to 1, within a quantised step."""
        return self.within_one() and all(abs(math.fsum(row) - 1) < 0.05 for row in self.rows)

    def within_one(self) -> bool:
        """Return True if all values are from 0 to 1."""
        return all(0 <= value <= 1 for row in self.rows for value in row)


def is_headless(meaning: Meaning, outputs: int, named: bool) -> bool:
    """Return True if outputs are a body's features rather than scores of classes.

    SqueezeNet pools activated values, too, and they are its scores; its 1,000 outputs, or their
    names, tell.

    Args:
        meaning: meaning of the last operator.
        outputs: number of outputs.
        named: True if there are names for the classes.
    """
    return meaning == "features" and not named and outputs not in (1000, 1001)


def choose_labels(
    facts: Facts, given: Given, found: tuple[Labels, str] | None, classes: int, where: str
) -> tuple[Labels, str]:
    """Return a name for each class, and a note that says from where.

    Args:
        facts: facts of the file.
        given: options of the user.
        found: labels of a file beside the model, and that file's name.
        classes: number of classes.
        where: name of the file, for messages.

    Raises:
        ArtifactError: the number of labels differs from that of the classes.
    """
    if given.labels is not None:
        chosen, source = given.labels, f"by {argument('labels')}"
    elif facts.labels is not None:
        chosen, source = facts.labels, f"from {facts.labels_from}"
    elif found is not None:
        chosen, source = found[0], f"from {found[1]} beside it"
    else:
        usual = usual_labels(classes)
        known = "ImageNet's, since it has that many outputs" if classes in (1000, 1001) else ""
        numbers = f"none found: 'class 0', 'class 1' ...; give {argument('labels', 'FILE')}"
        return usual, f"names of the classes: {known or numbers}"
    if len(chosen) != classes:
        raise ArtifactError(
            f"{where}: {len(chosen)} labels {source} for {classes} classes; give "
            f"{argument('labels')} with a name for each class"
        )
    return chosen, f"names of the classes: {source}"
