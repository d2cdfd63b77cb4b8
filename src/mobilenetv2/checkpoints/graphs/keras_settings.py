"""What a Keras layer may be set to in a MobileNetV2; everything else is refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenetv2.checkpoints.graphs.chain import Pads
from mobilenetv2.checkpoints.graphs.keras_layers import Layer
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size

UNBIASED = "UnbiasedBatchNormalization"
"""Of :mod:`mobilenetv2.editions.keras.network`."""
LAST: dict[str, Sequence[Any]] = {"data_format": ("channels_last",)}
PLAIN: dict[str, Sequence[Any]] = {
    **LAST, "dilation_rate": (1, [1, 1]), "groups": (1,), "activation": ("linear",),
}  # fmt: skip
NORM: dict[str, Sequence[Any]] = {
    "axis": (-1, 3, [-1], [3]), "center": (True,), "scale": (True,),
}  # fmt: skip
ALLOWED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "InputLayer": {},
    "Rescaling": {},
    "Conv2D": PLAIN,
    "DepthwiseConv2D": {**PLAIN, "depth_multiplier": (1,)},
    "BatchNormalization": NORM,
    UNBIASED: NORM,
    "ReLU": {"negative_slope": (0,), "threshold": (0,)},
    "Activation": {"activation": ("relu6", "relu", "linear", "softmax")},
    "ZeroPadding2D": LAST,
    "Add": {},
    "GlobalAveragePooling2D": {**LAST, "keepdims": (False,)},
    "Dropout": {},
    "Dense": {"activation": ("linear", "softmax"), "use_bias": (True,)},
}
"""Class -> setting -> values; an absent setting is Keras's default, which is among them."""
LARGEST = 10_000_000


def check(layer: Layer) -> None:
    """Raise unless the layer's class and settings are MobileNetV2's.

    Raises:
        DialectError: with the layer, its class and the setting.
    """
    allowed = ALLOWED.get(layer.kind)
    if allowed is None:
        raise DialectError(f"{layer}: MobileNetV2 has no layer of this class")
    for name, values in allowed.items():
        value = plain(layer.settings.get(name))
        if value is not None and value not in values:
            expected = " or ".join(repr(one) for one in values)
            raise DialectError(f"{layer} has {name} {value!r}; MobileNetV2 has {expected}")


def plain(value: Any) -> Any:
    """A setting without the wrapping that Keras 2 gave to NumPy's numbers."""
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        return value.get("value")
    return value


def number(layer: Layer, name: str, default: float) -> float:
    """A setting that is a number.

    Raises:
        DialectError: it is none.
    """
    return per_channel(layer, name, default, 1)[0]


def per_channel(layer: Layer, name: str, default: float, channels: int) -> tuple[float, ...]:
    """A setting that is one number, or one for each channel.

    Raises:
        DialectError: neither.
    """
    value = plain(layer.settings.get(name))
    values = value if isinstance(value, list) else [default if value is None else value]
    try:
        numbers = tuple(float(one) for one in values if type(one) in (int, float))
    except OverflowError:  # JSON has whole numbers of any length
        numbers = ()
    if len(numbers) != len(values) or len(numbers) not in (1, channels):
        wanted = "a number" if channels == 1 else f"a number, or {channels}"
        raise DialectError(f"{layer} has {name} {str(value)[:80]}, which is not {wanted}")
    return numbers * (channels // len(numbers))


def count(layer: Layer, name: str) -> int:
    """A setting that is a number of channels.

    Raises:
        DialectError: it is none.
    """
    value = layer.settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise DialectError(f"{layer} has {name} {value!r}")
    return value


def side(layer: Layer, name: str, most: int) -> int:
    """A setting that is the same in height and width, from 1 to ``most``.

    Raises:
        DialectError: it is not.
    """
    value = layer.settings.get(name, 1)
    for one in range(1, most + 1):
        if value == one or value == [one, one]:
            return one
    raise DialectError(f"{layer} has {name} {value}")


def zeros(layer: Layer) -> Pads:
    """What a ZeroPadding2D puts around, as Keras lets it be written: n, [n, m], [[a, b], [c, d]].

    Raises:
        DialectError: something else.
    """
    value = layer.settings.get("padding", 1)
    pair = value if isinstance(value, list) else [value, value]
    rows = [one if isinstance(one, list) else [one, one] for one in pair]
    flat = [one for row in rows for one in row]
    whole = all(isinstance(one, int) and 0 <= one <= 8 for one in flat)
    if [len(row) for row in rows] != [2, 2] or not whole:
        raise DialectError(f"{layer} has padding {value!r}")
    return (flat[0], flat[1]), (flat[2], flat[3])


def picture(layer: Layer) -> tuple[Size | None, int]:
    """(height and width, channels) that an InputLayer takes; None where both sides are open.

    Raises:
        DialectError: no pictures.
    """
    old = layer.settings.get("batch_input_shape")
    shape = layer.settings.get("batch_shape") or old
    if not isinstance(shape, list) or len(shape) != 4:
        raise DialectError(
            f"{layer} takes {shape!r}, not pictures (batch, height, width, channels)"
        )
    *sides, channels = shape[1:]
    known = [side for side in sides if side is not None]
    if not all(isinstance(one, int) and 1 <= one <= LARGEST for one in (*known, channels)):
        raise DialectError(
            f"{layer} takes {shape!r}, not pictures (batch, height, width, channels)"
        )
    if not known:
        return None, channels
    height, width = (known[0] if one is None else one for one in sides)
    return (height, width), channels
