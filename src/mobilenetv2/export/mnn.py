"""MNN: by its own converter, from our ONNX graph."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.export.job import Options
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime import mnn as runtime
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.mnn import read_artifact
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
    with suppress_native_output():
        require("MNN")
    graph, half = lower(config, arrays).replace(batch=1), options.precision == "float16"
    if half:  # MNN cuts digits off instead of rounding: it is given what fits
        graph = graph.with_weights(representable)
    body = _converted(write_onnx(graph, as_convolutions=True), config.to_json(), half)
    out.write_bytes(body + seal.digest(body).encode())


def reload(out: Path, threads: int | None = None) -> Engine:
    """What :func:`write` made, in MNN.

    Raises:
        ArtifactError: it is damaged, or MNN does not take it.
    """
    return runtime.create_engine(read_artifact(out), threads)


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
