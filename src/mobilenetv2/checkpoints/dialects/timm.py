"""timm's mobilenetv2_*: a block's place is its stage and its repeat.

``config.json`` on the model hub says preprocessing, labels and licence.
"""

from collections.abc import Mapping
from typing import Any, get_args

from mobilenetv2.checkpoints.dialects.dialect import Description, KeyTable, field, numbers
from mobilenetv2.checkpoints.dialects.tensors import TensorDialect
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Interpolation, Labels, Preprocessing

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


def describe(config: Mapping[str, Any]) -> Description:
    """Return the preprocessing, labels and licence in a ``config.json``.

    Raises:
        DialectError: another architecture, or a value of the wrong type.
    """
    name = field(config, "architecture", str, "")
    if not name.startswith("mobilenetv2"):
        raise DialectError(f"config.json: architecture {name!r} is not a MobileNetV2")
    published = field(config, "pretrained_cfg", dict, {})
    shape = field(published, "input_size", list, [3, 224, 224])
    if len(shape) != 3 or not all(isinstance(side, int) for side in shape):
        raise DialectError(f"config.json: input_size = {shape!r} is not (channels, height, width)")
    size: Size = (shape[1], shape[2])
    share = float(field(published, "crop_pct", float, 0.875))
    interpolation = field(published, "interpolation", str, "bicubic")
    if interpolation not in get_args(Interpolation) or not 0 < share <= 1:
        raise DialectError(f"config.json: crop_pct {share}, interpolation {interpolation!r}")
    # floor, as timm's own transform has it
    resize = (int(size[0] / share), int(size[1] / share))
    mean, std = (
        tuple(round(255 * one, 6) for one in numbers(published.get(name, [0.5] * 3), name))
        for name in ("mean", "std")
    )
    record = Preprocessing(size, resize, interpolation=interpolation, mean=mean, std=std)
    names = field(config, "label_names", list, None) or field(published, "label_names", list, None)
    labels = Labels(tuple(map(str, names))) if names else None
    licence = field(published, "license", str, None)
    return Description(preprocessing=record, labels=labels, licence=licence)


DIALECT = TensorDialect(
    "timm", ("timm", "timm-110d", "timm-120d"), TABLE,
    signature=("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pwl.weight"),
    configs=("config.json",), describe=describe,
)  # fmt: skip
