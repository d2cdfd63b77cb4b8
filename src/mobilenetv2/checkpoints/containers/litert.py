"""Reader of LiteRT (TensorFlow Lite) files: a list of operators with dequantised constants.

The schema comes from the ``tflite`` package, which is generated from the official ``schema.fbs``.
Python's reader does not verify flatbuffers. So every error inside it means a damaged file, and
every count is compared with a limit before it is used.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.errors import WeightsError

IDENTIFIER = b"TFL3"
ABSENT = -1
"""Index of an optional input that is left out."""

DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 9: "i1"}
"""NumPy's type by the schema's TensorType, for the types that such networks have."""
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
    "ADD": "AddOptions", "MAX_POOL_2D": "Pool2DOptions", "MUL": "MulOptions",
    "SUB": "SubOptions", "DIV": "DivOptions",
}  # fmt: skip
"""Tables of options in the schema, for the operators whose options matter here."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; only a constant has ``values``."""

    name: str
    shape: tuple[int, ...]
    values: NDArray | None
    """Values as float32 if the tensor is quantised, otherwise as stored."""
    scale: NDArray | None
    zero_point: NDArray | None
    dtype: str = ""
    """NumPy's name of the stored type; '' for types that such networks do not have."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator with the options that matter in a convolutional network."""

    kind: str
    """Name in the schema: CONV_2D, DEPTHWISE_CONV_2D, ADD, MEAN ..."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: str = ""
    """Padding of a convolution or pooling: 'SAME' or 'VALID'."""
    activation: str = "NONE"
    """Activation that is fused after the operator: NONE, RELU, RELU6 ..."""
    dilation: tuple[int, int] = (1, 1)
    window: tuple[int, int] = (0, 0)
    """Height and width of a pooling's window."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Content of the file's only subgraph."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_litert(path: Path) -> Graph:
    """Read a .tflite file."""
    return parse_litert(bounds.read_graph_file(path), path)


def parse_litert(data: bytes, path: Path | None = None) -> Graph:
    """Read a graph from bytes; ``path`` is the file's name for messages.

    Raises:
        WeightsError: the file is damaged, or not LiteRT.
    """
    with bounds.damage("LiteRT file", path):  # a damaged flatbuffer raises errors of any type
        if data[4:8] != IDENTIFIER:
            raise WeightsError("not a LiteRT file (its identifier is not TFL3)")
        return _graph(data)


def _graph(data: bytes) -> Graph:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise WeightsError(f"{model.SubgraphsLength()} subgraphs; a classifier has one")
    graph = model.Subgraphs(0)
    kinds, codes = _names(tflite.BuiltinOperator), []
    for code in _entries(model.OperatorCodesLength(), model.OperatorCodes):
        # Old files keep the number in the deprecated byte, new ones in the wider field.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        codes.append(kinds.get(number, f"operator {number}"))
    tensors, left = [], 2 * len(data)
    for tensor in _entries(graph.TensorsLength(), graph.Tensors):
        # Tensors may share a buffer, so a small file could require any amount of memory.
        buffer = model.Buffers(tensor.Buffer())
        left -= buffer.DataLength() if buffer is not None else 0
        if left < 0:
            raise ValueError("its constants are larger than the file")
        tensors.append(_tensor(tensor, buffer))
    operators = [_operator(o, codes) for o in _entries(graph.OperatorsLength(), graph.Operators)]
    inputs, outputs = _indices(graph.InputsAsNumpy()), _indices(graph.OutputsAsNumpy())
    used = {*inputs, *outputs}.union(*(one.outputs for one in operators))
    taken = {at for one in operators for at in one.inputs if at != ABSENT}
    if not (used | taken).issubset(range(len(tensors))):
        raise ValueError("it names a tensor that it does not have")
    tensors, operators = _without_casts(tensors, operators)
    return Graph(tuple(tensors), tuple(operators), inputs, outputs)


@dataclass(frozen=True, slots=True)
class Structure:
    """Content of the file's only subgraph beside its numbers, as plain values to be compared."""

    tensors: tuple[tuple[object, ...], ...]
    """Name, shape, type, scales' shape and zero points of each tensor, and rarer fields."""
    stored: tuple[bytes, ...]
    """Data of each tensor; empty for a computed one."""
    operators: tuple[tuple[object, ...], ...]
    """Kind, inputs, outputs and all options of each operator."""
    ends: tuple[tuple[int, ...], ...]
    """Indices of the inputs and of the outputs."""


def structure(data: bytes, path: Path | None = None) -> Structure:
    """Return the structure of a file that :func:`parse_litert` has read.

    Raises:
        WeightsError: the file is damaged.
    """
    import tflite

    with bounds.damage("LiteRT file", path):
        model = tflite.Model.GetRootAs(data, 0)
        graph = model.Subgraphs(0)
        codes = [
            (max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), code.CustomCode())
            for code in _entries(model.OperatorCodesLength(), model.OperatorCodes)
        ]
        tensors, stored = [], []
        for tensor in _entries(graph.TensorsLength(), graph.Tensors):
            buffer = model.Buffers(tensor.Buffer())
            record = tensor.Quantization()
            levels: tuple[object, ...] = ()
            if record is not None:
                zeros = tuple(np.atleast_1d(record.ZeroPointAsNumpy()).tolist())
                levels = (record.ScaleLength(), zeros, record.QuantizedDimension())
                levels += (record.DetailsType(),)
            tensors.append(
                (
                    tensor.Name(), _indices(tensor.ShapeAsNumpy()), tensor.Type(), levels,
                    tensor.IsVariable(), tensor.Sparsity() is None,
                    tensor.ShapeSignatureLength(), tensor.VariantTensorsLength(),
                    buffer.Offset(), buffer.Size(),
                )
            )  # fmt: skip
            stored.append(buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b"")
        operators = _entries(graph.OperatorsLength(), graph.Operators)
        return Structure(
            tuple(tensors), tuple(stored), tuple(_with_options(one, codes) for one in operators),
            (_indices(graph.InputsAsNumpy()), _indices(graph.OutputsAsNumpy())),
        )  # fmt: skip


def _with_options(operator: Any, codes: list[tuple[int, object]]) -> tuple[object, ...]:
    """Return an operator's kind, inputs, outputs and every option by name."""
    import tflite

    kind = _names(tflite.BuiltinOptions)[operator.BuiltinOptionsType()]
    table: tuple[object, ...] = ()
    if kind != "NONE" and operator.BuiltinOptions() is not None:
        options = getattr(tflite, kind)()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        table = tuple(
            (name, getattr(options, name)())
            for name in vars(type(options))
            if name[0].isupper() and not name.startswith(("GetRoot", "Init", kind))
        )
    return (
        codes[operator.OpcodeIndex()], _indices(operator.InputsAsNumpy()),
        _indices(operator.OutputsAsNumpy()), kind, table, operator.CustomOptionsLength(),
        operator.LargeCustomOptionsSize(), operator.MutatingVariableInputsLength(),
        operator.IntermediatesLength(), operator.BuiltinOptions2Type(),
    )  # fmt: skip


def _without_casts(
    tensors: list[Tensor], operators: list[Operator]
) -> tuple[list[Tensor], list[Operator]]:
    """Remove the operators that make float32 constants of stored ones, and do so here."""
    tensors, kept = list(tensors), []
    for operator in operators:
        given = tensors[operator.inputs[0]] if operator.kind == "DEQUANTIZE" else None
        stored = given is not None and (given.dtype == "float16" or given.scale is not None)
        if given is not None and given.values is not None and stored:
            (made,) = operator.outputs
            values = given.values.astype(np.float32)
            tensors[made] = dataclasses.replace(tensors[made], values=values)
        else:
            kept.append(operator)
    return tensors, kept


def _entries(length: int, entry: Callable[[int], Any]) -> Iterator[Any]:
    if not 0 <= length <= bounds.MOST_ENTRIES:
        raise ValueError(f"a list of {length:,} entries")
    return map(entry, range(length))


def _indices(vector: Any) -> tuple[int, ...]:
    if isinstance(vector, int):
        return ()  # the schema's reader returns 0 for an absent vector
    if len(vector) > bounds.MOST_SIDES:
        raise WeightsError(f"not a network of this kind (a vector of {len(vector):,} entries)")
    return tuple(int(index) for index in vector)


def _tensor(tensor: Any, buffer: Any) -> Tensor:
    shape = _indices(tensor.ShapeAsNumpy())
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    scale, zero_point, axis = _quantization(tensor.Quantization())
    values = None
    if buffer is not None and buffer.DataLength() and tensor.Type() in DTYPES:
        values = _constant(buffer.DataAsNumpy(), DTYPES[tensor.Type()], shape, name)
        if scale is not None and zero_point is not None:
            values = _dequantised(values, scale, zero_point, axis)
    dtype = np.dtype(DTYPES[tensor.Type()]).name if tensor.Type() in DTYPES else ""
    return Tensor(name, shape, values, scale, zero_point, dtype)


def _constant(raw: Any, dtype: str, shape: tuple[int, ...], name: str) -> NDArray:
    needed = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize
    if any(side < 0 for side in shape) or needed != raw.nbytes:
        raise ValueError(f"{name!r} has {raw.nbytes:,} bytes for shape {list(shape)}")
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape)


def _quantization(record: Any) -> tuple[NDArray | None, NDArray | None, int]:
    if record is None or not record.ScaleLength():
        return None, None, 0
    scale = np.asarray(record.ScaleAsNumpy(), np.float32)
    zero_point: NDArray = np.broadcast_to(np.int64(0), scale.shape)
    if record.ZeroPointLength():
        zero_point = np.asarray(record.ZeroPointAsNumpy(), np.int64)
    if scale.shape != zero_point.shape or not np.isfinite(scale).all():
        raise ValueError("a tensor's scales and zero points differ")
    return scale, zero_point, record.QuantizedDimension()


def _dequantised(stored: NDArray, scale: NDArray, zero_point: NDArray, axis: int) -> NDArray:
    """Return (stored - zero point) x scale, with one pair per tensor or per slice of ``axis``."""
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    levels = stored.astype(np.int64) - zero_point.reshape(shape)
    values = levels * scale.astype(np.float64).reshape(shape)
    if not (np.abs(values) < np.finfo(np.float32).max).all():
        raise ValueError("its constants are too large for float32")
    return np.asarray(values, np.float32)


def _operator(operator: Any, codes: list[str]) -> Operator:
    import tflite

    kind = codes[operator.OpcodeIndex()]
    inputs, outputs = _indices(operator.InputsAsNumpy()), _indices(operator.OutputsAsNumpy())
    table = operator.BuiltinOptions()
    if kind not in OPTIONS or table is None:
        return Operator(kind, inputs, outputs)
    options = getattr(tflite, OPTIONS[kind])()
    options.Init(table.Bytes, table.Pos)

    def option(name: str, absent: int) -> int:
        return int(getattr(options, name)()) if hasattr(options, name) else absent

    padding = _names(tflite.Padding).get(option("Padding", -1), "unknown")
    return Operator(
        kind, inputs, outputs,
        stride=(option("StrideH", 1), option("StrideW", 1)),
        padding=padding if hasattr(options, "Padding") else "",
        activation=_names(tflite.ActivationFunctionType).get(
            options.FusedActivationFunction(), "unknown"
        ),
        dilation=(option("DilationHFactor", 1), option("DilationWFactor", 1)),
        window=(option("FilterHeight", 0), option("FilterWidth", 0)),
    )  # fmt: skip


def _names(enumeration: type) -> dict[int, str]:
    """Return the names of a schema's enumeration by their numbers."""
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
