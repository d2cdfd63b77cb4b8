"""LiteRT files written: tensors, constants and operators into the flatbuffer of the schema.

The counterpart of :mod:`mobilenetv2.weights.containers.litert`, with the same names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Bytes: the schema's ``force_align`` of constants, so that runtimes use them where they lie."""
TYPES = {"float32": 0, "int32": 2}
"""NumPy -> TensorType of the schema."""
OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "ADD": "AddOptions",
    "MEAN": "ReducerOptions", "FULLY_CONNECTED": "FullyConnectedOptions", "PAD": "PadOptions",
}  # fmt: skip


class Builder:
    """One graph. Constants and operators are kept until :meth:`finish` writes them."""

    def __init__(self) -> None:
        import flatbuffers

        self._b = flatbuffers.Builder(1024)
        self._tensors: list[tuple[str, tuple[int, ...], str, int]] = []
        self._buffers: list[NDArray | None] = [None]  # the first is empty by convention
        self._operators: list[dict[str, Any]] = []

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        """A float32 tensor that is computed; its index."""
        self._tensors.append((name, shape, "float32", 0))
        return len(self._tensors) - 1

    def constant(self, name: str, values: NDArray) -> int:
        """A float32 or int32 constant; its index."""
        self._buffers.append(values)
        self._tensors.append((name, values.shape, values.dtype.name, len(self._buffers) - 1))
        return len(self._tensors) - 1

    def operator(self, kind: str, inputs: Sequence[int], output: int, stride: int = 1,
                 padding: str = "SAME", activation: str = "NONE") -> int:  # fmt: skip
        """An operator of :data:`OPTIONS`; the index of its output."""
        self._operators.append(
            {"kind": kind, "inputs": inputs, "output": output, "stride": stride,
             "padding": padding, "activation": activation}
        )  # fmt: skip
        return output

    def finish(self, start: int, end: int) -> bytes:
        """The file of a graph from the tensor ``start`` to the tensor ``end``."""
        import tflite

        kinds = list(dict.fromkeys(operator["kind"] for operator in self._operators))
        buffers = self._list([self._buffer(values) for values in self._buffers])
        tensors = self._list([self._tensor(*tensor) for tensor in self._tensors])
        operators = self._list([self._operator(kinds, **one) for one in self._operators])
        numbers = [getattr(tflite.BuiltinOperator, kind) for kind in kinds]
        codes = self._list(
            [
                self._table("OperatorCode", DeprecatedBuiltinCode=n, BuiltinCode=n, Version=1)
                for n in numbers
            ]
        )
        graph = self._table(
            "SubGraph", Tensors=tensors, Operators=operators, Inputs=self._indices([start]),
            Outputs=self._indices([end]), Name=self._b.CreateString("main"),
        )  # fmt: skip
        model = self._table(
            "Model", Version=SCHEMA_VERSION, OperatorCodes=codes, Subgraphs=self._list([graph]),
            Description=self._b.CreateString("mobilenetv2"), Buffers=buffers,
        )  # fmt: skip
        self._b.Finish(model, IDENTIFIER)
        return bytes(self._b.Output())

    def _buffer(self, values: NDArray | None) -> int:
        if values is None:
            return self._table("Buffer")
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._b.StartVector(1, len(data), ALIGNMENT)
        self._b.head -= len(data)
        self._b.Bytes[self._b.Head() : self._b.Head() + len(data)] = data
        return self._table("Buffer", Data=self._b.EndVector())

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, buffer: int) -> int:
        return self._table(
            "Tensor", Shape=self._indices(shape), Type=TYPES[dtype], Buffer=buffer,
            Name=self._b.CreateString(name),
        )  # fmt: skip

    def _operator(self, kinds: list[str], kind: str, inputs: Sequence[int], output: int,
                  stride: int, padding: str, activation: str) -> int:  # fmt: skip
        import tflite

        fields: dict[str, Any] = {}
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            fields = {
                "StrideH": stride, "StrideW": stride, "DilationHFactor": 1, "DilationWFactor": 1,
                "Padding": getattr(tflite.Padding, padding),
                "FusedActivationFunction": getattr(tflite.ActivationFunctionType, activation),
            }  # fmt: skip
        if kind == "DEPTHWISE_CONV_2D":
            fields["DepthMultiplier"] = 1
        options = self._table(OPTIONS[kind], **fields)
        return self._table(
            "Operator", OpcodeIndex=kinds.index(kind), Inputs=self._indices(inputs),
            Outputs=self._indices([output]), BuiltinOptions=options,
            BuiltinOptionsType=getattr(tflite.BuiltinOptions, OPTIONS[kind]),
        )  # fmt: skip

    def _table(self, kind: str, **fields: Any) -> int:
        """A table of the schema; vectors and strings in it are written before it."""
        import tflite

        getattr(tflite, f"{kind}Start")(self._b)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(self._b, value)
        return int(getattr(tflite, f"{kind}End")(self._b))

    def _list(self, tables: Sequence[int]) -> int:
        self._b.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self._b.PrependUOffsetTRelative(table)
        return int(self._b.EndVector())

    def _indices(self, values: Sequence[int]) -> int:
        return int(self._b.CreateNumpyVector(np.array(values, np.int32)))
