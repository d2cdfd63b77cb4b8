"""ONNX with all its options; what a model folder runs as, but in a file of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.errors import ArtifactError
from mobilenetv2.export.job import Options
from mobilenetv2.graph.onnx_writer import INPUT, OPSET, Form, GraphWriter, write_folded
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import rounded
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.runtime import onnxruntime as runtime
from mobilenetv2.runtime.files import onnx as file
from mobilenetv2.runtime.onnxruntime import OnnxRuntime
from mobilenetv2.spec.records import ModelConfig

FLOAT, FLOAT16 = 1, 10
"""Of ONNX's TensorProto."""


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """See :class:`mobilenetv2.export.job.Module`."""
    form = Form(
        pictures=options.pictures, batch=options.batch, any_size=options.any_size,
        opset=OPSET if options.opset is None else options.opset,
    )  # fmt: skip
    folded = fold(config.spec, arrays)
    half = options.precision == "float16"
    made = write_half(config, rounded(folded), form) if half else write_folded(config, folded, form)
    out.write_bytes(made)


def reload(out: Path, threads: int | None = None) -> OnnxRuntime:
    """See :class:`mobilenetv2.export.job.Module`."""
    return runtime.start(file.read(out), threads)


def write_half(config: ModelConfig, folded: Folded, form: Form | None = None) -> bytes:
    """The network in float16; it takes and gives what the float32 one does.

    Raises:
        SpecError: as :func:`mobilenetv2.graph.onnx_writer.write_folded`.
        ArtifactError: a weight or bias is too large for float16.
    """
    return _HalfWriter(config, folded, form or Form()).finish()


class _HalfWriter(GraphWriter):
    """From the normalised picture to the logits in float16, a Cast at either end."""

    within = False
    """Whether the normalised picture is behind us: normalising stays in float32."""

    def constant(self, name: str, values: Any) -> str:
        if not self.within:
            return super().constant(name, values)
        with np.errstate(over="ignore"):  # said better below
            half = np.asarray(values, np.float16)
        if not np.isfinite(half).all():
            raise ArtifactError(
                f"{name}: values up to {np.abs(values).max():.3g} are too large for float16; "
                "export it in float32"
            )
        return super().constant(name, half)

    def settle(self, name: str, y: str) -> str:
        if name == INPUT:
            self.within = True
            return self.node("Cast", "input.half", [y], to=FLOAT16)
        if name not in {end for end, _ in self.ends()}:
            return y
        # The name is the output's; what comes after goes on in float16.
        half = f"{y}.half"
        self.nodes[-1].output[0] = self.nodes[-1].name = half
        self.node("Cast", name, [half], to=FLOAT)
        return half
