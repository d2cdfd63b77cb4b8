"""The layers in a Keras model's config, nested models opened, and what each of them takes.

Configs of every age are read: Keras 3 writes tensors with their history, Keras 2 lists of
[layer, node, tensor], and a Sequential model nothing, since its layers are a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import DialectError

MODELS = ("Functional", "Model", "Sequential")
INPUT = "InputLayer"
DEEPEST = 8
"""Models inside models; the usual fine-tuned one has one inside another."""
RENAMED = {f"BatchNormalization{age}": "BatchNormalization" for age in ("V1", "V2")}
"""TensorFlow 1 wrote its own class names."""
NOT_A_MODEL = "its config is not that of a functional Keras model"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that is no model itself."""

    name: str
    kind: str
    """Its class."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """The layers whose outputs it takes; empty for the input."""

    def __str__(self) -> str:
        return f"layer {self.name} ({self.kind})"


def read(config: Mapping[str, Any]) -> dict[str, Layer]:
    """Layer name -> layer, in the order in which they run; the last one gives the output.

    Raises:
        DialectError: not the config of a model, or one that is no single path of layers.
    """
    walk = _Walk()
    try:
        output = walk.open(config, None, 0)
    except (KeyError, TypeError, ValueError, IndexError):
        raise DialectError(NOT_A_MODEL) from None
    used = {name for layer in walk.found.values() for name in layer.inputs}
    unused = [name for name in walk.found if name not in used]
    if unused != [output]:
        raise DialectError(f"the outputs of {', '.join(unused)} are not used, or several are given")
    return walk.found


class _Walk:
    """One pass through the models of a config."""

    def __init__(self) -> None:
        self.found: dict[str, Layer] = {}

    def open(self, config: Mapping[str, Any], source: str | None, depth: int) -> str:
        """Note the layers of a model that ``source`` feeds; the name of the one that ends it."""
        if depth > DEEPEST:
            raise DialectError(f"models more than {DEEPEST} deep inside one another")
        body = config["config"]
        # Keras before 2.2.3 wrote a Sequential model as a bare list.
        rows = body if isinstance(body, list) else body["layers"]
        places: dict[str, str] = {}
        last = source
        for row in rows:
            kind, settings = str(row["class_name"]), row["config"]
            settings = {} if isinstance(settings, list) else dict(settings)
            name = str(settings.get("name", row.get("name", "")))
            nodes = row.get("inbound_nodes") or []
            if len(nodes) > 1:
                raise DialectError(f"layer {name} ({kind}) is used {len(nodes)} times")
            inputs = tuple(_place(places, one, name) for one in _sources(nodes))
            if kind == INPUT:
                last = self.add(Layer(name, kind, settings, ())) if source is None else source
            elif kind in MODELS:
                if len(inputs) > 1:
                    raise DialectError(f"layer {name} ({kind}) takes {len(inputs)} inputs")
                last = self.open(row, inputs[0] if inputs else last, depth + 1)
            else:
                if last is None:  # a Sequential model whose first layer says what goes in
                    last = self.add(Layer(f"{name}_input", INPUT, settings, ()))
                last = self.add(Layer(name, RENAMED.get(kind, kind), settings, inputs or (last,)))
            places[name] = last
        ends = [] if isinstance(body, list) else [*_sources(body.get("output_layers"))]
        if len(ends) > 1:
            raise DialectError(f"it has {len(ends)} outputs")
        if last is None:
            raise DialectError(NOT_A_MODEL)
        return _place(places, ends[0], "its output") if ends else last

    def add(self, layer: Layer) -> str:
        if layer.name in self.found or not layer.name:
            raise DialectError(f"two layers are named {layer.name!r}")
        if layer.kind == INPUT and self.found:
            raise DialectError("it takes more than one picture")
        self.found[layer.name] = layer
        return layer.name


def _place(places: Mapping[str, str], name: str, taker: str) -> str:
    if name not in places:
        raise DialectError(f"layer {taker} takes the output of {name}, which is not there")
    return places[name]


def _sources(value: Any, depth: int = 0) -> Iterator[str]:
    """The layers that are named in nodes of any age."""
    if depth > DEEPEST:
        raise DialectError(NOT_A_MODEL)
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield str(value["config"]["keras_history"][0])
            return
        value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield value[0]
        return
    for one in value:
        yield from _sources(one, depth + 1)
