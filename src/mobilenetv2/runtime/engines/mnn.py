"""Engine MNN, a small runtime of Alibaba, and its files: a flatbuffer with a seal behind it.

The graph has batch size 1. MNN checks neither a file's structure nor its numbers, and the seal does
not keep a person from writing both anew, so the whole file is held against its config first.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.files import temporary_folder
from mobilenetv2.graph.mnn import check
from mobilenetv2.graph.steps import held_against_config
from mobilenetv2.model import seal
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    Engine,
    Output,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.network import NetworkSpec

INPUT, OUTPUT = "input", "logits"
"""Names of input and output in exported graphs."""


def read_artifact(path: Path) -> Artifact:
    """Read an MNN file, with the config inside it."""
    data = read_bounded(path)
    try:
        note = first_string(data)
    except (struct.error, UnicodeDecodeError):
        raise ArtifactError(f"{path}: not an MNN file, or damaged") from None
    # Other programs write another text there, or nothing.
    config = embedded_config(note if note.startswith("{") else None, path)
    seal.check(data, str(path))
    with held_against_config(str(path)):
        check(data, config)
    return Artifact(config, "mnn", data, str(path))


def first_string(data: bytes) -> str:
    """Return the first field of a flatbuffer, a string; '' if the field is left out.

    In MNN files, it is ``bizCode``, a note for the user of the network.

    Raises:
        struct.error, UnicodeDecodeError: the data is no flatbuffer.
    """

    def number(kind: str, at: int) -> int:
        if at < 0:
            raise struct.error("before the file")
        found: int = struct.unpack_from(kind, data, at)[0]
        return found

    table = number("<I", 0)
    fields = table - number("<i", table)  # position of the list of fields
    size = number("<H", fields)
    offset = number("<H", fields + 4) if size > 4 else 0
    if offset == 0:
        return ""
    at = table + offset
    at += number("<I", at)
    (text,) = struct.unpack_from(f"{number('<I', at)}s", data, at + 4)
    return bytes(text).decode("utf-8")


class Mnn(Engine):
    """Engine for MNN files."""

    title, batch = "MNN", 1

    def __init__(self, module: Any, spec: NetworkSpec, where: str) -> None:
        super().__init__(where)
        self.module, self.given = module, (1, spec.logits)
        self.shape = (spec.input_channels, *spec.size)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        from MNN import expr

        picture = np.ascontiguousarray(x, np.float32)
        try:
            (logits,) = self.module.forward([expr.const(picture, list(picture.shape), expr.NCHW)])
            values: NDArray = np.array(logits.read(), np.float32)
        except Exception as error:  # its binding raises no narrower class
            raise self.failure(error) from None
        if values.shape != self.given:
            raise ArtifactError(
                f"{self.where}: its output is {list(values.shape)}, not {list(self.given)}"
            )
        return values


def create_engine(artifact: Artifact, threads: int | None = None) -> Mnn:
    """Load a network on the CPU, which computes in float32."""
    settings: dict[str, str | int] = {"backend": "CPU", "precision": "high"}
    if threads is not None:
        settings["numThread"] = threads
    # MNN prints messages, also errors of a graph, on stdout. It reads files only.
    with temporary_folder() as folder, suppress_native_output():
        require("MNN")
        from MNN import nn

        path = folder / "model.mnn"
        path.write_bytes(artifact.graph)
        try:
            manager = nn.create_runtime_manager((settings,))
            module = nn.load_module_from_file(str(path), [INPUT], [OUTPUT], runtime_manager=manager)
        except Exception:  # SystemError, among others
            module = None
    if module is None:
        raise ArtifactError(f"{artifact.where}: MNN cannot run it; export it again")
    return Mnn(module, artifact.config.spec, artifact.where)
