"""ExecuTorch: PyTorch's own runtime for devices, everything handed to XNNPACK."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.export.job import Options
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime import engine
from mobilenetv2.runtime.engine import BatchEngine, Engine, Output
from mobilenetv2.spec.records import ModelConfig

METHOD, OUTPUT = "forward", "logits"
CONFIG_METHOD = "mobilenetv2_config"
"""It takes nothing and gives the config: methods are all that a program can carry."""


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Make ``out``, for one picture at a time, sealed.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        ArtifactError: the converter failed.
        MissingExtra: ExecuTorch is not installed.
    """
    with greetings_off():
        body: bytes = lowered(config, arrays).to_executorch().buffer
    # A flatbuffer's reader goes by offsets: what follows is not seen.
    out.write_bytes(body + seal.digest(body).encode())


def lowered(config: ModelConfig, arrays: Arrays) -> Any:
    """The network after XNNPACK took its part: an ``EdgeProgramManager``."""
    network = GraphModule(lower(config, arrays))
    x = torch.zeros(1, config.spec.input_channels, *config.spec.size)
    program = torch.export.export(network, (x,))
    with greetings_off():
        require("executorch")
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            return to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()],
                constant_methods={CONFIG_METHOD: config.to_json()},
            )  # fmt: skip
        except Exception as error:  # its passes raise whatever comes
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError(f"ExecuTorch cannot convert the network ({reason})") from None


def reload(out: Path, threads: int | None = None) -> Engine:
    """What :func:`write` made, in ExecuTorch's runtime.

    Raises:
        ArtifactError: it was changed, or the runtime does not take it.
        MissingExtra: ExecuTorch is not installed.
    """
    data = engine.read_bounded(out)
    seal.check(data, str(out))
    return ExecuTorch(program(data, str(out)), str(out), threads)


def config_inside(path: Path) -> ModelConfig:
    """The config of a file of ours.

    Raises:
        ArtifactError: somebody else's, or one that was changed.
        MissingExtra: ExecuTorch is not installed.
    """
    data = engine.read_bounded(path)
    seal.check(data, str(path))
    loaded, text = program(data, str(path)), None
    if CONFIG_METHOD in loaded.method_names:
        (text,) = loaded.load_method(CONFIG_METHOD).execute([])
    return engine.embedded_config(text, path)


def program(data: bytes, where: str) -> Any:
    """A program in the runtime; nothing of it runs yet."""
    with greetings_off():
        require("executorch")
        from executorch.runtime import Runtime

        try:
            return Runtime.get().load_program(data)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError(f"{where}: ExecuTorch cannot run it ({reason})") from None


class ExecuTorch(BatchEngine):
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    title = "ExecuTorch"

    def __init__(self, loaded: Any, where: str, threads: int | None) -> None:
        super().__init__(where)
        self.loaded = loaded
        with greetings_off():
            choose_threads(threads, where)
            try:
                self.method = loaded.load_method(METHOD)
            except RuntimeError as error:
                reason = str(error).strip().partition("\n")[0]
                raise self.failure(reason) from None
        self.batch, *sides = self.method.metadata.input_tensor_meta(0).sizes()
        self.shape = tuple(sides)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """See :class:`BatchEngine`."""
        given = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        (found,) = self.method.execute([given])
        return np.array(found.numpy(), np.float32)  # a copy: its memory is used again


def choose_threads(threads: int | None, where: str) -> None:
    """Of XNNPACK's pool, which is the whole process's and is chosen once, before anything loads.

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


@contextmanager
def greetings_off() -> Iterator[None]:
    """It imports torchao, which names what it could not load, calls itself experimental, and warns
    of what it does itself."""
    with suppress_native_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
