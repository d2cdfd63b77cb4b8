"""Writer of torch.export: the network as a graph of PyTorch's operators, without this package."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.bounds import open_zip
from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.exporting.direct import graph_of
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engines import engine
from mobilenetv2.runtime.engines.engine import Engine, Output, cannot_run
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

TITLE = "PyTorch"
LARGEST_CONFIG = 16 * 1024**2
ANY = 2
"""Number of images for tracing a program for any number; PyTorch treats 0 and 1 as special."""


def write_pt2(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a program with the config among its extra files.

    Weights and arithmetic have ``options.precision``, input and output are float32.
    """
    dtype = getattr(torch, options.precision)
    graph = graph_of(config, arrays, options)
    network = GraphModule(graph.with_weights(carried) if dtype == torch.bfloat16 else graph, dtype)
    count, sides, channels = options.batch or ANY, config.spec.size, config.spec.input_channels
    if options.pictures:
        x = torch.zeros(count, *sides, channels, dtype=torch.uint8)
    else:
        x = torch.zeros(count, channels, *sides)
    shapes = None if options.batch else {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network, (x,), dynamic_shapes=shapes)
    program.example_inputs = None  # else a batch of zeros lies in the file
    # Through memory: PyTorch's own writer ends the process when the disk is full.
    made = io.BytesIO()
    torch.export.save(program, made, extra_files={CONFIG_KEY: config.to_json()})
    out.write_bytes(made.getbuffer())


def carried(weight: NDArray) -> NDArray:
    """Return a float32 weight whose values bfloat16 can represent.

    The sums of 3x3 filters are kept: each value is rounded together with the rounding errors of the
    larger ones in its filter. :mod:`mobilenetv2.model.float16` has the reason.

    Args:
        weight: (out, in, kernel, kernel), or another shape, whose weights are rounded separately.
    """
    exact = torch.from_numpy(weight).double()
    exact = exact.flatten(2).flatten(0, 1) if weight.ndim == 4 else exact.reshape(-1, 1)
    order = exact.abs().argsort(1, descending=True)
    sorted_, lost = exact.gather(1, order), torch.zeros(len(exact), dtype=exact.dtype)
    for column in sorted_.T:
        wanted = column + lost
        column.copy_(wanted.to(torch.bfloat16))
        lost = wanted - column
    found = torch.empty_like(exact).scatter_(1, order, sorted_)
    return np.asarray(found.float().numpy()).reshape(weight.shape)


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine of a file of this package in PyTorch; foreign files may run any code."""
    config_inside(out)  # every member's checksum, at which PyTorch does not look
    try:
        program = torch.export.load(out)
    except Exception as error:  # its readers raise whatever comes
        raise cannot_run(str(out), TITLE, first_line(error)) from None
    return ExportedProgram(program, str(out), threads)


def config_inside(path: Path) -> ModelConfig:
    """Return the config, which is read as data; nothing of the program is loaded.

    Raises:
        ArtifactError: the file was made by another program, or is damaged.
    """
    try:
        with open_zip(path) as archive:
            found = [n for n in archive.namelist() if n.endswith(f"/extra/{CONFIG_KEY}")]
            text = None
            if len(found) == 1 and archive.getinfo(found[0]).file_size <= LARGEST_CONFIG:
                text = archive.read(found[0]).decode("utf-8", "replace")
    except WeightsError as error:
        raise ArtifactError(f"{path}: {error}") from None
    return engine.embedded_config(text, path)


class ExportedProgram(Engine):
    """Engine of a program that ``torch.export`` wrote."""

    title = TITLE

    def __init__(self, program: Any, where: str, threads: int | None) -> None:
        super().__init__(where)
        self.threads = threads
        (name,) = program.graph_signature.user_inputs
        (given,) = (node for node in program.graph.nodes if node.name == name)
        batch, self.dtype = given.meta["val"].shape[0], given.meta["val"].dtype
        self.batch = batch if isinstance(batch, int) else None
        self.takes_pictures = self.dtype == torch.uint8
        self.module = program.module()

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Return one output for a batch of the graph's size."""
        try:
            with torch.inference_mode(), limited(self.threads):
                found = self.module(torch.from_numpy(np.ascontiguousarray(x)))
        except Exception as error:  # guards of shapes and types, each with its own class
            raise self.failure(first_line(error)) from None
        return np.asarray(found.numpy(), np.float32)


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Set the number of PyTorch's threads per operator in a block, for the whole process."""
    before = torch.get_num_threads()
    if threads is not None and threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
