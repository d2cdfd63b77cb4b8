"""Layers of ncnn's two files, held against those of the lowered graph.

Every parameter of the text file is read, and has to be what pnnx writes for the network. The
weights' file has to hold as many numbers, all of one kind.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.graph import INPUT, Activation, Add, Conv, Graph, Linear, Pool
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.steps import Step, require_equal
from mobilenetv2.spec.records import ModelConfig

MAGIC = "7767517"
TEXT = re.compile(rb"[\x20-\x7e\n]*")
"""Characters of a graph; others may separate words for Python and not for ncnn."""
LONGEST_WORD = 200
"""Largest number of characters of a name; ncnn reads a longer one as two."""
INTEGER = re.compile(r"0|-?[1-9]\d{0,9}")
REAL = re.compile(r"-?\d{1,3}\.\d{1,6}(e[+-]\d\d)?")
"""Forms of numbers that ncnn reads as Python does, in at most 15 characters."""
ARRAYS = -23300
"""Key of an array parameter: this number minus its own."""
ACTIVATION = {"8": ("int8", 0), "9": ("activation", 0), "10": ("bounds", ())}
CONVOLUTION: dict[str, tuple[str, Any]] = {
    "0": ("outputs", 0), "1": ("kernel width", 0), "2": ("dilation", 1), "3": ("stride", 1),
    "4": ("left padding", 0), "5": ("bias", 0), "6": ("weights", 0), **ACTIVATION,
    "11": ("kernel height", "1"), "12": ("vertical dilation", "2"), "13": ("vertical stride", "3"),
    "14": ("top padding", "4"), "15": ("right padding", "4"), "16": ("bottom padding", "14"),
}  # fmt: skip
FIELDS: dict[str, dict[str, tuple[str, Any]]] = {
    "Input": {},
    "Convolution": CONVOLUTION,
    "ConvolutionDepthWise": {**CONVOLUTION, "7": ("groups", 1)},
    "BinaryOp": {"0": ("operation", 0)},
    "Clip": {"0": ("lowest", None), "1": ("highest", None)},
    "ReLU": {"0": ("slope", "0.0")},
    "Pooling": {"0": ("kind", 0), "4": ("global", 0)},
    "InnerProduct": {"0": ("outputs", 0), "1": ("bias", 0), "2": ("weights", 0), **ACTIVATION},
}
"""Name of each parameter by its key, with ncnn's default: a value, or another key's value."""
ADD, NOTHING, RELU, CLIP = 0, 0, 1, 3
SIX = ("0.0", "6.0")
POOLS = {"max": 0, "average": 1}
MARKS = {4: b"\0\0\0\0", 2: b"\x47\x6b\x30\x01"}
"""Bytes before a layer's weights in the .bin file, by the width of a weight in bytes."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Layer of the graph, a line of the .param file."""

    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: dict[str, str]


def check(graph: bytes, weights: bytes, config: ModelConfig) -> None:
    """Raise unless two files have exactly the layers of a network, and as many weights.

    Args:
        graph: bytes of the .param file.
        weights: bytes of the .bin file.
        config: config beside the files.

    Raises:
        ArtifactError: a file is damaged, or holds another network.
    """
    wanted = steps(lower_shapes(config))
    require_equal(_steps(list(layers(graph))), wanted)
    if not any(_has_weights(weights, wanted, width) for width in MARKS):
        raise ArtifactError("its weights are not as many as the network's")


def layers(graph: bytes) -> Iterator[Layer]:
    """Yield the layers of a .param file.

    Raises:
        ArtifactError: the file is not a graph, or a layer's input is the output of no layer before.
    """
    try:
        if not TEXT.fullmatch(graph):
            raise ValueError("characters")
        magic, counts, *lines = graph.decode("ascii").splitlines()
        layer_count, blob_count = map(_integer, counts.split())
        if magic != MAGIC or len(lines) != layer_count:
            raise ValueError("its head")
        known: set[str] = set()
        for line in lines:
            kind, _, taken, given, *rest = line.split()
            middle = _integer(taken)
            end = middle + _integer(given)
            made = Layer(
                kind, tuple(rest[:middle]), tuple(rest[middle:end]),
                dict(word.split("=", 1) for word in rest[end:]),
            )  # fmt: skip
            if (
                not 0 <= middle <= end <= len(rest)
                or max(map(len, line.split())) > LONGEST_WORD
                or len(made.parameters) != len(rest) - end
                or not known.issuperset(made.takes)
                or known & set(made.gives)
                or len(set(made.gives)) != len(made.gives)
            ):
                raise ValueError(line)
            known |= set(made.gives)
            yield made
        if len(known) != blob_count:
            raise ValueError("its head")
    except ValueError as error:
        raise ArtifactError(f"not a graph of ncnn, or damaged: {str(error)[:80]}") from None


def _integer(word: str) -> int:
    if not INTEGER.fullmatch(word):
        raise ValueError(f"{word} is no number")
    return int(word)


def _steps(found: list[Layer]) -> list[Step]:
    """Return read layers as steps, without those that only give one output two names.

    Raises:
        ArtifactError: an output is used twice, which ncnn does not allow, or a parameter is
            unknown.
    """
    takes = Counter(name for layer in found for name in layer.takes)
    gives = [name for layer in found for name in layer.gives]
    unused = [name for name in gives if not takes[name]]
    if any(count > 1 for count in takes.values()) or unused != gives[-1:]:
        raise ArtifactError("an output is used twice, or never")
    numbers: dict[str, int] = {}
    made: list[Step] = []
    for layer in found:
        inputs = tuple(numbers[name] for name in layer.takes)
        if layer.kind == "Split" and len(inputs) == 1 and not layer.parameters:
            numbers |= dict.fromkeys(layer.gives, inputs[0])
            continue
        if layer.kind not in FIELDS or len(layer.gives) != 1:
            raise ArtifactError(f"it has a layer {layer.kind} with {len(layer.gives)} outputs")
        numbers[layer.gives[0]] = len(made)
        made.append(Step(layer.kind, inputs, _parameters(layer)))
    return made


def _parameters(layer: Layer) -> dict[str, Any]:
    """Return a layer's parameters by their names, all of them; real numbers as text."""
    given: dict[str, Any] = {}
    for key, text in layer.parameters.items():
        number, value = key, text.split(",")
        if key.startswith("-"):
            number, count = str(ARRAYS - int(key)) if INTEGER.fullmatch(key) else key, value.pop(0)
            if count != str(len(value)):
                raise ArtifactError(f"the layer {layer.kind} has a list of another length")
        known = number in FIELDS[layer.kind] and number not in given
        if not known or (not key.startswith("-") and len(value) != 1):
            raise ArtifactError(f"the layer {layer.kind} has an unknown parameter {key}")
        values = tuple(_value(word, layer) for word in value)
        given[number] = values if key.startswith("-") else values[0]
    complete: dict[str, Any] = {}
    for key, (_, default) in FIELDS[layer.kind].items():
        complete[key] = given.get(key, complete.get(default, default))
    return {FIELDS[layer.kind][key][0]: value for key, value in complete.items()}


def _value(word: str, layer: Layer) -> int | str:
    if INTEGER.fullmatch(word):
        return int(word)
    if REAL.fullmatch(word):
        return str(float(word))  # ncnn takes the bits of 8.0 for a whole number
    raise ArtifactError(f"the layer {layer.kind} has a parameter {word[:40]}, which is no number")


def steps(graph: Graph) -> list[Step]:
    """Return the layers that pnnx makes of a graph, without those of one output's two names."""
    made: list[Step] = []
    numbers: dict[str, int] = {}

    def add(kind: str, inputs: Iterable[int], fields: dict[str, Any]) -> int:
        made.append(Step(kind, tuple(inputs), fields))
        return len(made) - 1

    numbers[INPUT] = add("Input", (), {})
    for step in graph.operations:
        inputs = [numbers[name] for name in step.inputs]
        if isinstance(step, Conv):
            depthwise = {"groups": step.groups} if step.groups > 1 else {}
            kind = "ConvolutionDepthWise" if depthwise else "Convolution"
            last = add(kind, inputs, {**_convolution(step), **depthwise})
        elif isinstance(step, Linear):
            last = add("InnerProduct", inputs, _weighted(step))
        elif isinstance(step, Pool):
            last = add("Pooling", inputs, {"kind": POOLS[step.kind], "global": 1})
        elif isinstance(step, Add):
            last = add("BinaryOp", inputs, {"operation": ADD})
            if step.activation == "relu6":
                last = add("Clip", (last,), dict(zip(("lowest", "highest"), SIX, strict=True)))
            elif step.activation == "relu":
                last = add("ReLU", (last,), {"slope": "0.0"})
        numbers[step.output] = last
    return made


def _convolution(layer: Conv) -> dict[str, Any]:
    (top, bottom), (left, right) = layer.padding
    return {
        **_weighted(layer), "kernel width": layer.kernel, "kernel height": layer.kernel,
        "dilation": 1, "vertical dilation": 1, "stride": layer.stride,
        "vertical stride": layer.stride, "left padding": left, "right padding": right,
        "top padding": top, "bottom padding": bottom,
    }  # fmt: skip


def _weighted(layer: Conv | Linear) -> dict[str, Any]:
    activations: dict[Activation, int] = {None: NOTHING, "relu": RELU, "relu6": CLIP}
    weights = 1
    for side in layer.weight.shape:
        weights *= side
    return {
        "outputs": layer.weight.shape[0], "bias": int(layer.bias is not None), "weights": weights,
        "int8": 0, "activation": activations[layer.activation],
        "bounds": SIX if layer.activation == "relu6" else (),
    }  # fmt: skip


def _has_weights(data: bytes, expected: list[Step], width: int) -> bool:
    """Return True if a .bin file has the weights of all layers, each of ``width`` bytes.

    A layer is a mark, its weights in whole words, and a float32 bias for each output.
    """
    at = 0
    for step in expected:
        if "weights" in step.numbers:
            if data[at : at + 4] != MARKS[width]:
                return False
            at += 4 + (step.numbers["weights"] * width + 3) // 4 * 4
            at += 4 * step.numbers["bias"] * step.numbers["outputs"]
    return at == len(data)
