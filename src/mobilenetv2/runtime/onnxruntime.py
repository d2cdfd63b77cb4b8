"""ONNX Runtime: the default engine, part of the core install."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.runtime.engine import Artifact, Output

ERRORS_ONLY = 3
"""Of its five levels of messages, which go to stderr."""
PICTURES = "tensor(uint8)"


def library() -> ModuleType:
    """Return ONNX Runtime with its telemetry off: the only place where it is imported."""
    package = require("onnxruntime")
    package.disable_telemetry_events()  # of Windows, which has no variable for it
    return package


class OnnxRuntime:
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    def __init__(self, session: Any, where: str) -> None:
        self.session, self.where = session, where
        (given,) = session.get_inputs()
        self.input, self.takes_pictures = given.name, given.type == PICTURES
        batch = given.shape[0]
        self.batch: int | None = batch if isinstance(batch, int) else None
        self.outputs = tuple(output.name for output in session.get_outputs())

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol."""
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if self.batch is None:
            return self._run(x, output)
        from mobilenetv2.runtime.fixed import in_fixed_batches

        return in_fixed_batches(lambda part: self._run(part, output), x, self.batch)

    def _run(self, x: NDArray, output: Output) -> NDArray:
        try:
            (found,) = self.session.run([output], {self.input: x})
        except Exception as error:  # its own classes derive from nothing narrower
            raise ArtifactError(f"{self.where}: ONNX Runtime cannot run it ({error})") from None
        return np.asarray(found, np.float32)


def start(artifact: Artifact, threads: int | None = None) -> OnnxRuntime:
    """A session on the CPU.

    Raises:
        ArtifactError: not a graph that ONNX Runtime can run, or one with data in other files.
    """
    onnxruntime = library()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        # From bytes, so that nothing beside the file can be opened.
        session = onnxruntime.InferenceSession(
            artifact.graph, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{artifact.where}: ONNX Runtime cannot run it ({reason})") from None
    return OnnxRuntime(session, artifact.where)
