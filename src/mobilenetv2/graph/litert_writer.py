"""A network as a LiteRT (.tflite) file, its config and labels in a zip archive behind it."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.graph.flatbuffer import Builder
from mobilenetv2.graph.litert_metadata import LABELS, NAME, metadata
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.model.layout import LITERT_CONVOLUTION, LITERT_DEPTHWISE
from mobilenetv2.spec.blocks import Convolution, padding, require_inverted, resolve
from mobilenetv2.spec.records import ModelConfig

INPUT, OUTPUT, FEATURES, CLASSIFIER = "input", "logits", "features", "classifier"
MAP = "head"
"""The last feature map: what is pooled. Other networks than those with a head are refused."""
CONFIG = "config.json"
"""Of the archive's entries: what :meth:`ModelConfig.to_json` gives."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of the archive's entries: the same arguments give the same bytes."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the graph gives, and how it keeps its constants."""

    features: bool = False
    """A second output, ``features``: what is pooled, (batch, channels)."""
    last_map: bool = False
    """Another output, ``head``: the last feature map, (batch, height, width, channels)."""
    intermediates: bool = False
    """Every layer's and block's tensor as an output, under its name."""
    half: bool = False
    """Weights and biases are float16, each behind a DEQUANTIZE, as TensorFlow's converter has
    them; everything is computed in float32 where a processor has nothing better."""


def write(config: ModelConfig, arrays: Arrays, form: Form | None = None) -> bytes:
    """The network as a LiteRT file. The same arguments give the same bytes.

    It takes ``input``, float32 (1, height, width, channels), normalised as
    ``config.preprocessing`` says, and gives ``logits`` (1, classes). BatchNorm is folded, ReLU6
    fused; padding that is not 'SAME' at the config's size is a PAD in front.

    Args:
        arrays: canonical.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        WeightsError: the arrays do not fit the config.
    """
    return write_folded(config, fold(config.spec, arrays), form)


def write_folded(config: ModelConfig, folded: Folded, form: Form | None = None) -> bytes:
    """:func:`write` of a network that is folded already.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
    """
    return GraphWriter(config, folded, form or Form()).finish()


class GraphWriter:
    """Tensors and operators, in the order in which they run. Names are the canonical ones.

    A subclass may declare the tensors between layers (:meth:`tensor`) and write a layer's constants
    (:meth:`parameters`) in its own way.
    """

    def __init__(self, config: ModelConfig, folded: Folded, form: Form) -> None:
        require_inverted(config.spec, "LiteRT")
        self.config, self.spec, self.folded, self.form = config, config.spec, folded, form
        self.builder = Builder()
        self.made: dict[str, int] = {}
        """The network's tensors that are computed, in order."""
        self.activation = self.spec.numerics.activation.upper()

    def finish(self) -> bytes:
        """The whole file, sealed."""
        start, x = self.start((1, *self.spec.size, self.spec.input_channels))
        self.network(x)
        wanted = [OUTPUT]
        if self.form.intermediates:
            wanted = list(dict.fromkeys([OUTPUT, FEATURES, *self.made]))
        else:
            wanted += [FEATURES] * self.form.features + [MAP] * self.form.last_map
        ends = {name: self.end(name, self.made[name]) for name in wanted}
        inside = {NAME: metadata(self.config, list(ends))}
        return sealed(self.builder.finish(start, list(ends.values()), inside), self.config)

    def start(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """What the graph takes, and what the first layer does."""
        given = self.tensor(INPUT, shape)
        return given, given

    def end(self, name: str, index: int) -> int:
        """What the graph gives for the tensor ``name`` of the network."""
        return index

    def network(self, x: int) -> None:
        """From the picture to the logits."""
        network = resolve(self.spec)
        y = self.layer(network.stem, x)
        for block in network.blocks:
            x = y
            for step in block.steps:
                y = self.layer(step, y)
            if block.shortcut:
                x = self.layer(block.shortcut, x)
            if block.residual:
                shape = (1, *block.out_size, block.out_channels)
                y = self.builder.operator(
                    "ADD", [x, y], self.computed(f"blocks.{block.index}", shape)
                )
        if network.head:
            y = self.layer(network.head, y)
        classes, channels = network.classifier_shape
        axes = self.builder.constant("axes", np.array([1, 2], np.int32))
        y = self.builder.operator("MEAN", [y, axes], self.computed(FEATURES, (1, channels)))
        given = [y, *self.parameters(CLASSIFIER)]
        self.builder.operator("FULLY_CONNECTED", given, self.computed(OUTPUT, (1, classes)))

    def layer(self, step: Convolution, x: int) -> int:
        """A convolution, with a PAD before it where LiteRT's two options do not say its padding;
        the index of its output."""
        same = tuple(padding("same", side, step.kernel, step.stride) for side in step.in_size)
        option = "SAME"
        if step.padding != same:
            x, option = self.padded(step, x), "VALID"
        kind = "DEPTHWISE_CONV_2D" if step.role == "depthwise" else "CONV_2D"
        return self.builder.operator(
            kind, [x, *self.parameters(step.name, step)],
            self.computed(step.name, (1, *step.out_size, step.out_channels)),
            stride=step.stride, padding=option,
            activation="NONE" if step.linear else self.activation,
        )  # fmt: skip

    def padded(self, step: Convolution, x: int) -> int:
        """A convolution's input with its zeros around it: those that stand for 0 in its type."""
        zeros = self.builder.constant(f"{step.name}.zeros", _zeros(step.padding))
        height, width = (
            side + sum(pad) for side, pad in zip(step.in_size, step.padding, strict=True)
        )
        shape = (1, height, width, step.in_channels)
        return self.builder.operator(
            "PAD", [x, zeros], self.builder.like(x, f"{step.name}.padded", shape)
        )

    def computed(self, name: str, shape: tuple[int, ...]) -> int:
        """:meth:`tensor` of all but the input; it is remembered."""
        self.made[name] = self.tensor(name, shape)
        return self.made[name]

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        """The input, a layer's or a sum's output, the features or the logits; its index."""
        return self.builder.tensor(name, shape)

    def parameters(self, name: str, step: Convolution | None = None) -> list[int]:
        """Indices of a layer's weight and bias; ``step`` is None for the classifier."""
        weight, bias = self.folded[name]
        pair = ("weight", self.laid_out(weight, step)), ("bias", bias)
        return [self.real(f"{name}.{part}", values) for part, values in pair]

    def laid_out(self, weight: NDArray, step: Convolution | None) -> NDArray:
        """A canonical weight as LiteRT has it."""
        if step is None:
            return weight
        layout = LITERT_DEPTHWISE if step.role == "depthwise" else LITERT_CONVOLUTION
        return layout.from_canonical(weight)

    def real(self, name: str, values: NDArray) -> int:
        """A float constant in the form's precision; the index of what operators take."""
        if not self.form.half:
            return self.builder.constant(name, values)
        stored = self.builder.constant(f"{name}.half", _halves(values))
        return self.builder.operator(
            "DEQUANTIZE", [stored], self.builder.tensor(name, values.shape)
        )


def _halves(values: NDArray) -> NDArray:
    """The nearest float16; what is too large becomes the largest, not infinity."""
    largest = np.finfo(np.float16).max
    return np.asarray(np.clip(values, -largest, largest), np.float16)


def _zeros(pads: Sequence[tuple[int, int]]) -> NDArray:
    return np.array([(0, 0), *pads, (0, 0)], np.int32)


def sealed(graph: bytes, config: ModelConfig) -> bytes:
    """A flatbuffer with the config and the labels behind it, and the seal.

    They lie in a zip archive, where LiteRT's metadata keeps its files; the seal is its comment.
    """
    memory = io.BytesIO()
    memory.write(graph)  # first, so that the archive's offsets are those of the whole file
    # Not compressed: Google's readers take stored entries only.
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        # A name with a line break would be two labels; the config has it as it is.
        lines = (" ".join(name.split()) for name in config.labels.names)
        for name, text in ((LABELS, "\n".join(lines) + "\n"), (CONFIG, config.to_json())):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text)
        archive.comment = b"0" * seal.DIGITS
    body = memory.getvalue()[: -seal.DIGITS]
    return body + seal.digest(body).encode()
