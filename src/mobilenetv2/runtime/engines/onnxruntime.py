"""Engine ONNX Runtime, the default and part of the core install.

What it needs for a file of its own is in :mod:`mobilenetv2.runtime.engines.onnx_files`: the graph
of a model folder needs none of it.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.runtime.engines.engine import Artifact, Engine, Output, Program, cannot_run

ERRORS_ONLY = 3
"""Lowest severity of ONNX Runtime's messages on stderr: errors."""
PICTURES = "tensor(uint8)"
TYPES = {PICTURES: "uint8", "tensor(float16)": "float16", "tensor(double)": "float64"}
"""NumPy's type of an input, if it is not float32."""


def read_artifact(path: Path) -> Artifact:
    """Read an ONNX file; raise if it needs data of other files."""
    from mobilenetv2.runtime.engines.onnx_files import read_file

    return read_file(path)


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


def session_options() -> Any:
    """Return the options of every session: only errors are printed, and int8 products are exact.

    Without VNNI, ONNX Runtime's int8 products would saturate and change answers (see
    :mod:`mobilenetv2.graph.onnx`).
    """
    options = library().SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def create_engine(artifact: Program, threads: int | None = None, callers: int = 1) -> OnnxRuntime:
    """Start a session on the CPU.

    Args:
        artifact: the artifact.
        threads: number of threads of each run; default: ONNX Runtime's own choice. With one, a run
            computes in the thread that calls it.
        callers: number of threads that run it at once; a session takes any number.
    """
    onnxruntime, options = library(), session_options()
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
