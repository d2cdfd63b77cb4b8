"""Runtime ExecuTorch, which needs PyTorch and, after other runtimes, a separate process."""

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
"""Name of a method without inputs that returns the config, since programs hold only methods."""


def read_config(path: Path) -> ModelConfig:
    """Return the config inside an exported file.

    Raises:
        ArtifactError: the file was changed, or another program wrote it.
        MissingExtra: ExecuTorch is not installed.
    """
    loaded, text = _program(path), None
    if CONFIG_METHOD in loaded.method_names:
        (text,) = loaded.load_method(CONFIG_METHOD).execute([])
    return engine.embedded_config(text, path)


def load_engine(path: Path, threads: int | None = None) -> Engine:
    """Return the engine for an exported file.

    Raises:
        ArtifactError: ExecuTorch cannot run the file, or not with this number of threads in this
            process.
        MissingExtra: ExecuTorch is not installed.
    """
    return ExecuTorch(_program(path), str(path), threads)


def _program(path: Path) -> Any:
    """Return the program of a file that was checked for changes; nothing of it runs yet."""
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
    """Engine for programs of ExecuTorch."""

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
        """Compute one output of a batch of the graph's batch size."""
        given = require("torch").from_numpy(np.ascontiguousarray(x, np.float32))
        (found,) = self.method.execute([given])
        return np.array(found.numpy(), np.float32)  # a copy, since the memory is reused


def choose_threads(threads: int | None, where: str) -> None:
    """Set XNNPACK's number of threads, once per process and before a method is loaded.

    A loaded method keeps a pointer to the thread pool, and another number of threads frees the
    pool. The method would then use freed memory, which aborted or never ended in our tests.

    Raises:
        ArtifactError: this process has another number of threads already.
    """
    from executorch.extension.pybindings import portable_lib

    have = portable_lib._threadpool_get_thread_count()
    if threads is not None and threads != have:
        if _CHOSEN:
            raise ArtifactError(
                f"{where}: ExecuTorch already runs with {have} threads in this process; "
                "for another number, start a new process"
            )
        portable_lib._unsafe_reset_threadpool(threads)
    _CHOSEN.add(threads or have)


_CHOSEN: set[int] = set()
"""Number of threads of the pool; empty before a method is loaded."""
