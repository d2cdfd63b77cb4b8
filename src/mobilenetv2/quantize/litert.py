"""A scheme as a LiteRT file in which everything, the ends too, is an integer.

As LiteRT's specification of 8 bits has it: tensors between layers are int8 with one scale and one
zero point, weights int8 with a zero point of 0 and a scale for each output channel, biases int32 at
the scale of input x weight. Additions and the mean rescale to their own output's scale, a PAD keeps
its input's. Processors without floating point run it, and Google's tools for NPUs take it.
"""

import numpy as np

from mobilenetv2.graph.flatbuffer import Quantisation
from mobilenetv2.graph.litert_writer import (
    FEATURES,
    INPUT,
    OUTPUT,
    Form,
    GraphWriter,
)
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.quantize.tensors import sources
from mobilenetv2.spec.blocks import Convolution

ENDS = frozenset({INPUT, FEATURES, OUTPUT})
"""What may be uint8: what people, not layers, take and give."""
SIGNED = 128
"""From a scheme's uint8 to int8: off the integer and off the zero point alike."""


def write(scheme: Scheme, form: Form | None = None, unsigned: bool = False) -> bytes:
    """The quantised network as a sealed LiteRT file. The same arguments give the same bytes.

    It takes ``input``, int8 (1, height, width, channels), and gives ``logits``, int8 (1, classes),
    each with its scale and zero point: what they stand for is what the float file takes and gives.

    Args:
        form: what the graph gives.
        unsigned: the ends are uint8, with a QUANTIZE behind the first and before the last, which
            lose nothing: MediaPipe's tasks take no int8 picture.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
    """
    return _Writer(scheme, form or Form(), unsigned).finish()


class _Writer(GraphWriter):
    def __init__(self, scheme: Scheme, form: Form, unsigned: bool) -> None:
        super().__init__(scheme.config, scheme.folded, form)
        self.scheme, self.unsigned = scheme, unsigned
        self.sources = sources(scheme.config.spec)

    def start(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if not self.unsigned:
            return super().start(shape)
        given = self.settled(INPUT, shape, "uint8", INPUT)
        return given, self.builder.operator("QUANTIZE", [given], self.tensor(INPUT, shape))

    def end(self, name: str, index: int) -> int:
        if not self.unsigned or name not in ENDS:
            return index
        shape = self.builder.shape(index)
        return self.builder.operator("QUANTIZE", [index], self.settled(name, shape, "uint8", name))

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        ends = self.unsigned and name in ENDS
        return self.settled(name, shape, "int8", f"{name}.int8" if ends else name)

    def settled(self, name: str, shape: tuple[int, ...], dtype: str, called: str) -> int:
        """A tensor with the range of the network's tensor ``name``; its index."""
        given = self.scheme.ranges[name]
        zero_point = given.zero_point - (SIGNED if dtype == "int8" else 0)
        scale = np.array([given.scale], np.float32)
        return self.builder.tensor(called, shape, dtype, Quantisation(scale, zero_point))

    def parameters(self, name: str, step: Convolution | None = None) -> list[int]:
        scales = self.scheme.weight_scales(name)
        given = self.scheme.ranges[self.sources[name]]
        if not self.scheme.per_channel:
            scales = scales[:1]
        # Channels come last in a depthwise weight, first in all others.
        axis = 3 if step is not None and step.role == "depthwise" else 0
        weight = self.laid_out(self.scheme.integers(name), step)
        bias = self.scheme.bias_integers(name, given)
        products = np.asarray(scales * np.float32(given.scale), np.float32)
        return [
            self.builder.constant(f"{name}.weight", weight, Quantisation(scales, axis=axis)),
            self.builder.constant(f"{name}.bias", bias, Quantisation(products)),
        ]
