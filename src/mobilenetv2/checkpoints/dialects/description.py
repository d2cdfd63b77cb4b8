"""What a checkpoint says of its network beside the tensors: a config file, a model's own config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import Labels, Preprocessing


@dataclass(frozen=True, slots=True)
class Description:
    """Each None where the file does not say."""

    spec: NetworkSpec | None = None
    """All of it but the classes and input channels, which the tensors say."""
    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    licence: str | None = None


def field(config: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """``config[name]``, or the default where it is absent or null.

    Raises:
        DialectError: a value of another type.
    """
    value = config.get(name)
    if value is None:
        return default
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, kind) or number):
        raise DialectError(f"config.json: {name} = {value!r} is not of the type that belongs there")
    return value


def sides(value: Any, name: str) -> Size:
    """A side or (height, width), as config files have them.

    Raises:
        DialectError: neither.
    """
    pair = [value, value] if isinstance(value, int) else value
    if isinstance(pair, Mapping) and {"height", "width"} <= pair.keys():
        pair = [pair["height"], pair["width"]]
    if (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in pair)
    ):
        return (pair[0], pair[1])
    raise DialectError(f"{name} = {value!r} is neither a side nor a height and a width in pixels")


def numbers(value: Any, name: str) -> tuple[float, ...]:
    """One number for each channel.

    Raises:
        DialectError: anything else.
    """
    values = [value] if isinstance(value, int | float) else value
    if isinstance(values, Sequence) and all(isinstance(one, int | float) for one in values):
        return tuple(float(one) for one in values)
    raise DialectError(f"{name} = {value!r} is not a list of numbers")
