"""Engine OpenVINO, Intel's runtime for its own and other processors (extra: openvino).

Its files are ``NAME.xml`` with the graph and ``NAME.bin`` beside it. The .xml is read as a stream,
without building a tree. It ends with a comment that seals both files.
"""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, XMLParser

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.graph.graph import INPUT, LOGITS, MAP, Add, Conv, Linear, Pool
from mobilenetv2.graph.lowering import SIX, lower_shapes
from mobilenetv2.model import seal
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    Engine,
    Output,
    Program,
    another_network,
    cannot_run,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.records import ModelConfig

CONFIG = ("mobilenetv2", "config")
"""Place of the config in the file's ``rt_info``."""
BEGIN, END = b"<!-- mobilenetv2.sha256 ", b"-->\n"
"""Text before and after the seal."""
LARGEST_XML = 32 * 1024**2
"""Limit in bytes. A float file of 1,000 classes has 0.3 MB, an int8 file 0.5 MB."""
PICTURES = "u8"
WIDTHS = {"f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i8": 1, "u8": 1}
"""Bytes of a value by the type's name."""
POOLS = {"ReduceMean": "average", "ReduceMax": "max"}
SHIFTS = {"Add", "Subtract", "Multiply", "Divide", "FakeQuantize"}
KINDS = {
    "Parameter", "Const", "Convolution", "GroupConvolution", "MatMul", "Clamp", "ReLU", "Convert",
    "Transpose", "Reshape", *POOLS, *SHIFTS,
}  # fmt: skip
"""Types of the layers that an export has, beside its results."""


def read_artifact(path: Path) -> Artifact:
    """Read the graph, its weights and the config inside it."""
    xml = read_bounded(path, LARGEST_XML)
    found = _scan(xml, path)
    config = embedded_config(found.config, path)
    weights = read_bounded(_weights_of(path))
    seal.check(xml, str(path), weights, end=END)
    height, width, channels = (*config.spec.size, config.spec.input_channels)
    (kind, shape), *others = found.inputs
    wanted = (height, width, channels) if kind == PICTURES else (channels, height, width)
    sides = shape.split(",")[1:]
    # '?' is a side of any length.
    fits = [side in ("?", str(size)) for side, size in zip(sides, wanted, strict=False)]
    if others or len(sides) != len(wanted) or not all(fits):
        shapes = " and ".join(shape for _, shape in found.inputs)
        raise another_network(path, config, f"takes {shapes}")
    try:
        reason = _Trace(found, weights, config).difference()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        reason = f"a layer that no export has ({error})"
    if reason:
        raise another_network(path, config, f"has {reason}")
    return Artifact(config, "openvino", xml, str(path), weights)


def sealed(xml: bytes, weights: bytes) -> bytes:
    """Return an .xml file's bytes with the seal at the end."""
    body = xml + BEGIN
    return body + seal.digest(body, weights).encode() + END


def _weights_of(path: Path) -> Path:
    """Return the path of the .bin file in the same folder."""
    beside = path.with_suffix(".bin")
    if not beside.is_file():
        raise ArtifactError(f"{path}: its weights are missing; copy {beside.name} beside it")
    if beside.resolve().parent != path.resolve().parent:
        raise ArtifactError(f"{beside}: it is a link out of its folder; copy the file itself there")
    return beside


@dataclass(slots=True)
class _Layer:
    """Layer of the graph."""

    kind: str
    number: str
    version: str
    data: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    """Input ports, in order."""
    names: list[str] = field(default_factory=list)
    """Names of the output tensors."""
    outputs: int = 0


class _Scan:
    """Parser target that collects the needed parts of an .xml file."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.kind = ""
        self.inputs: list[tuple[str, str]] = []
        """Data type and shape of each input."""
        self.config: str | None = None
        self.version = ""
        self.layers: list[_Layer] = []
        self.edges: dict[tuple[str, str], str] = {}
        """Layer that feeds a port, by the layer of the port and the port."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        if self.path == ["net"]:
            self.version = attributes.get("version", "")
        elif len(self.path) == 2 and tag not in ("layers", "edges", "rt_info"):
            raise ParseError(f"an element {tag!r}")
        elif self.path == ["net", "layers", "layer"]:
            self.kind = attributes.get("type", "")
            self.layers.append(_Layer(self.kind, attributes["id"], attributes.get("version", "")))
        elif self.path == ["net", "layers", "layer", "data"]:
            self.layers[-1].data.update(attributes)
            if self.kind == "Parameter":
                given = attributes.get("element_type", ""), attributes.get("shape", "")
                self.inputs.append(given)
        elif self.path == ["net", "layers", "layer", "input", "port"]:
            self.layers[-1].ports.append(attributes["id"])
        elif self.path == ["net", "layers", "layer", "output", "port"]:
            self.layers[-1].names += attributes.get("names", "").split(",")
            self.layers[-1].outputs += 1
        elif self.path == ["net", "edges", "edge"]:
            taker = attributes["to-layer"], attributes["to-port"]
            if taker in self.edges:
                raise ParseError(f"two edges to port {taker[1]} of layer {taker[0]}")
            self.edges[taker] = attributes["from-layer"]
        elif self.path == ["net", "rt_info", *CONFIG]:
            self.config = attributes.get("value")

    def end(self, tag: str) -> None:
        self.path.pop()

    def doctype(self, *_: Any) -> None:
        # A document type can define entities, which grow without bound.
        raise ParseError("a document type")

    def close(self) -> None:
        pass


def _scan(xml: bytes, path: Path) -> _Scan:
    found = _Scan()
    parser = XMLParser(target=found)
    try:
        parser.feed(xml)
        parser.close()
    except (ParseError, ValueError, LookupError) as error:  # an encoding, a missing attribute
        raise ArtifactError(f"{path}: not an OpenVINO file, or damaged ({error})") from None
    if not found.inputs:
        raise ArtifactError(f"{path}: not an OpenVINO file (it has no input)")
    return found


Value = tuple[int, ...] | int
"""Shape of a constant, or number of a tensor of the network."""


class _Trace:
    """Comparison of a graph with the network of its config.

    OpenVINO's own passes choose the operators: they fold divisions into weights, and differ from
    version to version. So both sides are traced from the input, and every tensor gets a number that
    stands for what computes it: equal numbers are equal networks. A shift or a factor for each
    channel is a number of the weights, and so is a quantisation, which may hold an activation.
    """

    def __init__(self, found: _Scan, weights: bytes, config: ModelConfig) -> None:
        self.found, self.weights = found, weights
        self.graph = lower_shapes(config)
        self.quantised = any(layer.kind == "FakeQuantize" for layer in found.layers)
        self._numbers: dict[tuple[object, ...], int] = {}
        self._values: dict[str, Value] = {}
        self._small: dict[str, tuple[int, ...]] = {}
        """Values of short integer constants, by layer."""
        self._channels: dict[int, int] = {}
        """Channels of each tensor, by number."""
        self._linear: set[int] = set()
        """Numbers of the tensors that linear layers give."""

    def difference(self) -> str:
        """Return what differs from the config's network, in words; '' if nothing does.

        Raises:
            KeyError, ValueError, TypeError, IndexError: a layer is damaged.
        """
        if self.found.version != "11":
            return f"version {self.found.version!r}"
        expected, ends = self._expected(), []
        for layer in self.found.layers:
            given = [self.found.edges[layer.number, port] for port in layer.ports]
            if layer.number in self._values or not layer.version.startswith("opset"):
                return f"a layer {layer.kind} that is not its own"
            if layer.kind == "Result":
                ends += given
            else:
                self._values[layer.number] = self._value(layer, given)
        outputs = {layer.number: layer.names for layer in self.found.layers}
        for number in ends:
            names = [name for name in outputs[number] if name in expected]
            if not names or any(expected[name] != self._values[number] for name in names):
                return f"another network before its output {', '.join(outputs[number])}"
        return "" if any(LOGITS in outputs[number] for number in ends) else f"no output {LOGITS}"

    def _number(self, channels: int, *what: object) -> int:
        made = self._numbers.setdefault(what, len(self._numbers))
        self._channels[made] = channels
        return made

    def _expected(self) -> dict[str, int]:
        """Return the number of each tensor of the config's network, by its name."""
        tensors = self.graph.tensors
        made = {INPUT: self._number(tensors[INPUT].channels, INPUT)}
        for op in self.graph.operations:
            count = tensors[op.output].channels
            if isinstance(op, Conv):
                (top, bottom), (left, right) = op.padding
                what: tuple[object, ...] = (
                    "conv", made[op.input], op.weight.shape, (op.stride,) * 2, (top, left),
                    (bottom, right),
                )  # fmt: skip
            elif isinstance(op, Linear):
                what = ("linear", made[op.input], op.weight.shape)
            elif isinstance(op, Add):
                what = ("add", *sorted(made[name] for name in op.inputs))
            else:
                assert isinstance(op, Pool)
                what = (op.kind, made[op.input])
            made[op.output] = self._number(count, *what)
            activation = None if isinstance(op, Pool) else op.activation
            if activation is not None and not self.quantised:
                made[op.output] = self._number(count, activation, made[op.output])
        return made | {MAP: made[self.graph.last_map]}

    def _value(self, layer: _Layer, given: list[str]) -> Value:
        """Return the number or the shape that a layer gives."""
        values = [self._values[number] for number in given]
        first = values[0] if values else ()
        if layer.outputs != 1 or layer.kind not in KINDS:
            raise ValueError(layer.kind)
        if layer.kind == "Parameter":
            return self._number(self.graph.tensors[INPUT].channels, INPUT)
        if layer.kind == "Const":
            return self._constant(layer)
        if isinstance(first, tuple):
            return self._folded(layer, given, values)
        if layer.kind in SHIFTS:
            return self._shifted(layer, first, values[1:])
        if layer.kind in ("Convolution", "GroupConvolution"):
            return self._convolution(layer, first, values[1])
        if layer.kind == "MatMul":
            shape, data = values[1], layer.data
            if data.get("transpose_a") != "false" or not isinstance(shape, tuple):
                raise ValueError("MatMul")
            shape = shape if data["transpose_b"] == "true" else shape[::-1]
            rows, columns = shape
            made = self._number(rows, "linear", first, (rows, columns))
            self._linear.add(made)
            return made
        if layer.kind in ("Clamp", "ReLU"):
            if layer.kind == "Clamp" and (float(layer.data["min"]), float(layer.data["max"])) != (
                0, SIX
            ):  # fmt: skip
                raise ValueError("another bound of an activation")
            return first if self.quantised else self._activated(layer.kind, first)
        if layer.kind in POOLS:
            if self._small[given[1]] != (2, 3):
                raise ValueError("another pooling")
            return self._number(self._channels[first], POOLS[layer.kind], first)
        if layer.kind == "Convert" and layer.data["destination_type"] == "f32":
            return first
        if layer.kind == "Transpose" and self._small[given[1]] == (0, 3, 1, 2) and first == 0:
            return first
        pooled = {self._numbers[what] for what in self._numbers if what[0] in POOLS.values()}
        if layer.kind == "Reshape" and first in pooled and len(self._small[given[1]]) == 2:
            return first
        raise ValueError(layer.kind)

    def _activated(self, kind: str, first: int) -> int:
        name = {"Clamp": "relu6", "ReLU": "relu"}[kind]
        made = self._number(self._channels[first], name, first)
        self._linear |= {made} if first in self._linear else set()
        return made

    def _constant(self, layer: _Layer) -> Value:
        """Return the shape of a constant that lies in the weights."""
        shape = _integers(layer.data["shape"])
        offset, size, kind = (layer.data[key] for key in ("offset", "size", "element_type"))
        start, length = int(offset), int(size)
        fits = 0 <= start <= start + length <= len(self.weights)
        if not fits or any(side < 0 for side in shape) or length != prod(shape) * WIDTHS[kind]:
            raise ValueError("Const")
        if kind == "i64" and length <= 64:
            piece = self.weights[start : start + length]
            self._small[layer.number] = tuple(np.frombuffer(piece, "<i8").tolist())
        return shape

    def _folded(self, layer: _Layer, given: list[str], values: list[Value]) -> Value:
        """Return the shape of an operator on constants, which never has more values than before."""
        shapes = [value for value in values if isinstance(value, tuple)]
        if len(shapes) != len(values):
            raise ValueError(layer.kind)
        shape = shapes[0]
        if layer.kind == "Reshape":
            target = self._small[given[1]]
            if prod(target) != prod(shape) or any(side < 1 for side in target):
                raise ValueError("Reshape")
            return target
        if layer.kind not in SHIFTS and layer.kind != "Convert":
            raise ValueError(layer.kind)
        if any(np.broadcast_shapes(shape, other) != shape for other in shapes[1:]):
            raise ValueError(layer.kind)
        return shape

    def _shifted(self, layer: _Layer, first: int, others: list[Value]) -> Value:
        """Return the number of a sum, or of a tensor with a number for each channel."""
        if layer.kind == "Add" and len(others) == 1 and isinstance(others[0], int):
            pair = sorted((first, others[0]))
            return self._number(self._channels[first], "add", *pair)
        for shape in others:
            if not isinstance(shape, tuple) or prod(shape) not in (1, self._channels[first]):
                raise ValueError(layer.kind)
            # Channels are the second of four sides; behind a linear layer, the last.
            flat = first in self._linear and len(shape) < 3 and shape[-1:] == (prod(shape),)
            if prod(shape) > 1 and not flat and shape != (1, prod(shape), 1, 1):
                raise ValueError(layer.kind)
        return first

    def _convolution(self, layer: _Layer, first: int, shape: Value) -> Value:
        data = layer.data
        pads = _integers(data["pads_begin"]), _integers(data["pads_end"])
        if data["auto_pad"] != "explicit" or _integers(data["dilations"]) != (1, 1):
            raise ValueError(layer.kind)
        if not isinstance(shape, tuple):
            raise ValueError(layer.kind)
        if layer.kind == "GroupConvolution":
            groups, *kernel = shape
            if self._channels[first] != groups:
                raise ValueError(layer.kind)
            shape = (groups * kernel[0], *kernel[1:])
        elif self._channels[first] != shape[1]:
            raise ValueError(layer.kind)
        return self._number(shape[0], "conv", first, shape, _integers(data["strides"]), *pads)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word.strip())


class OpenVino(Engine):
    """Engine for OpenVINO files."""

    title = "OpenVINO"

    def __init__(self, compiled: Any, where: str) -> None:
        super().__init__(where)
        openvino = require("openvino")
        self._tensor = openvino.Tensor
        (given,) = compiled.inputs
        self.takes_pictures = given.get_element_type() == openvino.Type.u8
        self.dtype = np.dtype(given.get_element_type().to_dtype())
        batch = given.get_partial_shape()[0]
        self.batch = batch.get_length() if batch.is_static else None
        self.outputs = tuple(_name(output) for output in compiled.outputs)
        self._compiled, self._requests = compiled, [compiled.create_infer_request()]

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        return self.answer(x, output)

    def answer(self, x: NDArray, output: str) -> NDArray:
        """Compute an output by its name in the graph."""
        given = self._tensor(np.ascontiguousarray(x), shared_memory=True)
        try:  # a request serves one thread at a time: its next run overwrites its outputs
            request = self._requests.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer({0: given})
            return np.array(request.get_tensor(output).data, np.float32)
        except RuntimeError as error:
            raise self.failure(reason(error)) from None
        finally:
            self._requests.append(request)


def computes_bfloat16() -> bool:
    """Return True if OpenVINO computes in bfloat16 on this processor faster than in float32."""
    core = require("openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def create_engine(
    artifact: Program, threads: int | None = None, callers: int = 1, precision: str = "float32"
) -> OpenVino:
    """Compile the graph for the CPU, for all batch sizes.

    Args:
        artifact: the artifact.
        threads: number of threads of each run; default: OpenVINO's own choice.
        callers: number of threads that run it at once.
        precision: 'float32' or 'bfloat16'.
    """
    openvino = require("openvino")
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # On processors with bfloat16 (AMX, AVX512-BF16), OpenVINO computes float32 graphs in
        # bfloat16 by default, which changes logits by some tenths.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        # A pinned thread waits for other processes on its core.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads * callers
    if callers > 1:  # a stream computes one run at a time
        settings["NUM_STREAMS"] = callers
    try:
        model = read_model(core, artifact)
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # RuntimeError, or TypeError for bytes that are not text
        raise cannot_run(artifact.where, OpenVino.title, reason(error)) from None
    return OpenVino(compiled, artifact.where)


def _name(output: Any) -> str:
    """Return the name of an output; the head's output has the second name 'map'."""
    return "map" if "map" in output.get_names() else str(output.get_any_name())


def read_model(core: Any, artifact: Program) -> Any:
    """Return an openvino.Model of an artifact's bytes, so that no other files are opened."""
    if artifact.format == "onnx":
        return core.read_model(artifact.graph)
    weights = np.frombuffer(artifact.weights, np.uint8)
    return core.read_model(artifact.graph, require("openvino").Tensor(weights))


def reason(error: Exception) -> str:
    """Return the last line of an error; the lines before name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
