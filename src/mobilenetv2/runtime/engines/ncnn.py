"""Engine ncnn, a small runtime of Tencent without batches, and its files.

A network is ``NAME.ncnn.param``, ``NAME.ncnn.bin`` and the config beside them. ncnn checks neither
graph nor weights: a graph that needs more weights than the file has, or an unknown tensor, ends the
process, as does a padding of 2**31 - 1. So both files are held against the config first.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import sidecar_path
from mobilenetv2.documents import LARGEST_JSON, parse_table
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.files import read_file, temporary_folder
from mobilenetv2.graph.ncnn import check
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

NARROW = ("use_fp16_", "use_bf16_")
"""Prefixes of the options that let ncnn store or compute 32-bit values in 16 bits."""


def weights_path(param: Path) -> Path:
    """Return 'shoes.ncnn.bin' for 'shoes.ncnn.param'."""
    return param.with_suffix(".bin")


def read_artifact(path: Path) -> Artifact:
    """Read both files and the config beside them."""
    beside, weights = sidecar_path(path), weights_path(path)
    if not weights.is_file():
        raise ArtifactError(f"{path}: its weights are missing; copy {weights.name} beside it")
    text = _text(beside)
    config = embedded_config(text, beside if beside.is_file() else path)
    graph, data = read_bounded(path), read_bounded(weights)
    written_for = config.origin.sha256 if config.origin else None
    if written_for != checksum(graph, data, text or ""):
        raise ArtifactError(
            f"{path}: wrong checksum: this file, {weights.name} or {beside.name} was changed, "
            "damaged, or belongs to another network; export it again"
        )
    with held_against_config(str(path)):
        check(graph, data, config)
    return Artifact(config, "ncnn", graph, str(path), data)


def checksum(graph: bytes, weights: bytes, config: str) -> str:
    """Return the checksum of the three files, without the checksum that the config contains.

    Args:
        graph: bytes of the .param file.
        weights: bytes of the .bin file.
        config: JSON of the config as written, possibly by a version with fewer keys.
    """
    said = parse_table(config, "its config", ArtifactError)
    if said.get("origin"):
        said["origin"]["sha256"] = None
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return seal.digest(graph, weights, text.encode())


def _text(beside: Path) -> str | None:
    if not beside.is_file() or beside.stat().st_size > LARGEST_JSON:
        return None
    return read_file(beside, LARGEST_JSON).decode("utf-8", "replace")


class Ncnn(Engine):
    """Engine for ncnn files."""

    title, batch = "ncnn", 1

    def __init__(self, net: Any, spec: NetworkSpec, where: str) -> None:
        super().__init__(where)
        self.net, self.given = net, (spec.logits,)
        self.shape = (spec.input_channels, *spec.size)
        (self.input,), (self.output,) = net.input_names(), net.output_names()

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        import ncnn

        picture = np.ascontiguousarray(x[0], np.float32)  # used by ncnn
        extractor = self.net.create_extractor()
        status = extractor.input(self.input, ncnn.Mat(picture))
        if status == 0:
            status, logits = extractor.extract(self.output)
        if status != 0:
            raise self.failure(f"status {status}")
        values: NDArray = np.array(logits)  # a copy, since the extractor's memory is reused
        if values.shape != self.given:
            raise ArtifactError(
                f"{self.where}: its output is {list(values.shape)}, not {list(self.given)}"
            )
        return values[np.newaxis]


def create_engine(artifact: Artifact, threads: int | None = None) -> Ncnn:
    """Load a network on the CPU, which computes in float32."""
    ncnn: Any = require("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in dir(net.opt):
        if option.startswith(NARROW):
            setattr(net.opt, option, False)
    if threads is not None:
        net.opt.num_threads = threads
    # From files: when it reads memory, ncnn does not check the end of the weights.
    with temporary_folder() as folder, suppress_native_output():
        graph, weights = folder / "model.param", folder / "model.bin"
        graph.write_bytes(artifact.graph)
        weights.write_bytes(artifact.weights)
        taken = net.load_param(str(graph)) == 0 and net.load_model(str(weights)) == 0
    if not taken or len(net.input_names()) != 1 or len(net.output_names()) != 1:
        raise ArtifactError(f"{artifact.where}: ncnn cannot run it; export it again")
    return Ncnn(net, artifact.config.spec, artifact.where)
