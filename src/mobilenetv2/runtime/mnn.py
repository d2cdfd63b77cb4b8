"""MNN: Alibaba's small runtime. The graph takes one picture."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.runtime.engine import Artifact, Output
from mobilenetv2.runtime.silence import silence
from mobilenetv2.spec.network import NetworkSpec

INPUT, OUTPUT = "input", "logits"
"""Names in our graphs."""


class Mnn:
    """See :class:`mobilenetv2.runtime.engine.Engine`."""

    outputs: tuple[str, ...] = ("logits",)
    takes_pictures = False

    def __init__(self, module: Any, spec: NetworkSpec, where: str) -> None:
        self.module, self.spec, self.where = module, spec, where
        self.shape = (spec.input_channels, *spec.size)

    def run(self, x: NDArray, output: Output) -> NDArray:
        """See the protocol."""
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if x.shape[1:] != self.shape:
            raise ArtifactError(
                f"{self.where}: it takes {list(self.shape)}, not {list(x.shape[1:])}"
            )
        pictures = np.ascontiguousarray(x, np.float32)
        found = np.empty((len(x), self.spec.classes), np.float32)
        for index in range(len(x)):
            found[index] = self._answer(pictures[index : index + 1])
        return found

    def _answer(self, picture: NDArray) -> NDArray:
        from MNN import expr

        try:
            (logits,) = self.module.forward([expr.const(picture, list(picture.shape), expr.NCHW)])
            values: NDArray = np.array(logits.read(), np.float32)
        except Exception as error:  # what its binding raises derives from nothing narrower
            raise ArtifactError(f"{self.where}: MNN cannot run it ({error})") from None
        if values.shape != (1, self.spec.classes):
            raise ArtifactError(
                f"{self.where}: it gives {list(values.shape)}, not [1, {self.spec.classes}]"
            )
        return values.ravel()


def start(artifact: Artifact, threads: int | None = None) -> Mnn:
    """A network on the CPU, which computes in float32.

    Raises:
        ArtifactError: MNN does not take it.
        MissingExtra: MNN is not installed.
    """
    settings: dict[str, str | int] = {"backend": "CPU", "precision": "high"}
    if threads is not None:
        settings["numThread"] = threads
    # It greets on stdout, and says there what is wrong with a graph. It reads files only.
    with tempfile.TemporaryDirectory() as folder, silence():
        require("MNN")
        from MNN import nn

        path = Path(folder) / "model.mnn"
        path.write_bytes(artifact.graph)
        try:
            manager = nn.create_runtime_manager((settings,))
            module = nn.load_module_from_file(str(path), [INPUT], [OUTPUT], runtime_manager=manager)
        except Exception:  # SystemError, among others
            module = None
    if module is None:
        raise ArtifactError(f"{artifact.where}: MNN cannot run it; export it again")
    return Mnn(module, artifact.config.spec, artifact.where)
