"""torchvision.models.mobilenet_v2: everything in ``features``, blocks numbered from 1."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable

TABLE = KeyTable(
    stem=("features.0.0", "features.0.1"),
    first={
        "depthwise": ("features.1.conv.0.0", "features.1.conv.0.1"),
        "project": ("features.1.conv.1", "features.1.conv.2"),
    },
    block={
        "expand": ("features.{next}.conv.0.0", "features.{next}.conv.0.1"),
        "depthwise": ("features.{next}.conv.1.0", "features.{next}.conv.1.1"),
        "project": ("features.{next}.conv.2", "features.{next}.conv.3"),
    },
    head=("features.{end}.0", "features.{end}.1"),
    classifier="classifier.1",
)
DIALECT = Dialect(
    "torchvision", ("torchvision",), TABLE, PYTORCH, counters=True,
    signature=("features.0.0.weight", "features.1.conv.0.0.weight"),
)  # fmt: skip
