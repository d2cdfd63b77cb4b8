"""Layers of a Keras model, from the config in a ``.keras``, ``.h5`` or ``model.json`` file.

Configs of all Keras versions are read: Keras 3 writes tensors with their history, Keras 2 lists of
[layer, node, tensor], and a Sequential model neither, since its layers form a row. Nested models
are followed, too.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobilenetv2.checkpoints.graphs.chain import Pads
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import Size

MODELS = ("Functional", "Model", "Sequential")
INPUT = "InputLayer"
DEEPEST = 8
"""Maximum depth of nested models; a typical fine-tuned model has one inside another."""
RENAMED = {f"BatchNormalization{age}": "BatchNormalization" for age in ("V1", "V2")}
"""Class names by the names that TensorFlow 1 wrote."""
NOT_A_MODEL = "its config is not that of a functional Keras model"
UNBIASED = "UnbiasedBatchNormalization"
"""Name of the class in :mod:`mobilenetv2.editions.keras.network`."""
LAST: dict[str, Sequence[Any]] = {"data_format": ("channels_last",)}
PLAIN: dict[str, Sequence[Any]] = {
    **LAST, "dilation_rate": (1, [1, 1]), "groups": (1,), "activation": ("linear",),
}  # fmt: skip
NORM: dict[str, Sequence[Any]] = {
    "axis": (-1, 3, [-1], [3]), "center": (True,), "scale": (True,),
}  # fmt: skip
ALLOWED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "InputLayer": {},
    "Conv2D": PLAIN,
    "DepthwiseConv2D": {**PLAIN, "depth_multiplier": (1,)},
    "BatchNormalization": NORM,
    UNBIASED: NORM,
    "ReLU": {"negative_slope": (0,), "threshold": (0,)},
    "Activation": {"activation": ("relu6", "relu", "linear")},
    "ZeroPadding2D": LAST,
    "Add": {},
}
"""Allowed values of settings by class of a layer in the body.

Keras's default is among them and may be absent.
"""
LARGEST = 10_000_000


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that is not a model.

    Its methods return a setting, or raise a DialectError that names the layer and the setting's
    value.
    """

    name: str
    kind: str
    """Name of the layer's class."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it takes; empty for the input."""
    operands: tuple[Any, ...] = ()
    """Tensors, by name, and constants that it takes, in order; an operation may have constants."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Constants that it takes by name."""
    path: tuple[str, ...] = ()
    """Names of the models that it is in, from the outermost one, and its own."""
    stored: str = ""
    """Place of its variables in a file of Keras 3, such as 'layers/functional/layers/conv2d_3'."""

    def __str__(self) -> str:
        return f"layer {self.name} ({self.kind})"

    def require_allowed(self) -> None:
        """Raise unless the layer's class and settings are MobileNetV2's."""
        allowed = ALLOWED.get(self.kind)
        if allowed is None:
            raise DialectError(f"{self}: MobileNetV2 has no layer of this class")
        for name, values in allowed.items():
            value = plain(self.settings.get(name))
            if value is not None and value not in values:
                expected = " or ".join(repr(one) for one in values)
                raise DialectError(f"{self} has {name} {value!r}; MobileNetV2 has {expected}")

    def number(self, name: str, default: float) -> float:
        """Return a setting that is a number."""
        return self.per_channel(name, default, 1)[0]

    def per_channel(self, name: str, default: float, channels: int) -> tuple[float, ...]:
        """Return a setting that is one number, or one for each channel."""
        value = plain(self.settings.get(name))
        values = value if isinstance(value, list) else [default if value is None else value]
        try:
            numbers = tuple(float(one) for one in values if type(one) in (int, float))
        except OverflowError:  # whole numbers in JSON have any length
            numbers = ()
        if len(numbers) != len(values) or len(numbers) not in (1, channels):
            wanted = "a number" if channels == 1 else f"a number, or {channels}"
            raise DialectError(f"{self} has {name} {str(value)[:80]}, which is not {wanted}")
        return numbers * (channels // len(numbers))

    def count(self, name: str) -> int:
        """Return a setting that is a number of channels."""
        value = self.settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise DialectError(f"{self} has {name} {value!r}")
        return value

    def side(self, name: str, most: int) -> int:
        """Return a setting that is the same in height and width, from 1 to ``most``."""
        value = self.settings.get(name, 1)
        for one in range(1, most + 1):
            if value == one or value == [one, one]:
                return one
        raise DialectError(f"{self} has {name} {value}")

    def zeros(self) -> Pads:
        """Return the zeros of a ZeroPadding2D: n, [n, m] or [[a, b], [c, d]] in Keras."""
        value = self.settings.get("padding", 1)
        pair = value if isinstance(value, list) else [value, value]
        rows = [one if isinstance(one, list) else [one, one] for one in pair]
        flat = [one for row in rows for one in row]
        whole = all(isinstance(one, int) and 0 <= one <= 8 for one in flat)
        if [len(row) for row in rows] != [2, 2] or not whole:
            raise DialectError(f"{self} has padding {value!r}")
        return (flat[0], flat[1]), (flat[2], flat[3])

    def picture(self) -> tuple[Size | None, int]:
        """Return (size, channels) of an InputLayer; the size is None if it is not fixed."""
        shape = self.settings.get("batch_shape") or self.settings.get("batch_input_shape")
        *sides, channels = shape[1:] if isinstance(shape, list) and len(shape) == 4 else (0,)
        known = [side for side in sides if side is not None]
        if not all(isinstance(one, int) and 1 <= one <= LARGEST for one in (*known, channels)):
            raise DialectError(
                f"{self} takes {shape!r}, not images (batch, height, width, channels)"
            )
        if not known:
            return None, channels
        height, width = (known[0] if one is None else one for one in sides)
        return (height, width), channels


def plain(value: Any) -> Any:
    """Return a setting; Keras 2 and 3 wrap NumPy's numbers in a table."""
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        return value.get("value")
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        held = value.get("config")
        return held.get("value") if isinstance(held, Mapping) else None
    return value


def snake_case(name: str) -> str:
    """Return a class's name as Keras 3 writes it in paths: 'ReLU' as 're_lu'."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def layers_of(config: Mapping[str, Any]) -> dict[str, Layer]:
    """Return the layers by name, in the order in which they run; the last one is the output.

    The name of a layer in a nested model begins with the model's if another layer has the same.

    Raises:
        DialectError: the config is not a functional model's, or has other outputs.
    """
    walk = _LayerCollector()
    try:
        output = walk.open(config, None, ())
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise DialectError(NOT_A_MODEL) from None
    used = {name for layer in walk.found.values() for name in layer.inputs}
    unused = [name for name in walk.found if name not in used]
    if unused != [output]:
        raise DialectError(f"the outputs of {', '.join(unused)} are not used, or several are given")
    return walk.found


class _LayerCollector:
    """Collector of the layers of a model and of the models nested in it."""

    def __init__(self) -> None:
        self.found: dict[str, Layer] = {}

    def open(
        self, config: Mapping[str, Any], source: str | None, path: tuple[str, ...], stored: str = ""
    ) -> str:
        """Add the layers of a model that ``source`` feeds, and return the last one's name."""
        if len(path) > DEEPEST:
            raise DialectError(f"models more than {DEEPEST} deep inside one another")
        body = config["config"]
        # Keras before 2.2.3 wrote a Sequential model as a bare list.
        rows = body if isinstance(body, list) else body["layers"]
        places: dict[str, str] = {}
        counts: Counter[str] = Counter()
        last = source
        for row in rows:
            kind, settings = str(row["class_name"]), row["config"]
            settings = {} if isinstance(settings, list) else dict(settings)
            name = str(settings.get("name", row.get("name", "")))
            nodes = row.get("inbound_nodes") or []
            if len(nodes) > 1:
                raise DialectError(f"layer {name} ({kind}) is used {len(nodes)} times")
            operands, options = _operands(nodes)
            operands = [_place(places, x, name) if isinstance(x, Source) else x for x in operands]
            inputs = tuple(str(one) for one in operands if isinstance(one, Source))
            word = snake_case(kind)
            folder = f"{stored}layers/{word}" + (f"_{counts[word]}" if counts[word] else "")
            counts[word] += 1
            inner = (*path, name)
            if kind == INPUT:
                last = self.add(Layer(name, kind, settings, ())) if source is None else source
            elif kind in MODELS:
                if len(inputs) > 1:
                    raise DialectError(f"layer {name} ({kind}) takes {len(inputs)} inputs")
                last = self.open(row, inputs[0] if inputs else last, inner, f"{folder}/")
            else:
                if last is None:  # a Sequential model whose first layer has the input's shape
                    last = self.add(Layer(f"{name}_input", INPUT, settings, ()))
                kind, given = RENAMED.get(kind, kind), inputs or (last,)
                operands = operands or [Source(last)]
                last = self.add(
                    Layer(name, kind, settings, given, tuple(operands), options, inner, folder)
                )
            places[name] = last
        ends = [] if isinstance(body, list) else [*_sources(body.get("output_layers"))]
        if len(ends) > 1:
            raise DialectError(f"it has {len(ends)} outputs")
        if last is None:
            raise DialectError(NOT_A_MODEL)
        return _place(places, ends[0], "its output") if ends else last

    def add(self, layer: Layer) -> str:
        if layer.name in self.found and len(layer.path) > 1:
            layer = dataclasses.replace(layer, name="/".join(layer.path))
        if layer.name in self.found or not layer.name:
            raise DialectError(f"two layers are named {layer.name!r}")
        if layer.kind == INPUT and self.found:
            raise DialectError("it takes more than one image")
        self.found[layer.name] = layer
        return layer.name


class Source(str):
    """Name of a layer whose output is taken, unlike a constant that is a text."""

    __slots__ = ()


def _place(places: Mapping[str, str], name: str, taker: str) -> Source:
    if name not in places:
        raise DialectError(f"layer {taker} takes the output of {name}, which does not exist")
    return Source(places[name])


def _sources(value: Any) -> Iterator[str]:
    """Yield the names of the layers in a list of nodes, in the form of any Keras version."""
    return (one for one in _flat(value, {}) if isinstance(one, Source))


def _operands(nodes: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return what a layer takes, in order, and its constants by name."""
    options: dict[str, Any] = {}
    return list(_flat(nodes, options)), options


def _flat(value: Any, options: dict[str, Any], depth: int = 0) -> Iterator[Any]:
    """Yield tensors, as :class:`Source`, and constants; put those with a name into ``options``."""
    if depth > DEEPEST:
        raise DialectError(NOT_A_MODEL)
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield Source(value["config"]["keras_history"][0])
        elif "args" in value:  # a node of Keras 3
            yield from _flat(value["args"], options, depth + 1)
            yield from _named(value.get("kwargs"), options, depth + 1)
        elif "class_name" in value or "config" in value:
            yield value
        else:
            yield from _flat([*value.values()], options, depth + 1)
    elif not isinstance(value, list):
        yield value
    elif len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield value[2] if value[0] == "_CONSTANT_VALUE" else Source(value[0])
        yield from _named(value[3] if len(value) > 3 else None, options, depth + 1)
    elif value and all(isinstance(one, int | float) for one in value):
        yield value
    else:
        for one in value:
            yield from _flat(one, options, depth + 1)


def _named(value: Any, options: dict[str, Any], depth: int) -> Iterator[Any]:
    """Yield the tensors among named arguments, and put the constants into ``options``."""
    for name, one in (value or {}).items():
        found = [*_flat(one, {}, depth)]
        if any(isinstance(x, Source) for x in found):
            yield from found
        else:
            options[name] = one
