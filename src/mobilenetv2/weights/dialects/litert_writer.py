"""A network as a float LiteRT (.tflite) file, its config and labels in a zip archive behind it."""

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.spec.blocks import Convolution, padding, require_inverted, resolve
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights import seal
from mobilenetv2.weights.canonical import Arrays
from mobilenetv2.weights.containers.litert_builder import Builder
from mobilenetv2.weights.dialects.litert import CONFIG
from mobilenetv2.weights.folding import Folded, fold
from mobilenetv2.weights.layout import LITERT_CONVOLUTION, LITERT_DEPTHWISE

LABELS = "labels.txt"
"""One name a line, where LiteRT metadata has them."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of the archive's entries: the same arguments give the same bytes."""


def write(config: ModelConfig, arrays: Arrays) -> bytes:
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
    return write_folded(config, fold(config.spec, arrays))


def write_folded(config: ModelConfig, folded: Folded) -> bytes:
    """:func:`write` of a network that is folded already.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
    """
    spec = config.spec
    require_inverted(spec, "LiteRT")
    network, builder = resolve(spec), Builder()
    activation = spec.numerics.activation.upper()

    def layer(step: Convolution, x: int) -> int:
        weight, bias = folded[step.name]
        return _layer(builder, step, x, weight, bias, "NONE" if step.linear else activation)

    y = start = builder.tensor("input", (1, *spec.size, spec.input_channels))
    y = layer(network.stem, y)
    for block in network.blocks:
        x = y
        for step in block.steps:
            y = layer(step, y)
        if block.shortcut:
            x = layer(block.shortcut, x)
        if block.residual:
            sizes = (1, *block.out_size, block.out_channels)
            y = builder.operator("ADD", [x, y], builder.tensor(f"blocks.{block.index}", sizes))
    if network.head:
        y = layer(network.head, y)
    classes, features = network.classifier_shape
    axes = builder.constant("axes", np.array([1, 2], np.int32))
    y = builder.operator("MEAN", [y, axes], builder.tensor("features", (1, features)))
    constants = [
        builder.constant(f"classifier.{part}", values)
        for part, values in zip(("weight", "bias"), folded["classifier"], strict=True)
    ]
    end = builder.tensor("logits", (1, classes))
    builder.operator("FULLY_CONNECTED", [y, *constants], end)
    return sealed(builder.finish(start, end), config)


def _layer(builder: Builder, step: Convolution, x: int, weight: NDArray, bias: NDArray,
           activation: str) -> int:  # fmt: skip
    """A convolution, with a PAD before it where LiteRT's two options do not say its padding."""
    same = tuple(padding("same", side, step.kernel, step.stride) for side in step.in_size)
    option = "SAME"
    if step.padding != same:
        zeros = builder.constant(f"{step.name}.zeros", _zeros(step.padding))
        height, width = (
            side + sum(pad) for side, pad in zip(step.in_size, step.padding, strict=True)
        )
        padded = builder.tensor(f"{step.name}.padded", (1, height, width, step.in_channels))
        x, option = builder.operator("PAD", [x, zeros], padded), "VALID"
    depthwise = step.role == "depthwise"
    layout = LITERT_DEPTHWISE if depthwise else LITERT_CONVOLUTION
    constants = [
        builder.constant(f"{step.name}.weight", layout.from_canonical(weight)),
        builder.constant(f"{step.name}.bias", bias),
    ]
    return builder.operator(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, *constants],
        builder.tensor(step.name, (1, *step.out_size, step.out_channels)),
        stride=step.stride, padding=option, activation=activation,
    )  # fmt: skip


def _zeros(pads: Sequence[tuple[int, int]]) -> NDArray:
    return np.array([(0, 0), *pads, (0, 0)], np.int32)


def sealed(graph: bytes, config: ModelConfig) -> bytes:
    """A flatbuffer with the config and the labels behind it, and the seal.

    They lie in a zip archive, where LiteRT's metadata keeps its files; the seal is its comment.
    """
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        # A name with a line break would be two labels; the config has it as it is.
        lines = (" ".join(name.split()) for name in config.labels.names)
        for name, text in ((LABELS, "\n".join(lines) + "\n"), (CONFIG, config.to_json())):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
        archive.comment = b"0" * seal.DIGITS
    body = (graph + memory.getvalue())[: -seal.DIGITS]
    return body + seal.digest(body).encode()
