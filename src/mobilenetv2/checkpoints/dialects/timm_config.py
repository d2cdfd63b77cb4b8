"""timm's ``config.json`` on the model hub: what it says of a network."""

from collections.abc import Mapping
from typing import Any, get_args

from mobilenetv2.checkpoints.dialects.description import Description, field, numbers
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Interpolation, Labels, Preprocessing


def describe(config: Mapping[str, Any]) -> Description:
    """Preprocessing, labels and licence.

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
    record = Preprocessing(
        size, resize, interpolation=interpolation,
        mean=_to_255(published, "mean"), std=_to_255(published, "std"),
    )  # fmt: skip
    names = field(config, "label_names", list, None) or field(published, "label_names", list, None)
    labels = Labels(tuple(map(str, names))) if names else None
    return Description(None, record, labels, field(published, "license", str, None))


def _to_255(config: Mapping[str, Any], name: str) -> tuple[float, ...]:
    return tuple(round(255 * one, 6) for one in numbers(config.get(name, [0.5] * 3), name))
