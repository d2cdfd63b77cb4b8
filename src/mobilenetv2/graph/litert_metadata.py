"""Metadata for Google's tools in a LiteRT file: normalisation and the list of labels.

The metadata is a flatbuffer of the published schema ``metadata_schema.fbs`` (identifier M001), in a
buffer of the model. Only whole frameworks provide that schema in Python, so the field numbers of
the few tables that an image classifier needs are written here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilenetv2 import __version__
from mobilenetv2.graph.flatbuffer import vector
from mobilenetv2.graph.graph import LOGITS, PROBABILITIES
from mobilenetv2.model.card import PROBABILITIES as MEANINGS
from mobilenetv2.model.card import kind
from mobilenetv2.spec.records import ModelConfig

NAME = "TFLITE_METADATA"
"""Name under which the model lists the metadata."""
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
"""Oldest version of a parser that supports all fields in use here."""
LABELS = "labels.txt"
"""Name of the zip archive's entry with the labels, one a line."""
RGB, GREYSCALE = 1, 2
"""Values of the schema's ColorSpaceType."""
AXIS_LABELS = 2
"""Value TENSOR_AXIS_LABELS of the schema's AssociatedFileType."""
FEATURE, IMAGE = 1, 2
"""Members of the union ContentProperties: FeatureProperties, ImageProperties."""
NORMALIZATION = 1
"""Member of the union ProcessUnitOptions: NormalizationOptions."""

ANSWERS = {
    "softmax": "The probability of each class, by a softmax",
    "sigmoid": "The probability of each class on its own, by a sigmoid",
    "logit": "The probability of the second of two classes, by a sigmoid",
}
"""Meaning of probabilities, by that of the logits."""


def metadata(
    config: ModelConfig, outputs: Sequence[str] = (LOGITS,), pictures: bool = False
) -> bytes:
    """Return the flatbuffer for a network from ``input`` to ``outputs``, in this order.

    Mean and standard deviation are the same for a float and a quantised network; the meaning of
    integers is in the tensors' quantisation. There is one value for each channel. MediaPipe's tasks
    take a network only if all channels have the same value.

    Args:
        pictures: the graph takes uint8 images and normalises them itself, so that mean and standard
            deviation are 0 and 1.
    """
    import flatbuffers

    return _Writer(flatbuffers.Builder(1024)).model(config, outputs, pictures)


class _Writer:
    """Writer of tables by the schema's field numbers; references must be written first."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def model(self, config: ModelConfig, outputs: Sequence[str], pictures: bool) -> bytes:
        head = config.spec.classifier
        pooled = "mean" if head.pooling == "average" else "maximum"
        # A softmax keeps its old description, so that the same model gives the same file.
        logits = f"{MEANINGS[head.outputs]}."
        if head.outputs == "softmax":
            logits = "One number a class, before the softmax."
        labels = self.labels()
        named = {
            LOGITS: (logits, labels),
            PROBABILITIES: (f"{ANSWERS[head.outputs]}.", labels),
            "features": (f"Input of the classifier: the {pooled} over the last map.", None),
        }
        ends = [
            self.output(name, *named.get(name, ("Output of a layer.", None))) for name in outputs
        ]
        graph = self.table(
            9, {2: vector(self.b, [self.input(config, pictures)]), 3: vector(self.b, ends)}
        )
        licence = config.origin.licence if config.origin else None
        fields = {
            **self.named(
                kind(config.spec), f"An image classifier of {config.spec.classes} classes."
            ),
            2: self.text(f"mobilenetv2 {__version__}"),
            3: vector(self.b, [graph]),
            7: self.text(PARSER_VERSION),
        }
        if licence:
            fields[5] = self.text(licence)
        self.b.Finish(self.table(8, fields), IDENTIFIER)
        return bytes(self.b.Output())

    def input(self, config: ModelConfig, pictures: bool) -> int:
        """Write the TensorMetadata of the image."""
        record = config.preprocessing
        mean, std = record.mean, record.std
        if pictures:
            mean, std = (0.0,) * len(mean), (1.0,) * len(std)
        floats = [np.asarray(values, np.float32) for values in (mean, std)]
        parts = {field: int(self.b.CreateNumpyVector(row)) for field, row in enumerate(floats)}
        unit = self.union(2, NORMALIZATION, self.table(2, parts))
        colour = RGB if record.channels == 3 else GREYSCALE
        content = self.union(3, IMAGE, self.table(2, {}, {0: colour}))
        named = self.named("input", "A picture.")
        return self.table(7, {**named, 3: content, 4: vector(self.b, [unit])})

    def output(self, name: str, description: str, labels: int | None) -> int:
        """Write the TensorMetadata of a vector."""
        named = self.named(name, description)
        fields = {**named, 3: self.union(3, FEATURE, self.table(0, {}))}
        if name == PROBABILITIES:
            most, least = (int(self.b.CreateNumpyVector(np.array([x], np.float32))) for x in (1, 0))
            fields[5] = self.table(2, {0: most, 1: least})  # Stats
        if labels is not None:
            fields[6] = vector(self.b, [labels])
        return self.table(7, fields)

    def labels(self) -> int:
        """Write the AssociatedFile of the labels."""
        return self.table(4, self.named(LABELS, "A name for each output."), {2: AXIS_LABELS})

    def named(self, name: str, description: str) -> dict[int, int]:
        """Write the name and the description, the first two fields of every named table here."""
        return {0: self.text(name), 1: self.text(description)}

    def union(self, fields: int, kind: int, table: int) -> int:
        """Write a table whose first two fields are a union's kind and the union's table."""
        return self.table(fields, {1: table}, {0: kind})

    def table(
        self, fields: int, references: dict[int, int], numbers: dict[int, int] | None = None
    ) -> int:
        """Write a table with a number of fields.

        Args:
            references: offset of what is already written, by field.
            numbers: a byte, by field.
        """
        self.b.StartObject(fields)
        for field, reference in references.items():
            self.b.PrependUOffsetTRelativeSlot(field, reference, 0)
        for field, number in (numbers or {}).items():
            self.b.PrependUint8Slot(field, number, 0)
        return int(self.b.EndObject())

    def text(self, value: str) -> int:
        return int(self.b.CreateString(value))
