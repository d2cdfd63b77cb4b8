"""Writer of ExecuTorch, PyTorch's runtime for devices, with everything delegated to XNNPACK."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.executorch import CONFIG_METHOD
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import suppress_greetings
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line


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
            with patterns_left_out():
                return to_edge_transform_and_lower(
                    program, partitioner=[XnnpackPartitioner()],
                    constant_methods={CONFIG_METHOD: config.to_json()},
                )  # fmt: skip
        except Exception as error:  # its passes raise whatever comes
            raise ArtifactError(
                f"ExecuTorch cannot convert the network ({first_line(error)})"
            ) from None


@contextlib.contextmanager
def patterns_left_out() -> Iterator[None]:
    """Let XNNPACK's passes look for no upsampling and no attention, which no network here has.

    To have the patterns to look for, they would export six networks of their own, once a process:
    7 of the 10 seconds of processor time that a small network takes.
    """
    patterns: list[tuple[Any, str, Any]] = []
    with contextlib.suppress(ImportError):
        from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa

        patterns = [(bilinear_2d, "get_graphs_dict", dict), (sdpa, "get_graphs", list)]
    kept = [getattr(module, name) for module, name, _ in patterns]
    try:
        for module, name, none in patterns:
            setattr(module, name, none)
        yield
    finally:
        for (module, name, _), function in zip(patterns, kept, strict=True):
            setattr(module, name, function)
