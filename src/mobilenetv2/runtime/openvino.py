"""Engine OpenVINO, Intel's runtime for its own and other processors (extra: openvino).

Its files are ``NAME.xml`` with the graph and ``NAME.bin`` beside it. The .xml is read as a stream,
without building a tree. It ends with a comment that seals both files.
"""

from pathlib import Path
from threading import Lock
from typing import Any
from xml.etree.ElementTree import ParseError, XMLParser

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.model import seal
from mobilenetv2.runtime.engine import (
    Artifact,
    Engine,
    Output,
    Program,
    another_network,
    cannot_run,
    embedded_config,
    read_bounded,
)

CONFIG = ("mobilenetv2", "config")
"""Place of the config in the file's ``rt_info``."""
BEGIN, END = b"<!-- mobilenetv2.sha256 ", b"-->\n"
"""Text before and after the seal."""
LARGEST_XML = 32 * 1024**2
"""Limit in bytes. A float file of 1,000 classes has 0.3 MB, an int8 file 0.5 MB."""
PICTURES = "u8"


def read_artifact(path: Path) -> Artifact:
    """Read the graph, its weights and the config inside it."""
    xml = read_bounded(path, LARGEST_XML)
    found = _scan(xml, path)
    config = embedded_config(found.config, path)
    weights = read_bounded(_weights_of(path))
    seal.check(xml, str(path), weights, end=END)
    height, width, channels = (*config.spec.size, config.spec.input_channels)
    (kind, shape), *others = found.inputs
    wanted = (height, width, channels) if kind == PICTURES else (channels, height, width)
    sides = shape.split(",")[1:]
    # '?' is a side of any length.
    fits = [side in ("?", str(size)) for side, size in zip(sides, wanted, strict=False)]
    if others or len(sides) != len(wanted) or not all(fits):
        shapes = " and ".join(shape for _, shape in found.inputs)
        raise another_network(path, config, f"takes {shapes}")
    return Artifact(config, "openvino", xml, str(path), weights)


def sealed(xml: bytes, weights: bytes) -> bytes:
    """Return an .xml file's bytes with the seal at the end."""
    body = xml + BEGIN
    return body + seal.digest(body, weights).encode() + END


def _weights_of(path: Path) -> Path:
    """Return the path of the .bin file in the same folder."""
    beside = path.with_suffix(".bin")
    if not beside.is_file():
        raise ArtifactError(f"{path}: its weights are missing; copy {beside.name} beside it")
    if beside.resolve().parent != path.resolve().parent:
        raise ArtifactError(f"{beside}: it is a link out of its folder; copy the file itself there")
    return beside


class _Scan:
    """Parser target that collects the needed parts of an .xml file."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.kind = ""
        self.inputs: list[tuple[str, str]] = []
        """Data type and shape of each input."""
        self.config: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        if self.path == ["net", "layers", "layer"]:
            self.kind = attributes.get("type", "")
        elif self.path == ["net", "layers", "layer", "data"] and self.kind == "Parameter":
            self.inputs.append((attributes.get("element_type", ""), attributes.get("shape", "")))
        elif self.path == ["net", "rt_info", *CONFIG]:
            self.config = attributes.get("value")

    def end(self, tag: str) -> None:
        self.path.pop()

    def doctype(self, *_: Any) -> None:
        # A document type can define entities, which grow without bound.
        raise ParseError("a document type")

    def close(self) -> None:
        pass


def _scan(xml: bytes, path: Path) -> _Scan:
    found = _Scan()
    parser = XMLParser(target=found)
    try:
        parser.feed(xml)
        parser.close()
    except (ParseError, ValueError, LookupError) as error:  # the latter two for its encoding
        raise ArtifactError(f"{path}: not an OpenVINO file, or damaged ({error})") from None
    if not found.inputs:
        raise ArtifactError(f"{path}: not an OpenVINO file (it has no input)")
    return found


class OpenVino(Engine):
    """Engine for OpenVINO files."""

    title = "OpenVINO"

    def __init__(self, compiled: Any, where: str) -> None:
        super().__init__(where)
        openvino = require("openvino")
        self._tensor = openvino.Tensor
        (given,) = compiled.inputs
        self.takes_pictures = given.get_element_type() == openvino.Type.u8
        self.dtype = np.dtype(given.get_element_type().to_dtype())
        batch = given.get_partial_shape()[0]
        self.batch = batch.get_length() if batch.is_static else None
        self.outputs = tuple(_name(output) for output in compiled.outputs)
        self._request, self._lock = compiled.create_infer_request(), Lock()

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        return self.answer(x, output)

    def answer(self, x: NDArray, output: str) -> NDArray:
        """Compute an output by its name in the graph."""
        given = self._tensor(np.ascontiguousarray(x), shared_memory=True)
        with self._lock:  # the next run of a request overwrites its outputs
            try:
                self._request.infer({0: given})
            except RuntimeError as error:
                raise self.failure(reason(error)) from None
            return np.array(self._request.get_tensor(output).data, np.float32)


def create_engine(artifact: Program, threads: int | None = None) -> OpenVino:
    """Compile the graph for the CPU, for all batch sizes."""
    openvino = require("openvino")
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # On processors with bfloat16 (AMX, AVX512-BF16), OpenVINO computes float32 graphs in
        # bfloat16 by default, which changes logits by some tenths.
        "INFERENCE_PRECISION_HINT": "f32",
        # A pinned thread waits for other processes on its core.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = read_model(core, artifact)
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # RuntimeError, or TypeError for bytes that are not text
        raise cannot_run(artifact.where, OpenVino.title, reason(error)) from None
    return OpenVino(compiled, artifact.where)


def _name(output: Any) -> str:
    """Return the name of an output; the head's output has the second name 'map'."""
    return "map" if "map" in output.get_names() else str(output.get_any_name())


def read_model(core: Any, artifact: Program) -> Any:
    """Return an openvino.Model of an artifact's bytes, so that no other files are opened."""
    if artifact.format == "onnx":
        return core.read_model(artifact.graph)
    weights = np.frombuffer(artifact.weights, np.uint8)
    return core.read_model(artifact.graph, require("openvino").Tensor(weights))


def reason(error: Exception) -> str:
    """Return the last line of an error; the lines before name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
