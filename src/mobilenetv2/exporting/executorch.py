"""Writer of ExecuTorch, PyTorch's runtime for devices, with everything delegated to XNNPACK."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import suppress_greetings
from mobilenetv2.runtime import engine
from mobilenetv2.runtime.engine import Engine, Output, cannot_run
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

TITLE, METHOD = "ExecuTorch", "forward"
CONFIG_METHOD = "mobilenetv2_config"
"""Name of a method without arguments that returns the config.

A program can carry data only in methods.
"""


def write_executorch(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a sealed program for one image at a time."""
    with suppress_greetings():
        body: bytes = lowered(config, arrays).to_executorch().buffer
    # A flatbuffer's reader goes by offsets: what follows is not seen.
    out.write_bytes(body + seal.digest(body).encode())


def lowered(config: ModelConfig, arrays: Arrays) -> Any:
    """Return the network with its XNNPACK part delegated: an ``EdgeProgramManager``."""
    network = GraphModule(lower(config, arrays))
    x = torch.zeros(1, config.spec.input_channels, *config.spec.size)
    program = torch.export.export(network, (x,))
    with suppress_greetings():  # of torchao, among others, which it imports
        require("executorch")
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            return to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()],
                constant_methods={CONFIG_METHOD: config.to_json()},
            )  # fmt: skip
        except Exception as error:  # its passes raise whatever comes
            raise ArtifactError(
                f"ExecuTorch cannot convert the network ({first_line(error)})"
            ) from None


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine that runs a file of this package in ExecuTorch's runtime."""
    return ExecuTorch(_program(out), str(out), threads)


def config_inside(path: Path) -> ModelConfig:
    """Return the config in a file of this package.

    Raises:
        ArtifactError: the file was made by another program, or changed.
        MissingExtra: ExecuTorch is not installed.
    """
    loaded, text = _program(path), None
    if CONFIG_METHOD in loaded.method_names:
        (text,) = loaded.load_method(CONFIG_METHOD).execute([])
    return engine.embedded_config(text, path)


def _program(path: Path) -> Any:
    """Load a program into the runtime after a check of its seal; nothing of it runs yet."""
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
    """Engine of a program that ExecuTorch runs."""

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
        """Return one output for a batch of the graph's size."""
        given = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        (found,) = self.method.execute([given])
        return np.array(found.numpy(), np.float32)  # a copy: its memory is used again


def choose_threads(threads: int | None, where: str) -> None:
    """Set the number of XNNPACK's threads, once for the whole process, before anything is loaded.

    A loaded method keeps a pointer to the thread pool, and another number of threads creates
    another pool. The method would then compute with freed memory (observed: aborts, and runs that
    never ended).

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
"""Size of the pool, once something is loaded."""
