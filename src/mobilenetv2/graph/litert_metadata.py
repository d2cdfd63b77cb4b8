"""What Google's own tools ask a LiteRT file about: normalisation, and the list of labels.

A flatbuffer of the published schema ``metadata_schema.fbs`` (identifier M001), which lies in a
buffer of the model. No package has it as Python but those of a whole framework, so that the few
tables that an image classifier needs are numbered here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilenetv2 import __version__
from mobilenetv2.graph.flatbuffer import vector
from mobilenetv2.model.card import PROBABILITIES, kind
from mobilenetv2.spec.records import ModelConfig

NAME = "TFLITE_METADATA"
"""Under which the model lists it."""
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
"""The oldest that knows all fields that are used here."""
LABELS = "labels.txt"
"""Of the zip archive's entries: one name a line."""
RGB, GREYSCALE = 1, 2
"""ColorSpaceType."""
AXIS_LABELS = 2
"""AssociatedFileType TENSOR_AXIS_LABELS."""
FEATURE, IMAGE = 1, 2
"""ContentProperties, a union: FeatureProperties, ImageProperties."""
NORMALIZATION = 1
"""ProcessUnitOptions, a union: NormalizationOptions."""


def metadata(config: ModelConfig, outputs: Sequence[str] = ("logits",)) -> bytes:
    """The flatbuffer for a network that takes ``input`` and gives ``outputs``, in that order.

    Mean and standard deviation are the same for a float and a quantised network: what the integers
    stand for, the tensors' own quantisation says. They are given a channel each; MediaPipe's tasks
    take a network only where all channels have the same.
    """
    import flatbuffers

    return _Writer(flatbuffers.Builder(1024)).model(config, outputs)


class _Writer:
    """Tables by the schema's field numbers; what a table refers to is written before it."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def model(self, config: ModelConfig, outputs: Sequence[str]) -> bytes:
        head = config.spec.classifier
        pooled = "mean" if head.pooling == "average" else "maximum"
        # Of a softmax as it always was: the same model gives the same file.
        logits = f"{PROBABILITIES[head.outputs]}."
        if head.outputs == "softmax":
            logits = "One number a class, before the softmax."
        named = {
            "logits": (logits, self.labels()),
            "features": (f"What the classifier takes: the {pooled} over the last map.", None),
        }
        ends = [
            self.output(name, *named.get(name, ("What a layer gives.", None))) for name in outputs
        ]
        graph = self.table(9, {2: vector(self.b, [self.input(config)]), 3: vector(self.b, ends)})
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

    def input(self, config: ModelConfig) -> int:
        """TensorMetadata of the picture."""
        record = config.preprocessing
        floats = [np.asarray(values, np.float32) for values in (record.mean, record.std)]
        parts = {field: int(self.b.CreateNumpyVector(row)) for field, row in enumerate(floats)}
        unit = self.union(2, NORMALIZATION, self.table(2, parts))
        colour = RGB if record.channels == 3 else GREYSCALE
        content = self.union(3, IMAGE, self.table(2, {}, {0: colour}))
        named = self.named("input", "A picture.")
        return self.table(7, {**named, 3: content, 4: vector(self.b, [unit])})

    def output(self, name: str, description: str, labels: int | None) -> int:
        """TensorMetadata of a vector."""
        named = self.named(name, description)
        fields = {**named, 3: self.union(3, FEATURE, self.table(0, {}))}
        if labels is not None:
            fields[6] = vector(self.b, [labels])
        return self.table(7, fields)

    def labels(self) -> int:
        """AssociatedFile."""
        return self.table(4, self.named(LABELS, "A name for each output."), {2: AXIS_LABELS})

    def named(self, name: str, description: str) -> dict[int, int]:
        """The first two fields of every table here that has a name."""
        return {0: self.text(name), 1: self.text(description)}

    def union(self, fields: int, kind: int, table: int) -> int:
        """A table whose first two fields are a union's kind and the table itself."""
        return self.table(fields, {1: table}, {0: kind})

    def table(
        self, fields: int, references: dict[int, int], numbers: dict[int, int] | None = None
    ) -> int:
        """A table of that many fields.

        Args:
            references: field -> what was written before.
            numbers: field -> a byte.
        """
        self.b.StartObject(fields)
        for field, reference in references.items():
            self.b.PrependUOffsetTRelativeSlot(field, reference, 0)
        for field, number in (numbers or {}).items():
            self.b.PrependUint8Slot(field, number, 0)
        return int(self.b.EndObject())

    def text(self, value: str) -> int:
        return int(self.b.CreateString(value))
