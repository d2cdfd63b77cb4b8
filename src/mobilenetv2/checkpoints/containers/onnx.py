"""ONNX files as a plain list of nodes with their constants.

Read as data: nothing beside the file is opened (external data is refused), nothing in it is
run, and every count and length is held against a limit or the bytes present before it is believed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.protobuf import Schema, require_few_fields
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import read_file

LARGEST_FILE = 512 * 1024**2
MOST_ENTRIES = 20_000
"""Nodes and constants: MobileNetV2 has some 200, an unoptimised export some 1,000."""
MOST_FIELDS = 500_000
MOST_VALUES = 10_000
"""Of an attribute that is a list; larger ones are tensors."""
MOST_SIDES = 16
"""Of a shape."""
LONGEST_METADATA = 4 * 1024**2

_TENSOR: Schema = {13: {}}
_ATTRIBUTE: dict[int, Any] = {5: _TENSOR, 10: _TENSOR}
_NODE: Schema = {5: _ATTRIBUTE, 9: {}}
_TYPE: Schema = {1: {2: {1: {}}}}
_VALUE: Schema = {2: _TYPE, 4: {}}
_GRAPH: Schema = {1: _NODE, 5: _TENSOR, 11: _VALUE, 12: _VALUE, 13: _VALUE, 14: {2: {}}, 16: {}}
MESSAGES: Schema = {7: _GRAPH, 8: {}, 14: {}}
"""Of onnx.proto, as far as it is let in: ModelProto's graph, opset imports and metadata."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the standard set."""

    kind: str
    """Conv, Clip, Gemm ..."""
    name: str
    inputs: tuple[str, ...]
    """Names of tensors; '' where an optional one is left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """Numbers, texts (str), arrays, or lists of them."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The file's graph; control flow, functions and other operator sets are refused."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray]
    inputs: Mapping[str, tuple[int | None, ...]]
    """Without constants: name -> shape, None where a side is open."""
    outputs: tuple[str, ...]
    opset: int
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> Graph:
    """Read an .onnx file.

    Raises:
        WeightsError: not an ONNX file, damaged, larger than 512 MiB, or with parts that lie
            outside it or that run other code: external data, functions, other operator sets.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise WeightsError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_FILE:,}")
    try:
        return parse(read_file(path))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def parse(data: bytes) -> Graph:
    """:func:`read` on bytes; messages do not name the file.

    Raises:
        WeightsError: as :func:`read`.
    """
    import onnx

    if not data:
        raise WeightsError("not an ONNX file (it is empty)")
    try:
        require_few_fields(data, MESSAGES, MOST_FIELDS)
    except WeightsError as error:
        raise WeightsError(f"not an ONNX file, or {error}") from None
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's own DecodeError, whose package is not ours to name
        raise WeightsError(f"not an ONNX file, or damaged ({error})") from None
    if not model.HasField("graph") or not model.graph.node:
        raise WeightsError("not an ONNX file (it has no graph)")
    if len(model.functions) or len(model.training_info):
        raise WeightsError("functions or training graphs in it are not read; export it inlined")
    try:
        return _graph(model)
    except WeightsError:
        raise
    except Exception as error:  # wrong types in a message that parsed
        raise WeightsError(f"damaged ONNX file ({error})") from None


def _graph(model: Any) -> Graph:
    graph = model.graph
    if max(len(graph.node), len(graph.initializer)) > MOST_ENTRIES:
        raise WeightsError(f"more than {MOST_ENTRIES:,} nodes or constants; not such a network")
    if len(graph.sparse_initializer):
        raise WeightsError("sparse constants are not read")
    constants = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    nodes = []
    for proto in graph.node:
        node = _node(proto)
        if node.kind == "Constant":
            constants[_only(node.outputs, node)] = _constant(node)
        else:
            nodes.append(node)
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return Graph(
        nodes=tuple(nodes),
        constants=constants,
        # Old files list constants among the inputs too.
        inputs={v.name: _shape(v) for v in graph.input if v.name not in constants},
        outputs=tuple(value.name for value in graph.output),
        opset=opsets[0] if opsets else 1,
        metadata={
            entry.key: entry.value
            for entry in model.metadata_props
            if len(entry.value) <= LONGEST_METADATA
        },
    )


def _node(proto: Any) -> Node:
    if proto.domain not in ("", "ai.onnx"):
        raise WeightsError(
            f"operator {proto.op_type!r} of the operator set {proto.domain!r}; "
            "only ONNX's own operators are read"
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
    readers: dict[int, Callable[[], Any]] = {
        types.INT: lambda: proto.i,
        types.FLOAT: lambda: short(proto.f),
        types.STRING: lambda: proto.s.decode("utf-8", "replace"),
        types.TENSOR: lambda: array_of(proto.t),
        types.INTS: lambda: list(proto.ints),
        types.FLOATS: lambda: [short(value) for value in proto.floats],
        types.STRINGS: lambda: [text.decode("utf-8", "replace") for text in proto.strings],
    }
    if proto.type not in readers:
        raise WeightsError(f"{kind}, {proto.name}: attributes of type {proto.type} are not read")
    if max(len(proto.ints), len(proto.floats)) > MOST_VALUES:
        raise WeightsError(f"{kind}, {proto.name}: more than {MOST_VALUES:,} values")
    return readers[proto.type]()


def short(value: float) -> float:
    """A float32 as the number that was meant: 0.001, not 0.0010000000474974513."""
    return float(str(np.float32(value)))


def array_of(tensor: Any) -> NDArray:
    """A TensorProto as an array in native byte order; float16 and bfloat16 become float32.

    Raises:
        WeightsError: external data, a type that no network has, or another number of values than
            its shape needs.
    """
    import onnx

    name = tensor.name or "a constant"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
        raise WeightsError(f"{name!r} lies in another file; export it with external_data=False")
    shape = tuple(tensor.dims)
    if len(shape) > MOST_SIDES or any(side < 0 for side in shape):
        raise WeightsError(f"damaged ONNX file ({name!r} has {len(shape)} sides or one below 0)")
    dtype, words = _stored(tensor, name)
    count = math.prod(shape)
    if tensor.HasField("raw_data"):
        present = len(tensor.raw_data) / dtype.itemsize
    else:
        present = len(getattr(tensor, words))
    if present != count:
        raise WeightsError(
            f"damaged ONNX file ({name!r} has {present:g} values for shape {list(shape)})"
        )
    array = np.asarray(onnx.numpy_helper.to_array(tensor))
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _stored(tensor: Any, name: str) -> tuple[np.dtype, str]:
    """The type of the values, and the field that they lie in where they are not raw."""
    import onnx

    types = onnx.TensorProto
    known = {
        types.FLOAT: ("f4", "float_data"), types.DOUBLE: ("f8", "double_data"),
        types.FLOAT16: ("f2", "int32_data"), types.BFLOAT16: ("u2", "int32_data"),
        types.INT8: ("i1", "int32_data"), types.UINT8: ("u1", "int32_data"),
        types.INT32: ("i4", "int32_data"), types.INT64: ("i8", "int64_data"),
        types.BOOL: ("?", "int32_data"),
    }  # fmt: skip
    if tensor.data_type not in known:
        raise WeightsError(f"{name!r} has values of type {tensor.data_type}, which are not read")
    dtype, words = known[tensor.data_type]
    return np.dtype(dtype), words


def _constant(node: Node) -> NDArray:
    for key, dtype in (("value", None), ("value_float", "f4"), ("value_floats", "f4"),
                       ("value_int", "i8"), ("value_ints", "i8")):  # fmt: skip
        if key in node.attributes:
            return np.asarray(node.attributes[key], dtype)
    raise WeightsError(f"the constant {_only(node.outputs, node)!r} has no value that is read")


def _only(outputs: tuple[str, ...], node: Node) -> str:
    if len(outputs) != 1:
        raise WeightsError(f"damaged ONNX file ({node.kind} has {len(outputs)} outputs)")
    return outputs[0]


def _shape(value: Any) -> tuple[int | None, ...]:
    sides = value.type.tensor_type.shape.dim
    if len(sides) > MOST_SIDES:
        raise WeightsError(f"damaged ONNX file (the input {value.name!r} has {len(sides)} sides)")
    return tuple(side.dim_value if side.dim_value > 0 else None for side in sides)
