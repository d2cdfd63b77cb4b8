"""Writer of LiteRT files: puts tensors, constants and operators into the schema's flatbuffer.

The reader is :mod:`mobilenetv2.checkpoints.containers.litert`; it has the same names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Alignment of constants in bytes, the schema's ``force_align``; runtimes use them in place."""
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int8": 9}
"""TensorType of the schema by NumPy's name of the type."""
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "ADD": "AddOptions",
    "MEAN": "ReducerOptions", "FULLY_CONNECTED": "FullyConnectedOptions", "PAD": "PadOptions",
    "DEQUANTIZE": "DequantizeOptions", "QUANTIZE": "QuantizeOptions",
    "REDUCE_MAX": "ReducerOptions", "CAST": "CastOptions", "SUB": "SubOptions",
    "DIV": "DivOptions", "SOFTMAX": "SoftmaxOptions", "LOGISTIC": "",
}  # fmt: skip
"""Table of options of each operator; '' if it has none."""
VERSIONS = {
    ("CONV_2D", "int8"): 3, ("DEPTHWISE_CONV_2D", "int8"): 3, ("ADD", "int8"): 2,
    ("MEAN", "int8"): 2, ("REDUCE_MAX", "int8"): 2, ("FULLY_CONNECTED", "int8"): 4,
    ("PAD", "int8"): 2, ("DEQUANTIZE", "float16"): 3, ("DEQUANTIZE", "int8"): 5,
    ("SOFTMAX", "int8"): 2, ("LOGISTIC", "int8"): 2,
}  # fmt: skip
"""Versions of operators by input type, if not 1: the least version that a runtime must support.

A DEQUANTIZE of int8 here has a scale for each channel, which is the reason for its version.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """Quantisation of a tensor; an integer means scale x (integer - zero point)."""

    scales: NDArray
    """One scale as (1,), or one for each slice of ``axis``."""
    zero_point: int = 0
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    """Index of the buffer with the constant's values; 0 for a computed tensor."""
    quantisation: Quantisation | None


@dataclass(frozen=True, slots=True)
class _Operator:
    kind: str
    version: int
    inputs: tuple[int, ...]
    output: int
    stride: int
    padding: str
    activation: str


class Builder:
    """Builder of a file with one graph; :meth:`finish` writes it.

    Args:
        empty: leave out the values of the constants that the network has learned.
    """

    def __init__(self, empty: bool = False) -> None:
        import flatbuffers

        self._empty = empty
        self.learned: list[int] = []
        """Indices of the constants that the network has learned."""
        self._b = flatbuffers.Builder(1024)
        self._tensors: list[_Tensor] = []
        self._buffers: list[NDArray | None] = [None]  # the first is empty by convention
        self._operators: list[_Operator] = []

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32",
               quantisation: Quantisation | None = None) -> int:  # fmt: skip
        """Add the input or a computed tensor, and return its index."""
        self._tensors.append(_Tensor(name, shape, dtype, 0, quantisation))
        return len(self._tensors) - 1

    def constant(self, name: str, values: NDArray, quantisation: Quantisation | None = None,
                 learned: bool = False) -> int:  # fmt: skip
        """Add a constant of a type of :data:`TYPES`, and return its index."""
        dtype = values.dtype.name
        buffer = self._keep(np.zeros(0, dtype) if learned and self._empty else values)
        self._tensors.append(_Tensor(name, values.shape, dtype, buffer, quantisation))
        if learned:
            self.learned.append(len(self._tensors) - 1)
        return len(self._tensors) - 1

    def like(self, tensor: int, name: str, shape: tuple[int, ...]) -> int:
        """Add a computed tensor with the type and quantisation of another, and return its index."""
        given = self._tensors[tensor]
        return self.tensor(name, shape, given.dtype, given.quantisation)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._tensors[tensor].shape

    def operator(self, kind: str, inputs: Sequence[int], output: int, stride: int = 1,
                 padding: str = "SAME", activation: str = "NONE") -> int:  # fmt: skip
        """Add an operator of :data:`OPTIONS`, and return the index of its output."""
        version = VERSIONS.get((kind, self._tensors[inputs[0]].dtype), 1)
        self._operators.append(
            _Operator(kind, version, tuple(inputs), output, stride, padding, activation)
        )
        return output

    def finish(self, start: int, ends: Sequence[int],
               metadata: Mapping[str, bytes] | None = None) -> bytes:  # fmt: skip
        """Return the file of a graph from the tensor ``start`` to the tensors ``ends``.

        Args:
            metadata: further buffers, by the name under which the model lists them.
        """
        import tflite

        numbered = {
            name: self._keep(np.frombuffer(raw, np.uint8)) for name, raw in (metadata or {}).items()
        }
        kinds = list(dict.fromkeys((one.kind, one.version) for one in self._operators))
        buffers = vector(self._b, [self._buffer(values) for values in self._buffers])
        tensors = vector(self._b, [self._tensor(tensor) for tensor in self._tensors])
        operators = vector(self._b, [self._operator(kinds, one) for one in self._operators])
        numbers = [(getattr(tflite.BuiltinOperator, kind), version) for kind, version in kinds]
        kinds_of = [
            self._table("OperatorCode", DeprecatedBuiltinCode=n, BuiltinCode=n, Version=version)
            for n, version in numbers
        ]
        codes = vector(self._b, kinds_of)
        graph = self._table(
            "SubGraph", Tensors=tensors, Operators=operators, Inputs=self._indices([start]),
            Outputs=self._indices(ends), Name=self._b.CreateString("main"),
        )  # fmt: skip
        names = [
            self._table("Metadata", Name=self._b.CreateString(name), Buffer=buffer)
            for name, buffer in numbered.items()
        ]
        graphs = vector(self._b, [graph])
        model = self._table(
            "Model", Version=SCHEMA_VERSION, OperatorCodes=codes, Subgraphs=graphs,
            Description=self._b.CreateString("mobilenetv2"), Buffers=buffers,
            Metadata=vector(self._b, names),
        )  # fmt: skip
        self._b.Finish(model, IDENTIFIER)
        return bytes(self._b.Output())

    def _keep(self, values: NDArray) -> int:
        """Add a buffer for the values, and return its index."""
        self._buffers.append(values)
        return len(self._buffers) - 1

    def _buffer(self, values: NDArray | None) -> int:
        if values is None:
            return self._table("Buffer")
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._b.StartVector(1, len(data), ALIGNMENT)
        self._b.head -= len(data)
        self._b.Bytes[self._b.Head() : self._b.Head() + len(data)] = data
        return self._table("Buffer", Data=self._b.EndVector())

    def _tensor(self, tensor: _Tensor) -> int:
        fields = {}
        if tensor.quantisation is not None:
            fields["Quantization"] = self._quantisation(tensor.quantisation)
        return self._table(
            "Tensor", Shape=self._indices(tensor.shape), Type=TYPES[tensor.dtype],
            Buffer=tensor.buffer, Name=self._b.CreateString(tensor.name), **fields,
        )  # fmt: skip

    def _quantisation(self, record: Quantisation) -> int:
        scales = np.asarray(record.scales, np.float32)
        zero_points = np.full(len(scales), record.zero_point, np.int64)
        return self._table(
            "QuantizationParameters", Scale=self._b.CreateNumpyVector(scales),
            ZeroPoint=self._b.CreateNumpyVector(zero_points), QuantizedDimension=record.axis,
        )  # fmt: skip

    def _operator(self, kinds: Sequence[tuple[str, int]], one: _Operator) -> int:
        import tflite

        fields: dict[str, Any] = {}
        if one.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            fields = {
                "StrideH": one.stride, "StrideW": one.stride,
                "DilationHFactor": 1, "DilationWFactor": 1,
                "Padding": getattr(tflite.Padding, one.padding),
            }  # fmt: skip
        if one.activation != "NONE" or fields:
            activation = getattr(tflite.ActivationFunctionType, one.activation)
            fields["FusedActivationFunction"] = activation
        if one.kind == "DEPTHWISE_CONV_2D":
            fields["DepthMultiplier"] = 1
        elif one.kind == "SOFTMAX":
            fields["Beta"] = 1.0
        elif one.kind == "CAST":
            given, made = (self._tensors[at].dtype for at in (one.inputs[0], one.output))
            fields = {"InDataType": TYPES[given], "OutDataType": TYPES[made]}
        options: dict[str, int] = {}
        if name := OPTIONS[one.kind]:
            options = {
                "BuiltinOptions": self._table(name, **fields),
                "BuiltinOptionsType": getattr(tflite.BuiltinOptions, name),
            }
        return self._table(
            "Operator", OpcodeIndex=kinds.index((one.kind, one.version)),
            Inputs=self._indices(one.inputs), Outputs=self._indices([one.output]), **options,
        )  # fmt: skip

    def _table(self, kind: str, **fields: Any) -> int:
        """Write a table of the schema; its vectors and strings must be written before."""
        import tflite

        getattr(tflite, f"{kind}Start")(self._b)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(self._b, value)
        return int(getattr(tflite, f"{kind}End")(self._b))

    def _indices(self, values: Sequence[int]) -> int:
        return int(self._b.CreateNumpyVector(np.array(values, np.int32)))


def vector(builder: Any, tables: Sequence[int]) -> int:
    """Write a vector of tables that are already written, and return its offset."""
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
