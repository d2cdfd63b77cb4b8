"""ONNX Runtime: the default engine, part of the core install."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.runtime.engine import Output

ERRORS_ONLY = 3
"""Of its five levels of messages, which go to stderr."""


class OnnxRuntime:
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    def __init__(self, session: Any, where: str) -> None:
        self.session, self.where = session, where
        self.input = session.get_inputs()[0].name
        self.outputs = tuple(output.name for output in session.get_outputs())

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol.

        Raises:
            ArtifactError: the graph has no such output, or cannot take such a picture.
        """
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        try:
            (found,) = self.session.run([output], {self.input: x})
        except Exception as error:  # its own classes derive from nothing narrower
            raise ArtifactError(f"{self.where}: ONNX Runtime cannot run it ({error})") from None
        return np.asarray(found, np.float32)


def start(graph: bytes, where: str, threads: int | None = None) -> OnnxRuntime:
    """A session on the CPU.

    Raises:
        ArtifactError: not a graph that ONNX Runtime can run, or one with data in other files.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        # From bytes, so that nothing beside the file can be opened.
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{where}: ONNX Runtime cannot run it ({reason})") from None
    return OnnxRuntime(session, where)
