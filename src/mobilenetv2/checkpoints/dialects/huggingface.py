"""Hugging Face transformers' names: the stem holds the first block, the others follow from 0."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import PYTORCH, KeyTable
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.published import SLIM

_STEM, _BLOCK = "mobilenet_v2.conv_stem", "mobilenet_v2.layer.{previous}"
TABLE = KeyTable(
    stem=(f"{_STEM}.first_conv.convolution", f"{_STEM}.first_conv.normalization"),
    first={
        "expand": (f"{_STEM}.expand_1x1.convolution", f"{_STEM}.expand_1x1.normalization"),
        "depthwise": (f"{_STEM}.conv_3x3.convolution", f"{_STEM}.conv_3x3.normalization"),
        "project": (f"{_STEM}.reduce_1x1.convolution", f"{_STEM}.reduce_1x1.normalization"),
    },
    block={
        "expand": (f"{_BLOCK}.expand_1x1.convolution", f"{_BLOCK}.expand_1x1.normalization"),
        "depthwise": (f"{_BLOCK}.conv_3x3.convolution", f"{_BLOCK}.conv_3x3.normalization"),
        "project": (f"{_BLOCK}.reduce_1x1.convolution", f"{_BLOCK}.reduce_1x1.normalization"),
    },
    head=("mobilenet_v2.conv_1x1.convolution", "mobilenet_v2.conv_1x1.normalization"),
    classifier="classifier",
)


def prefixed(foreign: Arrays) -> Arrays:
    """A MobileNetV2Model saved without its classifier has no prefix."""
    if "conv_stem.first_conv.convolution.weight" not in foreign:
        return dict(foreign)
    return {f"mobilenet_v2.{name}": array for name, array in foreign.items()}


DIALECT = Dialect(
    "huggingface", ("huggingface",), TABLE, PYTORCH, counters=True, prepare=prefixed,
    signature=("mobilenet_v2.conv_stem.first_conv.convolution.weight",),
    # Its code has TensorFlow's 0.997 in PyTorch's convention, and slim's share of features to keep
    # as the share to drop.
    repairs={"numerics": SLIM, "dropout": 0.2},
    records=frozenset({"padding", "epsilon", "activation"}),
)  # fmt: skip
