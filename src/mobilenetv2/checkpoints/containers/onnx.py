"""Reader of ONNX files: a list of nodes with their constants.

Nothing in the file is run, only data files in its folder are opened (``external``), and every
count and length is compared with a limit or with the file's size before it is used. A protobuf
parser turns a field of two bytes into an object of some hundred bytes. So the fields are counted by
their tags and lengths before the file is parsed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.containers.external import ExternalData
from mobilenetv2.errors import WeightsError

MOST_FIELDS = 500_000
MOST_VALUES = 10_000
"""Maximum length of a list attribute; larger lists are tensors."""
LONGEST_METADATA = 4 * 1024**2

STORED = {
    1: (4, "float_data"), 11: (8, "double_data"), 10: (2, "int32_data"), 16: (2, "int32_data"),
    3: (1, "int32_data"), 2: (1, "int32_data"), 6: (4, "int32_data"), 7: (8, "int64_data"),
    9: (1, "int32_data"),
}  # fmt: skip
"""Bytes of a value, and field of values that are not raw, by TensorProto's data type.

The types are float, double, float16, bfloat16, int8, uint8, int32, int64 and bool.
"""

MICROSOFT = "com.microsoft"
"""Operator set of ONNX Runtime: quantised and fused operators."""
COMPILED = "com.microsoft.nchwc"
"""Operator set with the layouts of one processor."""
READ = frozenset(
    "QLinearAdd QLinearMul QLinearGlobalAveragePool QLinearAveragePool QLinearSigmoid "
    "QLinearSoftmax QGemm DynamicQuantizeMatMul MatMulIntegerToFloat FusedConv FusedGemm "
    "QuantizeLinear DequantizeLinear".split()
)
"""Operators of :data:`MICROSOFT` that are read; ONNX has none of these names, or means the same."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
Schema = Mapping[int, Any]
"""Schema of the message in each field, by field number; fields without a message are left out."""

_TENSOR: Schema = {13: {}}
_ATTRIBUTE: dict[int, Any] = {5: _TENSOR, 10: _TENSOR}
_NODE: Schema = {5: _ATTRIBUTE, 9: {}}
_TYPE: Schema = {1: {2: {1: {}}}}
_VALUE: Schema = {2: _TYPE, 4: {}}
_GRAPH: Schema = {1: _NODE, 5: _TENSOR, 11: _VALUE, 12: _VALUE, 13: _VALUE, 14: {2: {}}, 16: {}}
MESSAGES: Schema = {7: _GRAPH, 8: {}, 14: {}}
"""Schema of onnx.proto as far as it is read: ModelProto's graph, opset imports and metadata."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the standard set, or one of :data:`READ`."""

    kind: str
    """Type of the operator: Conv, Clip, Gemm ..."""
    name: str
    inputs: tuple[str, ...]
    """Names of the input tensors; '' for an optional one that is left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """Numbers, texts, arrays, or lists of them."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Graph of the file; control flow, functions and other operator sets are refused."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray]
    inputs: Mapping[str, tuple[int | None, ...]]
    """Shapes of the inputs (without constants) by name; None for a dynamic side."""
    outputs: tuple[str, ...]
    opset: int
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_onnx(path: Path) -> Graph:
    """Read an .onnx file, with the constants in files beside it."""
    return parse_onnx(bounds.read_graph_file(path), path, ExternalData(path.parent))


def parse_onnx(data: bytes, path: Path | None = None, beside: ExternalData | None = None) -> Graph:
    """Read a graph from bytes; ``path`` is the file's name for messages.

    Args:
        beside: reader of the data files beside it; None refuses constants in other files.

    Raises:
        WeightsError: the file is damaged, hostile, or has data outside of it.
    """
    import onnx

    with bounds.damage("ONNX file", path):
        if not data:
            raise WeightsError("not an ONNX file (it is empty)")
        try:
            require_few_fields(data, MESSAGES, MOST_FIELDS)
            model = onnx.ModelProto.FromString(data)
        except WeightsError as error:
            raise WeightsError(f"not an ONNX file, or {error}") from None
        except Exception as error:  # protobuf's DecodeError, whose package is not a dependency
            raise WeightsError(f"not an ONNX file, or damaged ({error})") from None
        if not model.HasField("graph") or not model.graph.node:
            raise WeightsError("not an ONNX file (it has no graph)")
        if len(model.functions) or len(model.training_info):
            raise WeightsError("functions or training graphs in it are not read; export it inlined")
        return _graph(model, beside)  # may raise, too: a parsed message may have wrong types


def _graph(model: Any, beside: ExternalData | None) -> Graph:
    graph = model.graph
    if max(len(graph.node), len(graph.initializer)) > bounds.MOST_ENTRIES:
        raise WeightsError(f"more than {bounds.MOST_ENTRIES:,} nodes or constants in it")
    if len(graph.sparse_initializer):
        raise WeightsError("sparse constants are not read")
    constants = {tensor.name: _array(tensor, beside) for tensor in graph.initializer}
    nodes = []
    for proto in graph.node:
        node = _node(proto)
        if node.kind == "Constant":
            constants[_only_output(node)] = _constant(node)
        else:
            nodes.append(node)
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return Graph(
        nodes=tuple(nodes),
        constants=constants,
        # Old files also list constants among the inputs.
        inputs={v.name: _shape(v) for v in graph.input if v.name not in constants},
        outputs=tuple(value.name for value in graph.output),
        opset=opsets[0] if opsets else 1,
        metadata={p.key: p.value for p in model.metadata_props if len(p.value) <= LONGEST_METADATA},
    )


def _node(proto: Any) -> Node:
    if proto.domain == COMPILED:
        raise WeightsError(
            "optimised by ONNX Runtime for one kind of processor, so that its layers are in "
            "another layout; give the file that it was made from"
        )
    known = proto.domain == MICROSOFT and proto.op_type in READ
    if proto.domain not in ("", "ai.onnx") and not known:
        raise WeightsError(
            f"operator {proto.op_type!r} of the operator set {proto.domain!r}; "
            "only ONNX's own operators and ONNX Runtime's quantised ones are read"
        )
    attributes = {entry.name: _attribute(entry, proto.op_type) for entry in proto.attribute}
    return Node(proto.op_type, proto.name, tuple(proto.input), tuple(proto.output), attributes)


def _attribute(proto: Any, kind: str) -> Any:
    import onnx

    types = onnx.AttributeProto
    if proto.ref_attr_name:
        raise WeightsError(f"{kind} refers to a function's attribute; export it inlined")
    if proto.type in (types.GRAPH, types.GRAPHS):
        raise WeightsError(f"{kind} holds a graph of its own; control flow is not read")
    if proto.type not in (
        types.INT, types.FLOAT, types.STRING, types.TENSOR, types.INTS, types.FLOATS, types.STRINGS
    ):  # fmt: skip
        raise WeightsError(f"{kind}, {proto.name}: attributes of type {proto.type} are not read")
    if max(len(proto.ints), len(proto.floats)) > MOST_VALUES:
        raise WeightsError(f"{kind}, {proto.name}: more than {MOST_VALUES:,} values")
    value = onnx.helper.get_attribute_value(proto)
    return [*map(_plain, value)] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Any:
    """Return protobuf's value as a number, a text or an array."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return short(value)
    return value if isinstance(value, int) else _array(value)


def short(value: float) -> float:
    """Return a float32 as its shortest decimal: 0.001 instead of 0.0010000000474974513."""
    return float(str(np.float32(value)))


def _array(tensor: Any, beside: ExternalData | None = None) -> NDArray:
    """Return a TensorProto in native byte order; float16 and bfloat16 become float32."""
    import onnx

    name = tensor.name or "a constant"
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data)
    if outside and beside is None:
        raise WeightsError(f"{name!r} is in another file; export it with external_data=False")
    shape = tuple(tensor.dims)
    if len(shape) > bounds.MOST_SIDES or any(side < 0 for side in shape):
        raise ValueError(f"{name!r} has {len(shape)} dimensions or one below 0")
    if tensor.data_type not in STORED:
        raise WeightsError(f"{name!r} has values of type {tensor.data_type}, which are not read")
    size, words = STORED[tensor.data_type]
    if outside and beside is not None:
        entries = [(entry.key, entry.value) for entry in tensor.external_data]
        raw_data = beside.read(name, entries, size * math.prod(shape))
        tensor = onnx.TensorProto(dims=shape, data_type=tensor.data_type, raw_data=raw_data)
    raw = tensor.HasField("raw_data")
    present = len(tensor.raw_data) / size if raw else len(getattr(tensor, words))
    if present != math.prod(shape):
        raise ValueError(f"{name!r} has {present:g} values for shape {list(shape)}")
    array = np.asarray(onnx.numpy_helper.to_array(tensor))
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _constant(node: Node) -> NDArray:
    for key, dtype in (("value", None), ("value_float", "f4"), ("value_floats", "f4"),
                       ("value_int", "i8"), ("value_ints", "i8")):  # fmt: skip
        if key in node.attributes:
            return np.asarray(node.attributes[key], dtype)
    raise WeightsError(f"the constant {_only_output(node)!r} has no value that is read")


def _only_output(node: Node) -> str:
    if len(node.outputs) != 1:
        raise ValueError(f"{node.kind} has {len(node.outputs)} outputs")
    return node.outputs[0]


def _shape(value: Any) -> tuple[int | None, ...]:
    sides = value.type.tensor_type.shape.dim
    if len(sides) > bounds.MOST_SIDES:
        raise ValueError(f"the input {value.name!r} has {len(sides)} dimensions")
    return tuple(side.dim_value if side.dim_value > 0 else None for side in sides)


def require_few_fields(data: bytes, schema: Schema, most: int) -> None:
    """Raise if a message and those of ``schema`` inside it have more than ``most`` fields.

    Raises:
        WeightsError: there are more fields, or the message is damaged.
    """
    if _left(memoryview(data), 0, len(data), schema, most) < 0:
        raise WeightsError(f"more than {most:,} fields; not a network of this kind")


def _left(view: memoryview, place: int, end: int, schema: Schema, left: int) -> int:
    """Return the number of fields that are left after a message; reading stops below 0."""
    while place < end and left >= 0:
        left -= 1
        tag, place = _varint(view, place, end)
        kind, number = tag & 7, tag >> 3
        length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == BYTES:
            length, place = _varint(view, place, end)
        elif kind == VARINT:
            _, place = _varint(view, place, end)
        elif kind not in (FIXED64, FIXED32):
            raise WeightsError(f"damaged: a field of kind {kind} at byte {place:,}")
        if length > end - place:
            raise WeightsError(f"damaged: truncated in field {number} at byte {place:,}")
        if kind == BYTES and number in schema:
            left = _left(view, place, place + length, schema[number], left)
        place += length
    return left


def _varint(view: memoryview, place: int, end: int) -> tuple[int, int]:
    """Return a number in groups of seven bits, and the place after it."""
    value = 0
    for shift in range(LONGEST_VARINT):
        if place >= end:
            raise WeightsError(f"damaged: truncated at byte {place:,}")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place
    raise WeightsError(f"damaged: a number without an end at byte {place:,}")
