"""MNN: by its own converter, from our ONNX graph."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.export.job import Options
from mobilenetv2.graph.onnx_writer import Form, GraphWriter
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import rounded
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime import mnn as runtime
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.files.mnn import read
from mobilenetv2.runtime.silence import silence
from mobilenetv2.spec.records import ModelConfig

# Not MNN's command mnnconvert: as it starts, it installs a package that reports every conversion
# to MNN's makers. This is the function beneath it. The arguments come as a line on stdin, because
# a command line has no room for a thousand labels.
PROGRAM = "import json, sys, _tools; _tools.mnnconvert(json.loads(sys.stdin.readline()))"
SECONDS = 600


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Make ``out``, with the config as its ``bizCode``, MNN's place for a note, and sealed.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        ArtifactError: the converter failed.
        MissingExtra: MNN is not installed.
    """
    with silence():
        require("MNN")
    half, folded = options.precision == "float16", fold(config.spec, arrays)
    # MNN cuts digits off instead of rounding: it is given what fits.
    writer = Writer(config, rounded(folded) if half else folded, Form(batch=1))
    body = _converted(writer.finish(), config.to_json(), half)
    out.write_bytes(body + seal.digest(body).encode())


def reload(out: Path, threads: int | None = None) -> Engine:
    """What :func:`write` made, in MNN.

    Raises:
        ArtifactError: it is damaged, or MNN does not take it.
    """
    return runtime.start(read(out), threads)


class Writer(GraphWriter):
    """ONNX as MNN converts it best: the classifier as a convolution of what was pooled. Of a matrix
    product it makes the same, with ten operators about shapes around it."""

    def node(self, kind: str, output: str, inputs: list[str], **attributes: Any) -> str:
        """As the parent's, but for the end."""
        if kind == "Flatten":
            return inputs[0]
        if kind != "Gemm":
            return super().node(kind, output, inputs, **attributes)
        y = super().node("Conv", "classifier", inputs, kernel_shape=[1, 1])
        return super().node("Flatten", output, [y], axis=1)

    def parameters(self, name: str) -> list[str]:
        """As the parent's, but for the end."""
        if name != "classifier":
            return super().parameters(name)
        weight, bias = self.folded[name]
        return [
            self.constant("classifier.weight", weight[:, :, None, None]),
            self.constant("classifier.bias", bias),
        ]


def _converted(model: bytes, note: str, half: bool) -> bytes:
    """An ONNX file as an MNN file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        arguments = [
            "mnnconvert", "-f", "ONNX", "--modelFile", "model.onnx", "--MNNModel", "model.mnn",
            "--bizCode", note, *(["--fp16"] if half else []),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", PROGRAM], cwd=folder, timeout=SECONDS,
                input=json.dumps(arguments).encode(), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ArtifactError(f"MNN cannot convert the network ({error})") from None
        made = Path(folder) / "model.mnn"
        if done.returncode != 0 or not made.is_file():
            last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
            raise ArtifactError(
                f"MNN cannot convert the network (status {done.returncode}: {last})"
            )
        return made.read_bytes()
