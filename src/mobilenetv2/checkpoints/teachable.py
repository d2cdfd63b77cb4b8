"""Exports of Google's Teachable Machine: what they are like, and what lies beside them.

Teachable Machine trains a hidden layer of 100 units and a last layer without bias on a MobileNetV2
of width 0.35. It takes the central square of a picture, at 224 x 224 pixels, scaled to -1..1; of
that, its files say nothing.
"""

import dataclasses
import json
from pathlib import Path

from mobilenetv2.checkpoints.containers.savedmodel import PROGRAM
from mobilenetv2.checkpoints.description import LARGEST, Description, read_labels
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint
from mobilenetv2.spec.network import HiddenSpec
from mobilenetv2.spec.records import Labels, Preprocessing

UNITS, STEM, SIZE = 100, 16, (224, 224)
"""Units of the hidden layer, channels of the stem at width 0.35, and size of the input."""
LABELS, METADATA = "labels.txt", "metadata.json"
"""Files beside an export: with the .h5, .tflite and SavedModel, and with the web export."""
EXPORTS = ("keras_model.h5", "model.savedmodel/saved_model.pb")
"""Model in an unpacked export; LiteRT files may be several, so that one has to be named."""
SOURCE = "Teachable Machine's export"
PREPROCESSING = Preprocessing(SIZE, SIZE, "cover", mean=(127.5,) * 3, std=(127.5,) * 3)


def is_teachable(checkpoint: object) -> bool:
    """Return True if a network has the form that Teachable Machine gives it."""
    if not isinstance(checkpoint, GraphCheckpoint) or checkpoint.size != SIZE:
        return False
    head = checkpoint.head
    hidden = tuple(dataclasses.replace(one, dropout=0.0) for one in head.classifier.hidden)
    return (
        hidden == (HiddenSpec(UNITS, "relu"),)
        and head.classifier.outputs == "softmax"
        and head.classifier.pooling == "average"
        and checkpoint.steps[0].weight.shape[:2] == (STEM, 3)
        # A converter to LiteRT may add a bias of zeros.
        and not head.linears[-1].bias.any()
    )


def describe_teachable(said: Description, weights: Path, checkpoint: object) -> Description:
    """Return what a file says of itself, with what is known of Teachable Machine's exports.

    Args:
        said: description by the file.
        weights: the file; its labels are looked for beside it.
    """
    if not is_teachable(checkpoint):
        return said
    assert isinstance(checkpoint, GraphCheckpoint)
    folder = weights.parent
    places = [folder, folder.parent] if weights.name == PROGRAM else [folder]
    labels = said.labels
    for place in places:
        labels = labels or _labels(place, checkpoint.head.classes or 0)
    if said.preprocessing is not None:
        return dataclasses.replace(said, labels=labels)
    return dataclasses.replace(
        said, labels=labels, preprocessing=PREPROCESSING, preprocessing_from=SOURCE
    )


def _labels(folder: Path, classes: int) -> Labels | None:
    """Return the labels in a folder; None without a list of this length."""
    names: tuple[str, ...] = ()
    for name in (LABELS, METADATA):
        file = folder / name
        if names or not file.is_file() or file.stat().st_size > LARGEST:
            continue
        text = file.read_bytes().decode("utf-8-sig", "replace")
        if name == LABELS:
            names = read_labels(text).names
            continue
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            continue  # another program's file
        listed = said.get("labels") if isinstance(said, dict) else None
        if isinstance(listed, list) and all(isinstance(one, str) and one for one in listed):
            names = tuple(listed)
    return Labels(names) if names and len(names) == classes else None
