"""LiteRT (TensorFlow Lite): Google's engine for phones and small boards (extra: litert)."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.runtime.engine import Artifact, Output
from mobilenetv2.runtime.fixed import in_fixed_batches
from mobilenetv2.runtime.silence import silence


class LiteRt:
    """See :class:`mobilenetv2.runtime.engine.Engine`.

    Pictures go through one at a time: a batch is not quicker (measured on a CPU with XNNPACK), and
    every new size of it would prepare all weights again. A quantised graph takes and gives float32
    here, too.
    """

    takes_pictures = False

    def __init__(self, interpreter: Any, where: str) -> None:
        self.interpreter, self.where = interpreter, where
        (self._input,) = interpreter.get_input_details()
        self._ends = {end["name"]: end for end in interpreter.get_output_details()}
        self.outputs = tuple(self._ends)
        self.batch = int(self._input["shape"][0])
        self._lock = Lock()

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol."""
        if output not in self._ends:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        given = stored(x.transpose(0, 2, 3, 1), self._input)
        found = in_fixed_batches(lambda part: self._run(part, output), given, self.batch)
        return found.transpose(0, 3, 1, 2) if output == "map" else found

    def _run(self, x: NDArray, output: Output) -> NDArray:
        end = self._ends[output]
        with self._lock:  # an interpreter has one set of tensors
            try:
                self.interpreter.set_tensor(self._input["index"], x)
                self.interpreter.invoke()
                found = self.interpreter.get_tensor(end["index"])
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(
                    f"{self.where}: LiteRT cannot run it ({_reason(error)})"
                ) from None
        return real(found, end)


def start(artifact: Artifact, threads: int | None = None) -> LiteRt:
    """An interpreter on the CPU, with XNNPACK.

    Raises:
        ArtifactError: not a graph that LiteRT can run.
        MissingExtra: LiteRT is not installed.
    """
    library: Any = require("ai_edge_litert.interpreter")
    try:
        with silence():  # it says that it has made its delegate
            # From bytes, so that what was checked is what runs.
            interpreter = library.Interpreter(model_content=artifact.graph, num_threads=threads)
            interpreter.allocate_tensors()
        return LiteRt(interpreter, artifact.where)
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{artifact.where}: LiteRT cannot run it ({_reason(error)})") from None


def stored(values: NDArray, tensor: Any) -> NDArray:
    """Real numbers as a tensor of the graph holds them.

    Args:
        values: float32.
        tensor: as the interpreter describes it.

    Returns:
        Integers, halves to even, where the tensor is quantised; else the values.
    """
    scale, zero_point = tensor["quantization"]
    if not scale:
        return values
    bounds = np.iinfo(tensor["dtype"])
    levels = np.rint(values / np.float32(scale)) + zero_point
    return np.asarray(np.clip(levels, bounds.min, bounds.max), tensor["dtype"])


def real(values: NDArray, tensor: Any) -> NDArray:
    """What a tensor of the graph stands for: float32."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return np.asarray(values, np.float32)
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
