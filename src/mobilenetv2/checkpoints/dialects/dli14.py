"""d-li14/mobilenetv2.pytorch: tonylins' blocks, the head outside of ``features``."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable
from mobilenetv2.checkpoints.dialects.tonylins import BLOCK, FIRST

TABLE = KeyTable(
    stem=("features.0.0", "features.0.1"),
    first=FIRST,
    block=BLOCK,
    head=("conv.0", "conv.1"),
    classifier="classifier",
)
DIALECT = Dialect(
    "d-li14", ("d-li14",), TABLE, PYTORCH, counters=True,
    signature=("features.1.conv.0.weight", "conv.0.weight"),
)  # fmt: skip
