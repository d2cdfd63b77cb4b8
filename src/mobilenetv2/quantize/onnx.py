"""A scheme as an ONNX file of QuantizeLinear and DequantizeLinear, which runtimes fuse to integers.

Each weight is int8, each bias int32, each tensor between layers goes through uint8 and back. ONNX
Runtime and OpenVINO run the operators between as integer ones; ReLU6's Clip vanishes, since what
its uint8 can say ends at 6 or before.

On x86 without VNNI (AVX2, early AVX-512) ONNX Runtime multiplies uint8 by int8 with ``vpmaddubsw``,
which adds two products in int16 and saturates at 32,767: 255 x 127 x 2 does not fit. Weights of 7
bits (``Scheme.weight_bits``) do: 255 x 63 x 2 = 32,130. Its session option
``session.x64quantprecision`` avoids it too, at a cost in speed.

A graph that is quantised in part (``only``) has to run without ONNX Runtime's optimisations: with
them it takes float weights between quantised tensors for weights to be quantised, one scale each.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.graph.onnx_writer import FEATURES, INPUT, Form, GraphWriter
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.quantize.tensors import CLASSIFIER, sources


def write(scheme: Scheme, form: Form | None = None, only: Collection[str] | None = None) -> bytes:
    """The quantised network as a sealed ONNX file. The same arguments give the same bytes.

    It takes and gives float32, as the float file does. Outputs (features, intermediates) are what
    the integers stand for.

    Args:
        form: what the graph takes and gives.
        only: names of the layers whose weights, and of the tensors whose values, are quantised; the
            rest stays float. None is all.

    Raises:
        SpecError: as :func:`mobilenetv2.graph.onnx_writer.write_folded`.
    """
    return _Writer(scheme, form or Form(), only).finish()


class _Writer(GraphWriter):
    def __init__(self, scheme: Scheme, form: Form, only: Collection[str] | None) -> None:
        super().__init__(scheme.config, scheme.folded, form)
        self.scheme, self.only = scheme, only
        self.sources = sources(scheme.config.spec)

    def quantised(self, name: str) -> bool:
        return self.only is None or name in self.only

    def parameters(self, name: str) -> list[str]:
        if not self.quantised(name):
            return super().parameters(name)
        prefix = name if name == CLASSIFIER else f"{name}.conv"
        scales = self.scheme.weight_scales(name)
        weight = self._real(f"{prefix}.weight", self.scheme.integers(name), scales)
        source = self.sources[name]
        if not self.quantised(source):
            # An int32 has no scale where the input has none.
            return [weight, self.constant(f"{prefix}.bias", self.folded[name][1])]
        given = self.scheme.ranges[source]
        products = np.asarray(scales * np.float32(given.scale), np.float32)
        bias = self._real(f"{prefix}.bias", self.scheme.bias_integers(name, given), products)
        return [weight, bias]

    def node(self, kind: str, output: str, inputs: list[str], **attributes: Any) -> str:
        y = super().node(kind, output, inputs, **attributes)
        if kind == "GlobalAveragePool" and self.quantised(FEATURES):
            # An integer operator needs its scale right behind it, before the Flatten.
            return self._through(y, f"{y}.real", self._steps(y, FEATURES))
        return y

    def settle(self, name: str, y: str) -> str:
        if not self.quantised(name):
            return y
        real = f"{name}.real"
        if name != INPUT:
            # The name is for what comes after: it may be an output of the graph.
            node, y, real = self.nodes[-1], f"{y}.exact", name
            node.output[0] = node.name = y
        return self._through(y, real, self._steps(name, name))

    def _steps(self, prefix: str, name: str) -> list[str]:
        """Scale and zero point of a tensor, as constants that begin with ``prefix``."""
        given = self.scheme.ranges[name]
        return [
            self.constant(f"{prefix}.scale", np.float32(given.scale)),
            self.constant(f"{prefix}.zero_point", np.uint8(given.zero_point)),
        ]

    def _through(self, y: str, real: str, steps: list[str]) -> str:
        """To integers and back, to what is called ``real`` then."""
        integers = super().node("QuantizeLinear", f"{real}.integers", [y, *steps])
        return super().node("DequantizeLinear", real, [integers, *steps])

    def _real(self, name: str, integers: NDArray, scales: NDArray) -> str:
        """A constant's integers, back to what they stand for."""
        axis = {"axis": 0}
        if not self.scheme.per_channel:
            scales, axis = scales[0], {}
        inputs = [
            self.constant(f"{name}.integers", integers),
            self.constant(f"{name}.scale", scales),
            # Symmetric, and said so: some of ONNX Runtime's rewriting wants it there.
            self.constant(f"{name}.zero_point", np.zeros_like(scales, integers.dtype)),
        ]
        return self.node("DequantizeLinear", name, inputs, **axis)
