"""The article's PyTorch version: see :mod:`mobilenetv2.editions.article.torch`."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable

BLOCK = {
    "expand": ("layer{row}.{repeat}.bottleneck.0.0", "layer{row}.{repeat}.bottleneck.0.1"),
    "depthwise": ("layer{row}.{repeat}.bottleneck.1.0", "layer{row}.{repeat}.bottleneck.1.1"),
    "project": ("layer{row}.{repeat}.bottleneck.2.0", "layer{row}.{repeat}.bottleneck.2.1"),
    "shortcut": ("layer{row}.{repeat}.shortcut.0", "layer{row}.{repeat}.shortcut.1"),
}
TABLE = KeyTable(
    stem=("first_conv.0", "first_conv.1"),
    first=BLOCK,
    block=BLOCK,
    head=("last_conv.0", "last_conv.1"),
    classifier="linear",
)
DIALECT = Dialect(
    "article", ("article-torch",), TABLE, PYTORCH, counters=True,
    signature=("first_conv.0.weight", "layer1.0.bottleneck.0.0.weight"),
)  # fmt: skip
