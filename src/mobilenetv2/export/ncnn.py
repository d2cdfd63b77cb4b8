"""ncnn: by its own converter, pnnx, from our ONNX graph."""

import dataclasses
import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from mobilenetv2.checkpoints.description import sidecar_path
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.export.job import Options
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.runtime import ncnn as runtime
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.runtime.ncnn import checksum, read_artifact, weights_path
from mobilenetv2.spec.records import ModelConfig, Origin

NAME = "model"
SECONDS = 600


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Make ``out``, the graph; the weights in '.bin' in place of '.param'; and ``out``.json.

    The config lies in the last, whose origin has one SHA-256 over all three.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        ArtifactError: pnnx failed.
        MissingExtra: pnnx is not installed.
    """
    graph, half = lower(config, arrays).replace(batch=1), options.precision == "float16"
    if half:
        graph = graph.with_weights(representable)
    param, weights = _converted(write_onnx(graph), half)
    out.write_bytes(param)
    weights_path(out).write_bytes(weights)
    sidecar_path(out).write_text(_tied(config, param, weights).to_json(), "utf-8")


def _tied(config: ModelConfig, graph: bytes, weights: bytes) -> ModelConfig:
    """The config with the checksum of all three in its origin."""
    origin = config.origin or Origin("trained here")
    config = dataclasses.replace(config, origin=origin)
    origin = dataclasses.replace(origin, sha256=checksum(graph, weights, config.to_json()))
    return dataclasses.replace(config, origin=origin)


def reload(out: Path, threads: int | None = None) -> Engine:
    """What :func:`write` made, in ncnn.

    Raises:
        ArtifactError: a file of the three is damaged, or ncnn does not take it.
    """
    return runtime.create_engine(read_artifact(out), threads)


def _converted(model: bytes, half: bool) -> tuple[bytes, bytes]:
    """(graph, weights) of an ONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{NAME}.onnx").write_bytes(model)
        try:
            done = subprocess.run(
                [_program(), f"{NAME}.onnx", f"fp16={int(half)}"], cwd=folder, timeout=SECONDS,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ArtifactError(f"pnnx cannot convert the network ({error})") from None
        made = [Path(folder) / f"{NAME}.ncnn.{end}" for end in ("param", "bin")]
        if done.returncode != 0 or not all(file.is_file() for file in made):
            last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
            raise ArtifactError(
                f"pnnx cannot convert the network (status {done.returncode}: {last})"
            )
        graph, weights = (file.read_bytes() for file in made)
    return graph, weights


def _program() -> str:
    """pnnx itself. Its Python package is not imported: that imports all of PyTorch to start it."""
    found = find_spec("pnnx")
    if found is None or found.origin is None:
        require("pnnx")  # raises, with the line that installs it
        raise ArtifactError("pnnx is installed without its program; install it again")
    return str(Path(found.origin).parent / ("pnnx.exe" if os.name == "nt" else "pnnx"))
