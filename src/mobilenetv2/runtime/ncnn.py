"""ncnn: Tencent's small runtime. One picture at a time; it has no batches."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.runtime.engine import Artifact, Output
from mobilenetv2.runtime.silence import silence
from mobilenetv2.spec.network import NetworkSpec

NARROW = ("use_fp16_", "use_bf16_")
"""Beginnings of the options that let it store or compute in 16 bits what is 32 in the file."""


class Ncnn:
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    outputs: tuple[str, ...] = ("logits",)
    takes_pictures = False

    def __init__(self, net: Any, spec: NetworkSpec, where: str) -> None:
        self.net, self.spec, self.where = net, spec, where
        self.shape = (spec.input_channels, *spec.size)
        (self.input,), (self.output,) = net.input_names(), net.output_names()

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol."""
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if x.shape[1:] != self.shape:
            raise ArtifactError(
                f"{self.where}: it takes {list(self.shape)}, not {list(x.shape[1:])}"
            )
        pictures = np.ascontiguousarray(x, np.float32)  # ncnn computes on this memory
        found = np.empty((len(x), self.spec.classes), np.float32)
        for index, picture in enumerate(pictures):
            found[index] = self._answer(picture)
        return found

    def _answer(self, picture: NDArray) -> NDArray:
        import ncnn

        extractor = self.net.create_extractor()
        status = extractor.input(self.input, ncnn.Mat(picture))
        if status == 0:
            status, logits = extractor.extract(self.output)
        if status != 0:
            raise ArtifactError(f"{self.where}: ncnn cannot run it (status {status})")
        values: NDArray = np.array(logits)  # a copy: the extractor's memory is used again
        if values.shape != (self.spec.classes,):
            raise ArtifactError(
                f"{self.where}: it gives {list(values.shape)}, not [{self.spec.classes}]"
            )
        return values


def start(artifact: Artifact, threads: int | None = None) -> Ncnn:
    """A network on the CPU, which computes in float32.

    Raises:
        ArtifactError: ncnn does not take it.
        MissingExtra: ncnn is not installed.
    """
    ncnn: Any = require("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in dir(net.opt):
        if option.startswith(NARROW):
            setattr(net.opt, option, False)
    if threads is not None:
        net.opt.num_threads = threads
    # From files, though it can read memory: there it does not see where the weights end.
    with tempfile.TemporaryDirectory() as folder, silence():
        graph, weights = Path(folder) / "model.param", Path(folder) / "model.bin"
        graph.write_bytes(artifact.graph)
        weights.write_bytes(artifact.weights)
        taken = net.load_param(str(graph)) == 0 and net.load_model(str(weights)) == 0
    if not taken or len(net.input_names()) != 1 or len(net.output_names()) != 1:
        raise ArtifactError(f"{artifact.where}: ncnn cannot run it; export it again")
    return Ncnn(net, artifact.config.spec, artifact.where)
