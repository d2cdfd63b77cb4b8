"""LiteRT (TensorFlow Lite) files as a plain list of operators with dequantised constants.

The flatbuffer's schema comes from the ``tflite`` package, which is generated from the official
``schema.fbs``. Flatbuffers are not verified by Python's reader, so every failure inside it means
a damaged file, and every count is held against a limit before it is believed.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import WeightsError
from mobilenetv2.files import read_file

LARGEST_FILE = 512 * 1024**2
IDENTIFIER = b"TFL3"
MOST_ENTRIES = 20_000
"""Tensors, operators and kinds of operators: MobileNetV2 has some 200."""
MOST_SIDES = 16
"""Of a shape, and inputs and outputs of one operator: a vector may be listed many times."""

DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 9: "i1"}
"""TensorType of the schema -> NumPy: the types that networks of this kind hold."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: a constant has ``values``, everything else only a shape."""

    name: str
    shape: tuple[int, ...]
    values: NDArray | None
    """Dequantised to float32 where the file says how, otherwise as stored."""
    scale: NDArray | None
    zero_point: NDArray | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator with the options that matter to a convolutional network."""

    kind: str
    """The schema's name: CONV_2D, DEPTHWISE_CONV_2D, ADD, MEAN ..."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: str = ""
    """'SAME' or 'VALID' for convolutions and pooling."""
    activation: str = "NONE"
    """NONE, RELU, RELU6 ...: fused behind the operator."""
    dilation: tuple[int, int] = (1, 1)
    window: tuple[int, int] = (0, 0)
    """Height and width of what AVERAGE_POOL_2D takes the mean of."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The file's only subgraph."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: Path) -> Graph:
    """Read a .tflite file.

    Raises:
        WeightsError: not a LiteRT file, damaged, or larger than 512 MiB.
        OSError: it cannot be opened.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise WeightsError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_FILE:,}")
    return parse(read_file(path), path)


def parse(data: bytes, path: Path) -> Graph:
    """:func:`read` of bytes that came from ``path``.

    Raises:
        WeightsError: as :func:`read`.
    """
    if data[4:8] != IDENTIFIER:
        raise WeightsError(f"{path}: not a LiteRT file (its identifier is not TFL3)")
    try:
        return _graph(data)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # struct, index, value and type errors of an unverified flatbuffer
        raise WeightsError(f"{path}: damaged LiteRT file ({error})") from None


def _graph(data: bytes) -> Graph:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise WeightsError(f"{model.SubgraphsLength()} subgraphs; a classifier has one")
    graph = model.Subgraphs(0)
    kinds = {
        number: name for name, number in vars(tflite.BuiltinOperator).items() if name.isupper()
    }
    codes = []
    for index in range(_count(model.OperatorCodesLength())):
        code = model.OperatorCodes(index)
        # Old files keep the number in the deprecated byte, new ones in the wider field.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        codes.append(kinds.get(number, f"operator {number}"))
    tensors, left = [], 2 * len(data)
    for index in range(_count(graph.TensorsLength())):
        tensor = graph.Tensors(index)
        # Tensors may share a buffer, so that a small file could ask for any amount of memory.
        left -= _stored(model, tensor)
        if left < 0:
            raise WeightsError("damaged LiteRT file (its constants are larger than the file)")
        tensors.append(_tensor(model, tensor))
    operators = [
        _operator(graph.Operators(index), codes) for index in range(_count(graph.OperatorsLength()))
    ]
    tensors, operators = _without_casts(tensors, operators)
    return Graph(
        tuple(tensors), tuple(operators),
        _indices(graph.InputsAsNumpy()), _indices(graph.OutputsAsNumpy()),
    )  # fmt: skip


def _without_casts(
    tensors: list[Tensor], operators: list[Operator]
) -> tuple[list[Tensor], list[Operator]]:
    """float16 files hold constants in half precision, with an operator each that widens them."""
    tensors, kept = list(tensors), []
    for operator in operators:
        given = tensors[operator.inputs[0]].values if len(operator.inputs) == 1 else None
        if operator.kind == "DEQUANTIZE" and given is not None and given.dtype == np.float16:
            (made,) = operator.outputs
            tensors[made] = dataclasses.replace(tensors[made], values=given.astype(np.float32))
        else:
            kept.append(operator)
    return tensors, kept


def _count(length: int) -> int:
    if not 0 <= length <= MOST_ENTRIES:
        raise WeightsError(f"damaged LiteRT file (a list of {length:,} entries)")
    return length


def _indices(vector: Any) -> tuple[int, ...]:
    if isinstance(vector, int):
        return ()  # the schema's reader returns 0 for an absent vector
    if len(vector) > MOST_SIDES:
        raise WeightsError(f"not a network of this kind (a vector of {len(vector):,} entries)")
    return tuple(int(index) for index in vector)


def _stored(model: Any, tensor: Any) -> int:
    """Bytes of a tensor's buffer."""
    buffer = model.Buffers(tensor.Buffer())
    return buffer.DataLength() if buffer is not None else 0


def _tensor(model: Any, tensor: Any) -> Tensor:
    shape = _indices(tensor.ShapeAsNumpy())
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    scale, zero_point, axis = _quantization(tensor.Quantization())
    values = None
    buffer = model.Buffers(tensor.Buffer())
    if buffer is not None and buffer.DataLength():
        kind = tensor.Type()
        if kind in DTYPES:
            values = _constant(buffer.DataAsNumpy(), DTYPES[kind], shape, name)
            if scale is not None and zero_point is not None:
                values = _dequantised(values, scale, zero_point, axis)
    return Tensor(name, shape, values, scale, zero_point)


def _constant(raw: Any, dtype: str, shape: tuple[int, ...], name: str) -> NDArray:
    needed = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize
    if any(side < 0 for side in shape) or needed != raw.nbytes:
        raise WeightsError(
            f"damaged LiteRT file ({name!r} has {raw.nbytes:,} bytes for shape {list(shape)})"
        )
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape)


def _quantization(record: Any) -> tuple[NDArray | None, NDArray | None, int]:
    if record is None or not record.ScaleLength():
        return None, None, 0
    scale = np.asarray(record.ScaleAsNumpy(), np.float32)
    zero_point: NDArray = np.broadcast_to(np.int64(0), scale.shape)
    if record.ZeroPointLength():
        zero_point = np.asarray(record.ZeroPointAsNumpy(), np.int64)
    if scale.shape != zero_point.shape or not np.isfinite(scale).all():
        raise WeightsError("damaged LiteRT file (a tensor's scales and zero points differ)")
    return scale, zero_point, record.QuantizedDimension()


def _dequantised(stored: NDArray, scale: NDArray, zero_point: NDArray, axis: int) -> NDArray:
    """(stored - zero point) x scale, one pair for the tensor or one for each slice of ``axis``."""
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    levels = stored.astype(np.int64) - zero_point.reshape(shape)
    values = levels * scale.astype(np.float64).reshape(shape)
    if not (np.abs(values) < np.finfo(np.float32).max).all():
        raise WeightsError("damaged LiteRT file (its constants are too large for float32)")
    return np.asarray(values, np.float32)


def _operator(operator: Any, codes: list[str]) -> Operator:
    import tflite

    kind = codes[operator.OpcodeIndex()]
    inputs, outputs = _indices(operator.InputsAsNumpy()), _indices(operator.OutputsAsNumpy())
    readers: dict[str, Callable[[], Any]] = {
        "CONV_2D": tflite.Conv2DOptions,
        "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
        "AVERAGE_POOL_2D": tflite.Pool2DOptions,
        "FULLY_CONNECTED": tflite.FullyConnectedOptions,
        "ADD": tflite.AddOptions,
    }
    table = operator.BuiltinOptions()
    if kind not in readers or table is None:
        return Operator(kind, inputs, outputs)
    options = readers[kind]()
    options.Init(table.Bytes, table.Pos)
    activations = _by_number(tflite.ActivationFunctionType)
    activation = activations.get(options.FusedActivationFunction(), "unknown")
    if kind in ("FULLY_CONNECTED", "ADD"):
        return Operator(kind, inputs, outputs, activation=activation)
    dilation, window = (1, 1), (0, 0)
    if kind == "AVERAGE_POOL_2D":
        window = (options.FilterHeight(), options.FilterWidth())
    else:
        dilation = (options.DilationHFactor(), options.DilationWFactor())
    return Operator(
        kind, inputs, outputs, (options.StrideH(), options.StrideW()),
        _by_number(tflite.Padding).get(options.Padding(), "unknown"), activation, dilation,
        window,
    )  # fmt: skip


def _by_number(enumeration: type) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
