"""tonylins/pytorch-mobilenet-v2: a block is one flat nn.Sequential, activations counted."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable
from mobilenetv2.model.arrays import Arrays

FIRST = {
    "depthwise": ("features.1.conv.0", "features.1.conv.1"),
    "project": ("features.1.conv.3", "features.1.conv.4"),
}
BLOCK = {
    "expand": ("features.{next}.conv.0", "features.{next}.conv.1"),
    "depthwise": ("features.{next}.conv.3", "features.{next}.conv.4"),
    "project": ("features.{next}.conv.6", "features.{next}.conv.7"),
}
TABLE = KeyTable(
    stem=("features.0.0", "features.0.1"),
    first=FIRST,
    block=BLOCK,
    head=("features.{end}.0", "features.{end}.1"),
    classifier="classifier",
)


def bare_classifier(foreign: Arrays) -> Arrays:
    """Its first version had a dropout in front of the classifier: 'classifier.1'."""
    return {name.replace("classifier.1.", "classifier."): array for name, array in foreign.items()}


DIALECT = Dialect(
    "tonylins", ("tonylins",), TABLE, PYTORCH, counters=True, prepare=bare_classifier,
    signature=("features.1.conv.0.weight", "features.18.0.weight"),
)  # fmt: skip
