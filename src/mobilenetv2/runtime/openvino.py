"""OpenVINO: Intel's engine, for its own processors and others (extra: openvino)."""

from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.runtime.engine import Artifact, Output
from mobilenetv2.runtime.fixed import in_fixed_batches


def library(name: str = "openvino") -> ModuleType:
    """OpenVINO, or a package that builds on it (nncf); ``require`` sees that neither reports home.

    Raises:
        MissingExtra: it is not installed.
    """
    return require(name)


class OpenVino:
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    def __init__(self, compiled: Any, where: str) -> None:
        openvino = library()
        self.where, self._tensor = where, openvino.Tensor
        (given,) = compiled.inputs
        self.takes_pictures = given.get_element_type() == openvino.Type.u8
        batch = given.get_partial_shape()[0]
        self.batch: int | None = batch.get_length() if batch.is_static else None
        self.outputs = tuple(_name(output) for output in compiled.outputs)
        self._request, self._lock = compiled.create_infer_request(), Lock()

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol."""
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if self.batch is None:
            return self._run(x, output)
        return in_fixed_batches(lambda part: self._run(part, output), x, self.batch)

    def _run(self, x: NDArray, output: Output) -> NDArray:
        given = self._tensor(np.ascontiguousarray(x), shared_memory=True)
        with self._lock:  # a request runs one at a time, and the next one overwrites its outputs
            try:
                self._request.infer({0: given})
            except RuntimeError as error:
                raise ArtifactError(
                    f"{self.where}: OpenVINO cannot run it ({reason(error)})"
                ) from None
            return np.array(self._request.get_tensor(output).data, np.float32)


def start(artifact: Artifact, threads: int | None = None) -> OpenVino:
    """The graph compiled for the CPU, once for every size of batch.

    Raises:
        ArtifactError: not a graph that OpenVINO can run.
        MissingExtra: OpenVINO is not installed.
    """
    openvino = library()
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Where the processor has bfloat16 (AMX, AVX512-BF16) that is what float32 graphs are
        # computed in by default: logits are then off by some tenths.
        "INFERENCE_PRECISION_HINT": "f32",
        # A thread tied to a core waits for whatever else runs there.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = read(core, artifact)
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # RuntimeError, or TypeError of bytes that are no text
        raise ArtifactError(f"{artifact.where}: OpenVINO cannot run it ({reason(error)})") from None
    return OpenVino(compiled, artifact.where)


def _name(output: Any) -> str:
    """What an output is called. The map is the head's output under a second name."""
    return "map" if "map" in output.get_names() else str(output.get_any_name())


def read(core: Any, artifact: Artifact) -> Any:
    """An openvino.Model of an artifact's bytes, so that nothing beside them can be opened."""
    if artifact.format == "onnx":
        return core.read_model(artifact.graph)
    weights = np.frombuffer(artifact.weights, np.uint8)
    return core.read_model(artifact.graph, library().Tensor(weights))


def reason(error: Exception) -> str:
    """What went wrong: the last line, after those that name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
