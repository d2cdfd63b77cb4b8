"""Engine ONNX Runtime, the default and part of the core install, and its ONNX files."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.graph.onnx import CONFIG_KEY
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

ERRORS_ONLY = 3
"""Lowest severity of ONNX Runtime's messages on stderr: errors."""
PICTURES = "tensor(uint8)"
TYPES = {PICTURES: "uint8", "tensor(float16)": "float16", "tensor(double)": "float64"}
"""NumPy's type of an input, if it is not float32."""


def read_artifact(path: Path) -> Artifact:
    """Read an ONNX file; raise if it needs data of other files."""
    from mobilenetv2.checkpoints.containers.onnx import parse_onnx

    data = read_bounded(path)
    graph = parse_onnx(data, path)
    config = embedded_config(graph.metadata.get(CONFIG_KEY), path)
    seal.check(data, str(path))
    (shape,) = graph.inputs.values()
    wanted, sides = (*config.spec.size, config.spec.input_channels), tuple(shape[1:])
    if len(sides) == 3 and sides[0] in (1, 3):  # channels first; images have them last
        sides = (*sides[1:], sides[0])
    if len(sides) != 3 or any(s not in (None, w) for s, w in zip(sides, wanted, strict=True)):
        raise another_network(path, config, f"takes {list(shape)}")
    return Artifact(config, "onnx", data, str(path))


def library() -> ModuleType:
    """Import ONNX Runtime and disable its telemetry; nothing else imports it."""
    package = require("onnxruntime")
    package.disable_telemetry_events()  # on Windows, which has no variable for it
    return package


class OnnxRuntime(Engine):
    """Engine for ONNX files."""

    title = "ONNX Runtime"

    def __init__(self, session: Any, where: str) -> None:
        super().__init__(where)
        self.session = session
        (given,) = session.get_inputs()
        self.input, self.takes_pictures = given.name, given.type == PICTURES
        self.dtype = np.dtype(TYPES.get(given.type, "float32"))
        self.batch = given.shape[0] if isinstance(given.shape[0], int) else None
        self.outputs = tuple(output.name for output in session.get_outputs())

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        return self.answer(x, output)

    def answer(self, x: NDArray, output: str) -> NDArray:
        """Compute an output by its name in the graph."""
        try:
            (found,) = self.session.run([output], {self.input: x})
        except Exception as error:  # its classes have no narrower base
            raise self.failure(error) from None
        return np.asarray(found, np.float32)


def create_engine(artifact: Program, threads: int | None = None) -> OnnxRuntime:
    """Start a session on the CPU."""
    onnxruntime = library()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        # From bytes, so that ONNX Runtime opens no other files.
        session = onnxruntime.InferenceSession(
            artifact.graph, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise cannot_run(artifact.where, OnnxRuntime.title, str(error).splitlines()[0]) from None
    return OnnxRuntime(session, artifact.where)
