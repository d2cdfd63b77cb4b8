"""What runs a network's graph: one small protocol, and the engines that keep to it by name."""

import importlib
from typing import Any, Literal, Protocol, get_args

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.spec.mapping import suggestion

EngineName = Literal["onnxruntime"]
DEFAULT: EngineName = "onnxruntime"
Output = Literal["logits", "features"]


class Engine(Protocol):
    """A graph, ready to run."""

    outputs: tuple[str, ...]
    """What the graph gives: 'logits', and 'features' where it was built here."""

    def run(self, x: NDArray, output: Output) -> NDArray:
        """float32 (batch, channels, height, width), normalised -> float32 (batch, n)."""


def start(graph: bytes, where: str, name: str = DEFAULT, threads: int | None = None) -> Engine:
    """The engine of that name, on a graph in ONNX.

    Args:
        graph: an ONNX file's bytes.
        where: what it is called in an error.
        threads: of one operator; None leaves it to the engine.

    Raises:
        ArtifactError: no such engine, or it cannot run the graph.
        MissingExtra: the engine is not installed.
    """
    known = get_args(EngineName)
    if name not in known:
        raise ArtifactError(f"--runtime {name}: unknown; {suggestion(name, known)}")
    if threads is not None and threads < 1:
        raise ArtifactError(f"--threads {threads} must be at least 1")
    module: Any = importlib.import_module(f"mobilenetv2.runtime.{name}")
    engine: Engine = module.start(graph, where, threads)
    return engine
