"""ExecuTorch's runtime, which needs PyTorch and, once other runtimes ran, a process of its own."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.model import seal
from mobilenetv2.process import suppress_greetings
from mobilenetv2.runtime import engine
from mobilenetv2.runtime.engine import Engine, Output, cannot_run
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

TITLE, METHOD = "ExecuTorch", "forward"
CONFIG_METHOD = "mobilenetv2_config"
"""Method that takes nothing and gives the config: a program can carry nothing but methods."""


def read_config(path: Path) -> ModelConfig:
    """Return the config of a file of ours.

    Raises:
        ArtifactError: somebody else's, or one that was changed.
        MissingExtra: ExecuTorch is not installed.
    """
    loaded, text = _program(path), None
    if CONFIG_METHOD in loaded.method_names:
        (text,) = loaded.load_method(CONFIG_METHOD).execute([])
    return engine.embedded_config(text, path)


def load_engine(path: Path, threads: int | None = None) -> Engine:
    """Return the engine that runs a file of ours.

    Raises:
        ArtifactError: it cannot be run, or not with that number of threads in this process.
        MissingExtra: ExecuTorch is not installed.
    """
    return ExecuTorch(_program(path), str(path), threads)


def _program(path: Path) -> Any:
    """Return a program, unchanged since it was written, in the runtime; nothing of it runs yet."""
    data = engine.read_bounded(path)
    seal.check(data, str(path))
    with suppress_greetings():  # of torchao, among others, which it imports
        require("executorch")
        from executorch.runtime import Runtime

        try:
            return Runtime.get().load_program(data)
        except RuntimeError as error:
            raise cannot_run(str(path), TITLE, first_line(error)) from None


class ExecuTorch(Engine):
    """A program that ExecuTorch runs."""

    title = TITLE

    def __init__(self, loaded: Any, where: str, threads: int | None) -> None:
        super().__init__(where)
        self.loaded = loaded
        with suppress_greetings():  # of torchao, among others, which it imports
            choose_threads(threads, where)
            try:
                self.method = loaded.load_method(METHOD)
            except RuntimeError as error:
                raise self.failure(first_line(error)) from None
        self.batch, *sides = self.method.metadata.input_tensor_meta(0).sizes()
        self.shape = tuple(sides)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch that the graph takes."""
        given = require("torch").from_numpy(np.ascontiguousarray(x, np.float32))
        (found,) = self.method.execute([given])
        return np.array(found.numpy(), np.float32)  # a copy: its memory is used again


def choose_threads(threads: int | None, where: str) -> None:
    """Set XNNPACK's threads, which are the whole process's and chosen once, before anything loads.

    A loaded method keeps a pointer to the pool, and another number of threads means another pool:
    the method would compute with freed memory (seen: aborts, and runs that never ended).

    Raises:
        ArtifactError: another number was chosen before.
    """
    from executorch.extension.pybindings import portable_lib

    have = portable_lib._threadpool_get_thread_count()
    if threads is not None and threads != have:
        if _CHOSEN:
            raise ArtifactError(
                f"{where}: ExecuTorch computes with {have} threads in this process already; "
                "another number needs a process of its own"
            )
        portable_lib._unsafe_reset_threadpool(threads)
    _CHOSEN.add(threads or have)


_CHOSEN: set[int] = set()
"""The pool's size, once something is loaded."""
