"""Metadata of an ONNX file: pixel range, order of colours, class names, size and licence.

The keys ``Image.*`` are ONNX's own; Ultralytics and others write their own beside them.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.checkpoints.labels import labels_of
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.records import Labels, Resize

RANGES: dict[str, Normalisation] = {
    "NominalRange_0_255": ((0.0,), (1.0,)), "Normalized_0_1": ((0.0,), (255.0,)),
    "Normalized_1_1": ((127.5,), (127.5,)),
}  # fmt: skip
"""Mean and standard deviation by ONNX's own metadata ``Image.NominalPixelRange``."""
PIXEL_RANGE, PIXEL_FORMAT = "Image.NominalPixelRange", "Image.BitmapPixelFormat"
ULTRALYTICS = "Ultralytics"
UNIT: Normalisation = ((0.0,), (255.0,))
LABEL_KEYS = ("names", "labels", "classes", "class_names", "id2label", "class_to_idx")
"""Keys of metadata in which programs keep their class names."""
LONGEST_TEXT = 1024**2


@dataclass(frozen=True, slots=True)
class Metadata:
    """Facts in the metadata that matter for a classifier.

    Args:
        said: texts by their keys.
    """

    said: Mapping[str, str]

    def normalisation(self, channels: int) -> tuple[Normalisation | None, str]:
        """Return mean and deviation of each channel's pixels, and the key that says so."""
        if (text := self.said.get(PIXEL_RANGE, "")) in RANGES:
            return _spread(RANGES[text], channels), f"its metadata {PIXEL_RANGE}"
        if self._of_ultralytics:
            return _spread(UNIT, channels), f"its metadata (author {ULTRALYTICS})"
        return None, ""

    @property
    def bgr(self) -> bool:
        """True if the network takes blue before green and red."""
        return self.said.get(PIXEL_FORMAT, "").lower().startswith("bgr")

    @property
    def fit(self) -> Resize | None:
        """Resize of the program that made the file, if it has one way."""
        return "cover" if self._of_ultralytics else None

    @property
    def size(self) -> tuple[int, int] | None:
        """Size that Ultralytics writes as '[224, 224]', for a graph of any size."""
        found = _literal(self.said.get("imgsz", ""))
        if isinstance(found, list) and len(found) == 2 and all(isinstance(n, int) for n in found):
            return (found[0], found[1]) if all(1 <= side <= 8192 for side in found) else None
        return None

    @property
    def licence(self) -> str | None:
        """Licence; None if it has none."""
        return self.said.get("license") or None

    def labels(self, classes: int | None) -> tuple[Labels | None, str]:
        """Return the class names, and their key in words.

        Args:
            classes: number of outputs; None takes any number of names.
        """
        for key in LABEL_KEYS:
            names = _names(_literal(self.said.get(key, "")))
            if names and (classes is None or len(names) == max(2, classes)):
                try:
                    return labels_of(names), f"its metadata {key!r}"
                except DialectError:  # a name occurs twice: it would not say which class it is
                    continue
        return None, ""

    @property
    def _of_ultralytics(self) -> bool:
        return self.said.get("author") == ULTRALYTICS and self.said.get("task") == "classify"


def _spread(values: Normalisation, channels: int) -> Normalisation:
    mean, std = values
    return mean * channels, std * channels


def _literal(text: str) -> Any:
    """Return a list or a table written as JSON or as Python prints it; None for anything else."""
    if len(text) > LONGEST_TEXT:
        return None
    for parse in (json.loads, ast.literal_eval):  # the second reads constants only
        try:
            return parse(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _names(found: Any) -> tuple[str, ...]:
    """Return class names of a list, of index to name, or of name to index; () for others."""
    if isinstance(found, dict):
        keys, values = list(found), list(found.values())
        if all(isinstance(value, int) for value in values):
            keys, values = values, keys
        places = {str(index): index for index in range(len(keys))}  # a number may be very long
        order = {places.get(key, key): value for key, value in zip(keys, values, strict=True)}
        found = [order.get(index) for index in range(len(order))]
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        return ()
    return tuple(found)
