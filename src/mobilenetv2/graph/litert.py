"""Writer of LiteRT (.tflite) files, with the config and labels in a zip archive at the end.

A graph with integers is integer throughout, including input and output, as in LiteRT's
specification of 8-bit quantisation. Tensors between layers are int8 with one scale and one zero
point. Weights are int8 with zero point 0 and a scale for each output channel, biases int32 at the
scale of input x weight. Additions and the pooling rescale to their output's scale; a PAD keeps its
input's scale. Such files run on processors without floating point, and Google's tools for NPUs
accept them.
"""

import io
import zipfile
from typing import Any, Literal, TypeAlias

import numpy as np

from mobilenetv2.errors import SpecError
from mobilenetv2.graph.flatbuffer import Builder, Quantisation
from mobilenetv2.graph.graph import (
    FEATURES,
    INPUT,
    LOGITS,
    PICTURES,
    PROBABILITIES,
    Add,
    Constant,
    Conv,
    Graph,
    Integers,
    Linear,
    Normalise,
    Operation,
    Pool,
    Steps,
    zero_integers,
)
from mobilenetv2.graph.litert_metadata import LABELS, NAME, metadata
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import LITERT_CONVOLUTION, LITERT_DEPTHWISE, Layout
from mobilenetv2.model.float16 import nearest
from mobilenetv2.model.int8 import channel_integers
from mobilenetv2.spec.blocks import padding
from mobilenetv2.spec.records import ModelConfig

CONFIG = "config.json"
"""Name of the archive's entry with the JSON of :meth:`spec.records.ModelConfig.to_json`."""
ENDS = frozenset({INPUT, FEATURES, LOGITS})
"""Inputs and outputs of the file, the tensors that may be uint8."""
FRACTIONS = Steps(1 / 256, 0)
"""Quantisation of probabilities, which LiteRT's specification of 8 bits prescribes."""
SIGNED = 128
"""Difference between a graph's uint8 and int8, for the integers and for the zero point."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Date of the archive's entries, constant so that the same arguments give the same bytes."""
Storage: TypeAlias = Literal["float32", "float16", "int8"]
"""Types in which the weights of a float graph are stored."""


def write_litert(
    graph: Graph,
    storage: Storage = "float32",
    unsigned: bool = False,
    probabilities: bool = False,
) -> bytes:
    """Return the graph as a sealed LiteRT file; the same arguments give the same bytes.

    The file takes ``input`` (1, height, width, channels), normalised with the config's
    preprocessing, or uint8 if the graph normalises. It gives ``logits`` (1, n) and the graph's
    other outputs. ReLU6 is fused. Padding that is not 'SAME' at the config's size becomes a PAD
    before the convolution.

    Args:
        storage: type in which a float graph's weights are stored. Computation is in float32, by a
            DEQUANTIZE for each, as TensorFlow's converter writes it: 'float16' for weights and
            biases (some processors compute in float16, too), 'int8' for weights with a scale for
            each output channel, a quarter of the bytes.
        unsigned: in a graph with integers, make input and output uint8, with a lossless QUANTIZE
            after the first and before the last; MediaPipe's tasks take no int8 image.
        probabilities: end with the softmax or sigmoid, so that the output is ``probabilities``
            instead of ``logits``; a single one is the probability of the second class.

    Raises:
        SpecError: the graph is for any size.
    """
    if graph.any_size:
        raise SpecError("a LiteRT file takes images of the config's size only")
    emitter = _Emitter(graph, storage, unsigned, probabilities)
    start, ends = emitter.walk()
    inside = {NAME: metadata(graph.config, list(ends), graph.takes_pictures)}
    return sealed(emitter.builder.finish(start, list(ends.values()), inside), graph.config)


def outline(
    graph: Graph,
    storage: Storage = "float32",
    unsigned: bool = False,
    probabilities: bool = False,
) -> tuple[bytes, list[int]]:
    """Return the flatbuffer that :func:`write_litert` writes, without its weights and its metadata.

    Returns:
        The flatbuffer, in which learned constants are empty, and the indices of these.
    """
    emitter = _Emitter(graph, storage, unsigned, probabilities, empty=True)
    start, ends = emitter.walk()
    return emitter.builder.finish(start, list(ends.values())), emitter.builder.learned


class _Emitter:
    """Emitter of tensors and operators in the order in which they run."""

    def __init__(
        self,
        graph: Graph,
        storage: Storage,
        unsigned: bool,
        probabilities: bool,
        empty: bool = False,
    ) -> None:
        self.graph, self.storage, self.unsigned = graph, storage, unsigned
        self.probabilities, self.empty = probabilities, empty
        self.builder = Builder(empty)
        self.made: dict[str, int] = {}
        """Index in the file of each tensor of the graph."""
        self.names = {tensor: name for name, tensor in graph.outputs.items()}
        """Name in the file of each tensor that is an output of the graph."""

    def walk(self) -> tuple[int, dict[str, int]]:
        """Add all tensors and operators; return the index of the input, and of outputs by name."""
        start = self.start()
        for operation in self.graph.operations:
            EMITTERS[type(operation)](self, operation)
        ends = {self.names[name]: self.end(name) for name in self.graph.outputs.values()}
        if self.probabilities:
            ends = {PROBABILITIES if name == LOGITS else name: at for name, at in ends.items()}
        return start, ends

    def start(self) -> int:
        """Add the input tensor, with its QUANTIZE if needed, and return its index."""
        tensor = self.graph.tensors[INPUT]
        if self.graph.takes_pictures:
            self.made[PICTURES] = self.builder.tensor(INPUT, self.shape(INPUT), "uint8")
            return self.made[PICTURES]
        if not self.unsigned or tensor.steps is None:
            return self.computed(INPUT)
        given = self.quantised(INPUT, tensor.steps, "uint8", INPUT)
        self.builder.operator("QUANTIZE", [given], self.computed(INPUT))
        return given

    def end(self, name: str) -> int:
        """Return the index of the output for a tensor, after adding its QUANTIZE if needed."""
        steps, called, made = self.graph.tensors[name].steps, name, self.made[name]
        if self.probabilities and name == LOGITS:
            called, steps = PROBABILITIES, steps and FRACTIONS
            made = self.answer(made, steps)
        if not self.unsigned or name not in ENDS or steps is None:
            return made
        end = self.quantised(name, steps, "uint8", called)
        return self.builder.operator("QUANTIZE", [made], end)

    def answer(self, logits: int, steps: Steps | None) -> int:
        """Emit the softmax or sigmoid of logits."""
        softmax = self.graph.config.spec.classifier.outputs == "softmax"
        kind = "SOFTMAX" if softmax else "LOGISTIC"
        if steps is None:
            end = self.builder.tensor(PROBABILITIES, self.shape(LOGITS))
        else:
            called = f"{PROBABILITIES}.int8" if self.unsigned else PROBABILITIES
            end = self.quantised(LOGITS, steps, "int8", called)
        return self.builder.operator(kind, [logits], end)

    def normalise(self, operation: Normalise) -> None:
        """Emit (value - mean) / std for uint8 images, with the same results as ``images``."""
        shape = self.shape(INPUT)
        y = self.builder.tensor("values", shape)
        self.builder.operator("CAST", [self.made[operation.input]], y)
        for kind, name, values in (
            ("SUB", "mean", operation.mean), ("DIV", "std", operation.std)
        ):  # fmt: skip
            constant = np.array(values, np.float32).reshape(1, 1, 1, -1)
            made = self.builder.tensor(f"{name}.applied", shape)
            y = self.builder.operator(kind, [y, self.builder.constant(name, constant)], made)
        self.made[operation.output] = y

    def conv(self, operation: Conv) -> None:
        """Emit a convolution, with a PAD before it if neither of LiteRT's two paddings fits."""
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
        """Emit the padding of a convolution's input, with the integer that means 0 in its type."""
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
        """Return a tensor's shape in LiteRT's layout: one image, channels last."""
        channels, *sides = self.graph.tensors[name].shape
        return (1, *sides, channels)

    def computed(self, name: str) -> int:
        """Add a tensor of the graph to the file, and return its index."""
        steps, called = self.graph.tensors[name].steps, self.names.get(name, name)
        if steps is None:
            self.made[name] = self.builder.tensor(called, self.shape(name))
        else:
            called = f"{name}.int8" if self.unsigned and name in ENDS else called
            self.made[name] = self.quantised(name, steps, "int8", called)
        return self.made[name]

    def quantised(self, name: str, steps: Steps, dtype: str, called: str) -> int:
        """Add an integer tensor to the file, and return its index."""
        zero_point = steps.zero_point - (SIGNED if dtype == "int8" else 0)
        scale = np.array([steps.scale], np.float32)
        return self.builder.tensor(called, self.shape(name), dtype, Quantisation(scale, zero_point))

    def stored(self, name: str, value: Constant | None, layout: Layout | None = None) -> int:
        """Add a constant in the file's types, and return the index of the tensor to use."""
        assert value is not None
        if isinstance(value, Integers):
            return self.integers(name, value, layout)
        if self.storage == "int8" and value.ndim > 1:  # a bias is small, and needs its precision
            # A constant that stays empty takes no memory.
            integers = (
                zero_integers(value, np.int8, per_channel=True)
                if self.empty
                else Integers(*channel_integers(value))
            )
            return self.widened(name, self.integers(f"{name}.int8", integers, layout))
        values = value if layout is None else layout.from_canonical(value)
        if self.storage == "float16":
            halves = nearest(values).astype(np.float16)
            return self.widened(name, self.builder.constant(f"{name}.half", halves, learned=True))
        return self.builder.constant(name, values, learned=True)

    def integers(self, name: str, value: Integers, layout: Layout | None) -> int:
        """Add a constant of integers, and return its index."""
        values = value.values if layout is None else layout.from_canonical(value.values)
        scales = value.scales if value.per_channel else value.scales[:1]
        # Channels come last in a depthwise weight, first in all others.
        axis = 3 if layout is LITERT_DEPTHWISE else 0
        return self.builder.constant(name, values, Quantisation(scales, axis=axis), True)

    def widened(self, name: str, stored: int) -> int:
        """Emit the float32 values of a stored constant, and return the index of their tensor."""
        made = self.builder.tensor(name, self.builder.shape(stored))
        return self.builder.operator("DEQUANTIZE", [stored], made)


EMITTERS: dict[type[Operation], Any] = {
    Normalise: _Emitter.normalise,
    Conv: _Emitter.conv,
    Add: _Emitter.add,
    Pool: _Emitter.pool,
    Linear: _Emitter.linear,
}


def _word(activation: str | None) -> str:
    return "NONE" if activation is None else activation.upper()


def sealed(graph: bytes, config: ModelConfig) -> bytes:
    """Return a flatbuffer followed by the config, the labels and the seal.

    Config and labels are in a zip archive, where LiteRT's metadata keeps its files; the seal is its
    comment.
    """
    memory = io.BytesIO()
    memory.write(graph)  # first, so that the archive's offsets count from the file's start
    # Not compressed: Google's readers take stored entries only.
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        # A name with a line break would become two labels; the config keeps it unchanged.
        lines = (" ".join(name.split()) for name in config.output_names)
        for name, text in ((LABELS, "\n".join(lines) + "\n"), (CONFIG, config.to_json())):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text)
        archive.comment = b"0" * seal.DIGITS
    body = memory.getvalue()[: -seal.DIGITS]
    return body + seal.digest(body).encode()
