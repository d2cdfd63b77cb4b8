"""Writer of ONNX files, with operators that every runtime fuses and the config in the metadata.

Integers go through QuantizeLinear and DequantizeLinear, which runtimes fuse: weights are int8,
biases int32, tensors between layers uint8. ReLU6 then needs no Clip, because the range of its uint8
ends at 6 or below.

On x86 without VNNI (AVX2, early AVX-512) ONNX Runtime multiplies uint8 by int8 with ``vpmaddubsw``,
which adds two products in int16 and saturates at 32,767. 255 x 127 x 2 exceeds that; weights of 7
bits do not: 255 x 63 x 2 = 32,130. The session option ``session.x64quantprecision``, which the
engine of this package sets, multiplies uint8 by uint8 on these processors: 1.3 times the time, and
the right answers (97 instead of 91 of 100 photos as in float32, on AVX2). A partly quantised graph
must run without ONNX Runtime's optimisation WeightBiasQuantization, which would quantise float
weights between quantised tensors with one scale each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import __version__
from mobilenetv2.errors import ArtifactError, SpecError
from mobilenetv2.graph.graph import (
    INPUT,
    PICTURES,
    Activation,
    Add,
    BatchNorm,
    Constant,
    Conv,
    Graph,
    Integers,
    Linear,
    Normalise,
    Operation,
    Pool,
)
from mobilenetv2.graph.lowering import SIX
from mobilenetv2.model import seal
from mobilenetv2.spec.names import BATCH_NORM

CONFIG_KEY = "mobilenetv2.config"
"""Key of the config's JSON in the file's ``metadata_props``."""
OPSET = 17
"""Default opset, from 2022; runtimes since then support it."""
OPSETS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}
"""Version of the file format by opset."""
FLOAT, FLOAT16 = 1, 10
"""Types of ONNX's TensorProto."""


def write_onnx(
    graph: Graph, opset: int | None = None, half: bool = False, as_convolutions: bool = False
) -> bytes:
    """Return the graph as a sealed ONNX model; the same arguments give the same bytes.

    The model takes ``input``, float32 (batch, channels, height, width), or uint8 (batch, height,
    width, channels) if the graph normalises, and gives float32.

    Args:
        opset: None means :data:`OPSET`.
        half: use float16 for constants and arithmetic between normalisation and outputs.
        as_convolutions: write linear layers as 1x1 convolutions of the pooled map, for converters
            that add ten operators about shapes to a matrix product.

    Raises:
        SpecError: the opset is not supported.
        ArtifactError: ``half`` is set, and a constant is too large for float16.
    """
    opset = OPSET if opset is None else opset
    if opset not in OPSETS:
        raise SpecError(f"opset {opset} must be from {min(OPSETS)} to {max(OPSETS)}")
    return _Emitter(graph, half, as_convolutions).emit(opset)


@dataclass(slots=True)
class Node:
    """Operator of a file; it is named after its only output."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outline:
    """Content of a file beside the numbers of its weights."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray]
    """All constants by name; those of ``weights`` count by their shapes and types only."""
    weights: frozenset[str]


def outline(graph: Graph, half: bool = False) -> Outline:
    """Return the operators and constants that :func:`write_onnx` gives the graph, without bytes."""
    emitter = _Emitter(graph, half, as_convolutions=False)
    emitter.walk()
    return Outline(tuple(emitter.nodes), emitter.constants, frozenset(emitter.weights))


class _Emitter:
    """Emitter of nodes and constants in the order in which they run."""

    def __init__(self, graph: Graph, half: bool, as_convolutions: bool) -> None:
        self.graph, self.half, self.as_convolutions = graph, half, as_convolutions
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray] = {}
        self.weights: set[str] = set()
        """Names of the constants that a network learns."""
        self.values: dict[str, str] = {}
        """Name of the value in the file for each tensor of the graph."""
        self.computes_half = False
        """True once constants are float16: after the normalisation, which is in float32."""

    def emit(self, opset: int) -> bytes:
        import onnx
        from onnx import helper, numpy_helper

        self.walk()
        graph = self.graph
        nodes = [
            helper.make_node(node.kind, node.inputs, [node.output], node.output, **node.attributes)
            for node in self.nodes
        ]
        constants = [
            # ascontiguousarray would turn a scalar into a vector.
            numpy_helper.from_array(np.asarray(array, order="C"), name)
            for name, array in self.constants.items()
        ]
        model = helper.make_model(
            helper.make_graph(nodes, "mobilenetv2", [self.given()], self.ends(), constants),
            producer_name="mobilenetv2", producer_version=__version__,
            ir_version=OPSETS[opset], opset_imports=[helper.make_opsetid("", opset)],
        )  # fmt: skip
        helper.set_model_props(model, {CONFIG_KEY: graph.config.to_json()})
        body: bytes = model.SerializeToString(deterministic=True)
        # Protobuf takes a field that is appended to a message as part of it.
        last = onnx.ModelProto()
        last.metadata_props.add(key=seal.KEY, value="0" * seal.DIGITS)
        body += last.SerializeToString(deterministic=True)[: -seal.DIGITS]
        return body + seal.digest(body).encode()

    def walk(self) -> None:
        """Collect the nodes and constants of all operations."""
        graph = self.graph
        self.values[PICTURES if graph.takes_pictures else INPUT] = INPUT
        if not graph.takes_pictures:
            self.begin(INPUT)
        for operation in graph.operations:
            EMITTERS[type(operation)](self, operation)
        for name, tensor in graph.outputs.items():
            if self.values[tensor] != name:
                self.finish(name, tensor)

    def given(self) -> Any:
        """Return the input with its type and shape."""
        from onnx import TensorProto, helper

        graph, batch = self.graph, self.graph.batch or "batch"
        channels, *sides = graph.tensors[INPUT].shape
        size = ["height", "width"] if graph.any_size else sides
        if graph.takes_pictures:
            return helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, *size, channels])
        return helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, channels, *size])

    def ends(self) -> list[Any]:
        """Return the outputs with their shapes."""
        from onnx import helper

        graph, found = self.graph, []
        for name, tensor in graph.outputs.items():
            shape: list[int | str] = list(graph.tensors[tensor].shape)
            if graph.any_size and len(shape) == 3:
                shape[1:] = [f"{name} height", f"{name} width"]
            found.append(
                helper.make_tensor_value_info(name, FLOAT, [graph.batch or "batch", *shape])
            )
        return found

    def normalise(self, operation: Normalise) -> None:
        """Emit (value - mean) / std for uint8 images, with the same results as ``images``."""
        # Division instead of multiplication by 1 / std gives the same floats as ``images``.
        mean, std = (
            self.constant(name, np.array(values, np.float32).reshape(1, -1, 1, 1))
            for name, values in (("mean", operation.mean), ("std", operation.std))
        )
        y = self.node("Transpose", "pixels", [self.values[operation.input]], perm=[0, 3, 1, 2])
        y = self.node("Cast", "values", [y], to=FLOAT)
        y = self.node("Sub", "centred", [y, mean])
        self.values[operation.output] = self.node("Div", "normalised", [y, std])
        self.begin(operation.output)

    def begin(self, name: str) -> None:
        """Emit the conversion of the first layer's input: to integers and back, or to float16."""
        self.quantise(name, self.values[name])
        if self.half:
            self.values[name] = self.node("Cast", f"{name}.half", [self.values[name]], to=FLOAT16)
            self.computes_half = True
        if any(tensor.high == SIX for tensor in self.graph.tensors.values()):
            self.constant("zero", np.float32(0))
            self.constant("six", np.float32(6))

    def conv(self, operation: Conv) -> None:
        """Emit a convolution, its BatchNorm if it was not folded, and its activation."""
        rows, columns = operation.padding
        plain = operation.activation is None and operation.batch_norm is None
        y = self.node(
            "Conv", operation.output if plain else f"{operation.name}.conv",
            [self.values[operation.input], *self.parameters(operation, f"{operation.name}.conv")],
            kernel_shape=[operation.kernel] * 2, strides=[operation.stride] * 2,
            group=operation.groups, pads=[rows[0], columns[0], rows[1], columns[1]],
        )  # fmt: skip
        if operation.batch_norm is not None:
            y = self.batch_norm(operation, operation.batch_norm, y)
        self.set_value(operation.output, self.activated(operation.activation, operation.output, y))

    def batch_norm(self, operation: Conv, record: BatchNorm, y: str) -> str:
        name = operation.name
        constants = [self.weight(f"{name}.bn.{part}", getattr(record, part)) for part in BATCH_NORM]
        output = operation.output if operation.activation is None else f"{name}.bn"
        return self.node(
            "BatchNormalization", output, [y, *constants],
            epsilon=record.epsilon, momentum=1 - record.update_rate,
        )  # fmt: skip

    def add(self, operation: Add) -> None:
        """Emit a residual sum and its activation, if it has one."""
        inputs = [self.values[name] for name in operation.inputs]
        name = operation.output
        y = self.node("Add", name if operation.activation is None else f"{name}.sum", inputs)
        self.set_value(name, self.activated(operation.activation, name, y))

    def pool(self, operation: Pool) -> None:
        """Emit the mean or maximum over a map, flattened unless convolutions follow."""
        kind = {"average": "GlobalAveragePool", "max": "GlobalMaxPool"}[operation.kind]
        y = self.node(kind, "pool", [self.values[operation.input]])
        if self.graph.tensors[operation.output].steps is not None:
            # An integer operator needs its scale directly after it, before the Flatten.
            y = self.through(y, f"{y}.real", self.steps(y, operation.output))
        if self.as_convolutions:
            self.values[operation.output] = y
            return
        self.set_value(operation.output, self.node("Flatten", operation.output, [y], axis=1))

    def linear(self, operation: Linear) -> None:
        """Emit a matrix product with its bias and activation."""
        parameters, last = self.parameters(operation, operation.name), operation.name
        plain = operation.output if operation.activation is None else f"{operation.name}.linear"
        given = [self.values[operation.input], *parameters]
        if not self.as_convolutions:
            y = self.node("Gemm", plain, given, transB=1)
        elif operation.output in self.graph.outputs:
            y = self.node("Conv", last, given, kernel_shape=[1, 1])
            y = self.node("Flatten", plain, [y], axis=1)
        else:
            y = self.node("Conv", plain, given, kernel_shape=[1, 1])
        self.set_value(operation.output, self.activated(operation.activation, operation.output, y))

    def activated(self, activation: Activation, name: str, y: str) -> str:
        if activation is None:
            return y
        if activation == "relu6":
            return self.node("Clip", name, [y, "zero", "six"])
        return self.node("Relu", name, [y])

    def set_value(self, name: str, y: str) -> None:
        """Set ``y`` as the value of a tensor, quantised if the tensor is."""
        self.quantise(name, y)
        if self.half and name in self.graph.outputs:
            # The output gets the name; later layers continue in float16.
            self.rename(f"{name}.half")
            self.node("Cast", name, [f"{name}.half"], to=FLOAT)
            self.values[name] = f"{name}.half"

    def finish(self, output: str, tensor: str) -> None:
        """Emit an output whose name differs from its tensor's."""
        if not any(node.output == output for node in self.nodes):
            cast = {"to": FLOAT} if self.half else {}
            self.node("Cast" if cast else "Identity", output, [self.values[tensor]], **cast)

    def quantise(self, name: str, y: str) -> None:
        """Quantise and dequantise the tensor ``name``, whose value is ``y``, if it has steps."""
        self.values[name] = y
        if self.graph.tensors[name].steps is None:
            return
        real = f"{name}.real"
        if name != INPUT:
            # The dequantised value gets the name, since it may be an output of the graph.
            y, real = self.rename(f"{y}.exact"), name
        self.values[name] = self.through(y, real, self.steps(name, name))

    def rename(self, name: str) -> str:
        """Rename the output of the last node."""
        self.nodes[-1].output = name
        return name

    def steps(self, prefix: str, name: str) -> list[str]:
        """Return a tensor's scale and zero point, as constants that begin with ``prefix``."""
        steps = self.graph.tensors[name].steps
        assert steps is not None
        return [
            self.constant(f"{prefix}.scale", np.float32(steps.scale)),
            self.constant(f"{prefix}.zero_point", np.uint8(steps.zero_point)),
        ]

    def through(self, y: str, real: str, steps: list[str]) -> str:
        """Emit a conversion to integers and back, and return its output, named ``real``."""
        integers = self.node("QuantizeLinear", f"{real}.integers", [y, *steps])
        return self.node("DequantizeLinear", real, [integers, *steps])

    def parameters(self, layer: Conv | Linear, prefix: str) -> list[str]:
        """Return the names of a layer's weight and bias, as inputs of its operator."""
        weight = layer.weight
        if self.as_convolutions and isinstance(layer, Linear) and not isinstance(weight, Integers):
            weight = weight[:, :, None, None]
        pair = ("weight", weight), ("bias", layer.bias)
        return [self.stored(f"{prefix}.{part}", value) for part, value in pair if value is not None]

    def stored(self, name: str, value: Constant) -> str:
        """Add a constant, and return the name of its real values."""
        if not isinstance(value, Integers):
            return self.weight(name, value)
        scales, axis = value.scales, {"axis": 0}
        if not value.per_channel:
            scales, axis = scales[0], {}
        inputs = [
            self.weight(f"{name}.integers", value.values),
            self.weight(f"{name}.scale", scales),
            # Always 0, but some of ONNX Runtime's optimisations need it to be explicit.
            self.constant(f"{name}.zero_point", np.zeros_like(scales, value.values.dtype)),
        ]
        return self.node("DequantizeLinear", name, inputs, **axis)

    def constant(self, name: str, values: Any) -> str:
        """Add a constant of the values' type, or of float16, and return its name."""
        if self.computes_half:
            values = _half(name, values)
        self.constants[name] = np.asarray(values)
        return name

    def weight(self, name: str, values: Any) -> str:
        """Add a constant that the network has learned, and return its name."""
        self.weights.add(name)
        return self.constant(name, values)

    def node(self, kind: str, output: str, inputs: list[str], **attributes: Any) -> str:
        """Add an operator named after its only output, and return that name."""
        self.nodes.append(Node(kind, tuple(inputs), output, attributes))
        return output


EMITTERS: dict[type[Operation], Any] = {
    Normalise: _Emitter.normalise,
    Conv: _Emitter.conv,
    Add: _Emitter.add,
    Pool: _Emitter.pool,
    Linear: _Emitter.linear,
}


def _half(name: str, values: Any) -> NDArray:
    with np.errstate(over="ignore"):  # the error below is clearer
        half = np.asarray(values, np.float16)
    if not np.isfinite(half).all():
        raise ArtifactError(
            f"{name}: values up to {np.abs(values).max():.3g} are too large for float16; "
            "export it in float32"
        )
    return half
