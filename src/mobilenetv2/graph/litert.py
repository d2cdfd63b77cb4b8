"""A graph as a LiteRT (.tflite) file, its config and labels in a zip archive behind it.

Where the graph has integers everything is one, the ends too, as LiteRT's specification of 8 bits
has it: tensors between layers are int8 with one scale and one zero point, weights int8 with a zero
point of 0 and a scale for each output channel, biases int32 at the scale of input x weight.
Additions and the pooling rescale to their own output's scale, a PAD keeps its input's. Processors
without floating point run it, and Google's tools for NPUs take it.
"""

import io
import zipfile
from typing import Any

import numpy as np

from mobilenetv2.errors import SpecError
from mobilenetv2.graph.flatbuffer import Builder, Quantisation
from mobilenetv2.graph.graph import (
    FEATURES,
    INPUT,
    LOGITS,
    Add,
    Constant,
    Conv,
    Graph,
    Integers,
    Linear,
    Operation,
    Pool,
    Steps,
)
from mobilenetv2.graph.litert_metadata import LABELS, NAME, metadata
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import LITERT_CONVOLUTION, LITERT_DEPTHWISE, Layout
from mobilenetv2.model.float16 import nearest
from mobilenetv2.spec.blocks import padding
from mobilenetv2.spec.records import ModelConfig

CONFIG = "config.json"
"""The archive's entry with what :meth:`spec.records.ModelConfig.to_json` gives."""
ENDS = frozenset({INPUT, FEATURES, LOGITS})
"""Tensors that may be uint8: what people, not layers, take and give."""
SIGNED = 128
"""From a graph's uint8 to int8: off the integer and off the zero point alike."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Date of the archive's entries: the same arguments give the same bytes."""


def write_litert(graph: Graph, half: bool = False, unsigned: bool = False) -> bytes:
    """Return the graph as a sealed LiteRT file. The same arguments give the same bytes.

    It takes ``input`` (1, height, width, channels), normalised as the config's preprocessing says,
    and gives ``logits`` (1, n) and the graph's other outputs. ReLU6 is fused; padding that is not
    'SAME' at the config's size is a PAD in front.

    Args:
        half: weights and biases are float16, each behind a DEQUANTIZE, as TensorFlow's converter
            has them; everything is computed in float32 where a processor has nothing better.
        unsigned: of a graph with integers, the ends are uint8, with a QUANTIZE behind the first
            and before the last, which lose nothing: MediaPipe's tasks take no int8 picture.

    Raises:
        SpecError: a graph that normalises by itself, or is for any size.
    """
    if graph.takes_pictures or graph.any_size:
        raise SpecError("a LiteRT file takes normalised pictures of the config's size only")
    return _Emitter(graph, half, unsigned).emit()


class _Emitter:
    """Tensors and operators in the order in which they run."""

    def __init__(self, graph: Graph, half: bool, unsigned: bool) -> None:
        self.graph, self.half, self.unsigned = graph, half, unsigned
        self.builder = Builder()
        self.made: dict[str, int] = {}
        """Tensor of the graph -> its index in the file."""
        self.names = {tensor: name for name, tensor in graph.outputs.items()}
        """Tensor of the graph -> its name in the file, where that is the output's."""

    def emit(self) -> bytes:
        start = self.start()
        for operation in self.graph.operations:
            EMITTERS[type(operation)](self, operation)
        ends = {name: self.end(name) for name in self.graph.outputs.values()}
        inside = {NAME: metadata(self.graph.config, [self.names[name] for name in ends])}
        body = self.builder.finish(start, list(ends.values()), inside)
        return sealed(body, self.graph.config)

    def start(self) -> int:
        """What the file takes; behind it comes what the first layer takes."""
        tensor = self.graph.tensors[INPUT]
        if not self.unsigned or tensor.steps is None:
            return self.computed(INPUT)
        given = self.quantised(INPUT, tensor.steps, "uint8", INPUT)
        self.builder.operator("QUANTIZE", [given], self.computed(INPUT))
        return given

    def end(self, name: str) -> int:
        """What the file gives for a tensor."""
        steps = self.graph.tensors[name].steps
        if not self.unsigned or name not in ENDS or steps is None:
            return self.made[name]
        end = self.quantised(name, steps, "uint8", name)
        return self.builder.operator("QUANTIZE", [self.made[name]], end)

    def conv(self, operation: Conv) -> None:
        """A convolution, with a PAD before it where LiteRT's two options do not say its padding."""
        assert operation.batch_norm is None
        x, option = self.made[operation.input], "SAME"
        sides = self.graph.tensors[operation.input].shape[1:]
        same = tuple(padding("same", side, operation.kernel, operation.stride) for side in sides)
        if operation.padding != same:
            x, option = self.padded(operation, x), "VALID"
        depthwise = operation.groups > 1
        layout = LITERT_DEPTHWISE if depthwise else LITERT_CONVOLUTION
        self.builder.operator(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [x, self.stored(f"{operation.name}.weight", operation.weight, layout),
             self.stored(f"{operation.name}.bias", operation.bias)],
            self.computed(operation.output), stride=operation.stride, padding=option,
            activation=_word(operation.activation),
        )  # fmt: skip

    def padded(self, operation: Conv, x: int) -> int:
        """A convolution's input with its zeros around it: those that stand for 0 in its type."""
        pads = [(0, 0), *operation.padding, (0, 0)]
        zeros = self.builder.constant(f"{operation.name}.zeros", np.array(pads, np.int32))
        shape = tuple(
            side + sum(pad) for side, pad in zip(self.builder.shape(x), pads, strict=True)
        )
        padded = self.builder.like(x, f"{operation.name}.padded", shape)
        return self.builder.operator("PAD", [x, zeros], padded)

    def add(self, operation: Add) -> None:
        inputs = [self.made[name] for name in operation.inputs]
        self.builder.operator(
            "ADD", inputs, self.computed(operation.output),
            activation=_word(operation.activation),
        )  # fmt: skip

    def pool(self, operation: Pool) -> None:
        axes = self.builder.constant("axes", np.array([1, 2], np.int32))
        kind = {"average": "MEAN", "max": "REDUCE_MAX"}[operation.kind]
        given = [self.made[operation.input], axes]
        self.builder.operator(kind, given, self.computed(operation.output))

    def linear(self, operation: Linear) -> None:
        given = [
            self.made[operation.input],
            self.stored(f"{operation.name}.weight", operation.weight),
        ]
        if operation.bias is not None:
            given.append(self.stored(f"{operation.name}.bias", operation.bias))
        self.builder.operator(
            "FULLY_CONNECTED", given, self.computed(operation.output),
            activation=_word(operation.activation),
        )  # fmt: skip

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape as LiteRT has it: one picture, channels last."""
        channels, *sides = self.graph.tensors[name].shape
        return (1, *sides, channels)

    def computed(self, name: str) -> int:
        """The index of a new tensor of the graph."""
        steps, called = self.graph.tensors[name].steps, self.names.get(name, name)
        if steps is None:
            self.made[name] = self.builder.tensor(called, self.shape(name))
        else:
            called = f"{name}.int8" if self.unsigned and name in ENDS else called
            self.made[name] = self.quantised(name, steps, "int8", called)
        return self.made[name]

    def quantised(self, name: str, steps: Steps, dtype: str, called: str) -> int:
        """The index of a new integer tensor."""
        zero_point = steps.zero_point - (SIGNED if dtype == "int8" else 0)
        scale = np.array([steps.scale], np.float32)
        return self.builder.tensor(called, self.shape(name), dtype, Quantisation(scale, zero_point))

    def stored(self, name: str, value: Constant | None, layout: Layout | None = None) -> int:
        """A constant in the file's precision; the index of what operators take."""
        assert value is not None
        values = value.values if isinstance(value, Integers) else value
        if layout is not None:
            values = layout.from_canonical(values)
        if isinstance(value, Integers):
            scales = value.scales if value.per_channel else value.scales[:1]
            # Channels come last in a depthwise weight, first in all others.
            axis = 3 if layout is LITERT_DEPTHWISE else 0
            return self.builder.constant(name, values, Quantisation(scales, axis=axis))
        if not self.half:
            return self.builder.constant(name, values)
        stored = self.builder.constant(f"{name}.half", nearest(values).astype(np.float16))
        return self.builder.operator(
            "DEQUANTIZE", [stored], self.builder.tensor(name, values.shape)
        )


EMITTERS: dict[type[Operation], Any] = {
    Conv: _Emitter.conv,
    Add: _Emitter.add,
    Pool: _Emitter.pool,
    Linear: _Emitter.linear,
}


def _word(activation: str | None) -> str:
    return "NONE" if activation is None else activation.upper()


def sealed(graph: bytes, config: ModelConfig) -> bytes:
    """Return a flatbuffer with the config and the labels behind it, and the seal.

    They lie in a zip archive, where LiteRT's metadata keeps its files; the seal is its comment.
    """
    memory = io.BytesIO()
    memory.write(graph)  # first, so that the archive's offsets are those of the whole file
    # Not compressed: Google's readers take stored entries only.
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        # A name with a line break would be two labels; the config has it as it is.
        lines = (" ".join(name.split()) for name in config.output_names)
        for name, text in ((LABELS, "\n".join(lines) + "\n"), (CONFIG, config.to_json())):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text)
        archive.comment = b"0" * seal.DIGITS
    body = memory.getvalue()[: -seal.DIGITS]
    return body + seal.digest(body).encode()
