"""timm's mobilenetv2_*: a block's place is its stage and its repeat."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable

TABLE = KeyTable(
    stem=("conv_stem", "bn1"),
    first={
        "depthwise": ("blocks.0.0.conv_dw", "blocks.0.0.bn1"),
        "project": ("blocks.0.0.conv_pw", "blocks.0.0.bn2"),
    },
    block={
        "expand": ("blocks.{stage}.{repeat}.conv_pw", "blocks.{stage}.{repeat}.bn1"),
        "depthwise": ("blocks.{stage}.{repeat}.conv_dw", "blocks.{stage}.{repeat}.bn2"),
        "project": ("blocks.{stage}.{repeat}.conv_pwl", "blocks.{stage}.{repeat}.bn3"),
    },
    head=("conv_head", "bn2"),
    classifier="classifier",
)
DIALECT = Dialect(
    "timm", ("timm", "timm-110d", "timm-120d"), TABLE, PYTORCH, counters=True,
    signature=("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pwl.weight"),
)  # fmt: skip
