"""Runtime ExecuTorch, which needs PyTorch, in a process of its own.

A program is code for a virtual machine: the runtime crashes on hostile ones. It also aborts beside
some other runtimes, and has one number of threads for all programs of a process.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.graph import executorch as graph
from mobilenetv2.graph.steps import held_against_config
from mobilenetv2.model import seal
from mobilenetv2.process import suppress_greetings
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    Engine,
    Output,
    cannot_run,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.text import first_line
from mobilenetv2.worker import Answer, Worker

TITLE = "ExecuTorch"
LOADER = f"{__name__}:load_program"
EXPORTER = "executorch.exir"
COPIES, MAPS = 8, 64
"""Memory that a program needs, in sizes of its file and of its input."""


def read_artifact(path: Path) -> Artifact:
    """Read a program, with the config inside it; nothing of it runs.

    Raises:
        ArtifactError: the file was changed, or another program wrote it.
    """
    data = read_bounded(path)
    seal.check(data, str(path))
    try:
        program = graph.read(data)
    except ArtifactError as error:
        raise cannot_run(str(path), TITLE, error) from None
    config = embedded_config(graph.config_text(program), path)
    with held_against_config(str(path)):
        graph.check(data[: -seal.DIGITS], program, config)
    return Artifact(config, "executorch", data, str(path))


def create_engine(artifact: Artifact, threads: int | None = None) -> Engine:
    """Return the engine for a program.

    Raises:
        ArtifactError: ExecuTorch cannot run the program.
        MissingExtra: ExecuTorch is not installed.
    """
    return ExecuTorch(artifact, threads)


class ExecuTorch(Engine):
    """Engine for programs of ExecuTorch."""

    title, batch = TITLE, 1

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        super().__init__(artifact.where)
        spec: NetworkSpec = artifact.config.spec
        self.shape, self.given = (spec.input_channels, *spec.size), (1, spec.logits)
        image = 4 * int(np.prod(self.shape))
        self.worker = Worker(
            LOADER, artifact.graph, {"threads": threads, "where": artifact.where}, artifact.where,
            TITLE, COPIES * len(artifact.graph) + MAPS * image,
        )  # fmt: skip
        if self.worker.about != {"input": [1, *self.shape], "output": [*self.given]}:
            raise ArtifactError(
                f"{self.where}: it computes {self.worker.about['output']} from "
                f"{self.worker.about['input']}, which is another network than its config describes"
            )

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        found = self.worker.ask(np.ascontiguousarray(x, np.float32).tobytes())
        if len(found) != 4 * self.given[1]:
            raise self.failure(f"an answer of {len(found)} bytes")
        return np.frombuffer(found, np.float32).reshape(self.given).copy()


def load_program(
    data: bytes, limit: Callable[[], None], threads: int | None, where: str
) -> tuple[dict[str, Any], Answer]:
    """Load a program, in a process that runs nothing else.

    Args:
        data: bytes of the file.
        limit: function that limits the process's memory, for after the imports.
        threads: number of threads; None for the runtime's own choice.
        where: name of the file in error messages.

    Returns:
        The shapes of its input and its output, and the function from the bytes of a float32 input
        to those of its output.
    """
    with suppress_greetings():  # of torchao, among others, which it imports
        require("executorch")
        torch = require("torch")
        with contextlib.suppress(ImportError), exporter_left_out():
            require("executorch.runtime")
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        limit()
        if threads is not None and threads != portable_lib._threadpool_get_thread_count():
            portable_lib._unsafe_reset_threadpool(threads)
        try:
            loaded = Runtime.get().load_program(data)
            method = loaded.load_method(graph.METHOD)
        except RuntimeError as error:
            raise cannot_run(where, TITLE, first_line(error)) from None
    about, sizes = method.metadata, list(method.metadata.input_tensor_meta(0).sizes())
    kept = loaded, data  # a method does not keep the program that it runs

    def answer(request: bytes) -> bytes:
        assert kept
        x = torch.frombuffer(bytearray(request), dtype=torch.float32).reshape(sizes)
        (found,) = method.execute([x])
        made: bytes = np.array(found.numpy(), np.float32).tobytes()
        return made

    return {"input": sizes, "output": list(about.output_tensor_meta(0).sizes())}, answer


@contextlib.contextmanager
def exporter_left_out() -> Iterator[None]:
    """Let modules of ExecuTorch's exporter be imported without the exporter itself.

    The runtime needs only one of them, for the class of a warning. The exporter takes 8 of the 11
    seconds of processor time that the import of the runtime would take.
    """
    package = ModuleType(EXPORTER)
    places = require(EXPORTER.partition(".")[0]).__path__
    package.__path__ = [str(Path(place) / EXPORTER.rpartition(".")[2]) for place in places]
    left_out = sys.modules.setdefault(EXPORTER, package) is package
    try:
        yield
    finally:
        if left_out:
            del sys.modules[EXPORTER]
