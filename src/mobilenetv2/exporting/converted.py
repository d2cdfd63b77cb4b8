"""Writers of MNN and ncnn, whose own converters run in a separate process on our ONNX graph."""

import dataclasses
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mobilenetv2.checkpoints.description import sidecar_path
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.direct import graph_of
from mobilenetv2.exporting.job import Options
from mobilenetv2.files import temporary_folder
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime.engines.ncnn import checksum, weights_path
from mobilenetv2.spec.records import TRAINED_HERE, ModelConfig, Origin

# Not MNN's command mnnconvert: as it starts, it installs a package that reports every conversion
# to MNN's makers. This is the function beneath it. The arguments come as a line on stdin, because
# a command line has no room for a thousand labels.
MNN_PROGRAM = "import json, sys, _tools; _tools.mnnconvert(json.loads(sys.stdin.readline()))"
GIVEN = "model.onnx"
"""Name of the converter's input file, in the folder where it works."""
SECONDS = 600
MNN_NAME = 11
"""Place of a random identifier, ``mnn_uuid``, among the fields of an MNN file."""
MNN_NAME_LENGTH = 36


def write_mnn(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a sealed MNN file with the config in its ``bizCode``, MNN's field for a note."""
    with suppress_native_output():
        require("MNN")
    # MNN cuts digits off instead of rounding: in float16 the graph's weights fit already.
    graph, half = graph_of(config, arrays, options).replace(batch=1), options.precision == "float16"
    arguments = [
        "mnnconvert", "-f", "ONNX", "--modelFile", GIVEN, "--MNNModel", "model.mnn",
        "--bizCode", config.to_json(), *(["--fp16"] if half else []),
    ]  # fmt: skip
    (body,) = _converted(
        "MNN", [sys.executable, "-P", "-c", MNN_PROGRAM], write_onnx(graph, as_convolutions=True),
        ["model.mnn"], json.dumps(arguments).encode(),
    )  # fmt: skip
    body = _named_by_contents(body)
    out.write_bytes(body + seal.digest(body).encode())


def _named_by_contents(body: bytes) -> bytes:
    """Return an MNN file whose identifier, a random one, follows from all other bytes instead.

    So the same network gives the same file.
    """
    (table,) = struct.unpack_from("<I", body)
    (back,) = struct.unpack_from("<i", body, table)
    size, *offsets = struct.unpack_from(f"<{2 + MNN_NAME + 1}H", body, table - back)
    if size <= 2 * (1 + MNN_NAME) or not offsets[-1]:
        return body  # this version writes none
    at = table + offsets[-1]
    at += struct.unpack_from("<I", body, at)[0]
    (length,) = struct.unpack_from("<I", body, at)
    if length != MNN_NAME_LENGTH:
        return body
    rest = body[: at + 4], body[at + 4 + length :]
    return rest[0] + seal.digest(*rest)[:length].encode() + rest[1]


def write_ncnn(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write the graph ``out``, the weights ('.bin' in place of '.param') and ``out``.json.

    The last file contains the config, whose origin has one SHA-256 over all three.
    """
    graph, half = graph_of(config, arrays, options).replace(batch=1), options.precision == "float16"
    made = ["model.ncnn.param", "model.ncnn.bin"]
    command = [_pnnx(), GIVEN, f"fp16={int(half)}"]
    param, weights = _converted("pnnx", command, write_onnx(graph), made)
    out.write_bytes(param)
    weights_path(out).write_bytes(weights)
    origin = config.origin or Origin(TRAINED_HERE)
    digest = checksum(param, weights, dataclasses.replace(config, origin=origin).to_json())
    tied = dataclasses.replace(config, origin=dataclasses.replace(origin, sha256=digest))
    sidecar_path(out).write_text(tied.to_json(), "utf-8")


def _converted(
    title: str, command: Sequence[str], model: bytes, made: Sequence[str], given: bytes = b""
) -> list[bytes]:
    """Return the files that a converter makes from an ONNX file.

    Args:
        title: name of the converter for an error message.
        given: its stdin.

    Raises:
        ArtifactError: the converter failed.
    """
    with temporary_folder() as folder:
        (folder / GIVEN).write_bytes(model)
        try:
            done = subprocess.run(
                command, cwd=folder, timeout=SECONDS, input=given, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ArtifactError(f"{title} cannot convert the network ({error})") from None
        files = [folder / name for name in made]
        if done.returncode != 0 or not all(file.is_file() for file in files):
            last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
            raise ArtifactError(
                f"{title} cannot convert the network (status {done.returncode}: {last})"
            )
        return [file.read_bytes() for file in files]


def _pnnx() -> str:
    """Return the path of the program pnnx; its Python package would import PyTorch.

    Raises:
        MissingExtra: pnnx is not installed.
    """
    found = find_spec("pnnx")
    if found is None or found.origin is None:
        require("pnnx")  # raises, with the line that installs it
        raise ArtifactError("pnnx is installed without its program; install it again")
    return str(Path(found.origin).parent / ("pnnx.exe" if os.name == "nt" else "pnnx"))
