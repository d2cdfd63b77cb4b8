"""Engine ncnn, a small runtime of Tencent without batches, and its files.

A network is ``NAME.ncnn.param``, ``NAME.ncnn.bin`` and the config beside them. ncnn checks neither
graph nor weights: a graph that needs more weights than the file has, or an unknown tensor, ends the
process. So this module compares the graph with the config first.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import LARGEST, sidecar_path
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.files import temporary_folder
from mobilenetv2.graph.graph import Conv, Linear, real
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import seal
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime.engine import (
    Artifact,
    Engine,
    Output,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

MAGIC = "7767517"
KINDS = {
    "Input", "Split", "Convolution", "ConvolutionDepthWise", "BinaryOp", "Clip", "ReLU", "Pooling",
    "InnerProduct",
}  # fmt: skip
OUTPUTS, KERNEL, STRIDE, BIAS, WEIGHTS, GROUPS = "0", "1", "3", "5", "6", "7"
"""Keys of a convolution's parameters; a fully connected layer has other keys for two of them."""
LINEAR_BIAS, LINEAR_WEIGHTS = "1", "2"
Row = tuple[int, ...]
"""Sizes of a layer: outputs, bias, weights; for a convolution also kernel, stride and groups."""
NARROW = ("use_fp16_", "use_bf16_")
"""Prefixes of the options that let ncnn store or compute 32-bit values in 16 bits."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Layer of the graph, a line of the .param file."""

    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: dict[str, str]


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
    _require_fit(list(layers(graph, path)), len(data), config, path)
    return Artifact(config, "ncnn", graph, str(path), data)


def checksum(graph: bytes, weights: bytes, config: str) -> str:
    """Return the checksum of the three files, without the checksum that the config contains.

    Args:
        graph: bytes of the .param file.
        weights: bytes of the .bin file.
        config: JSON of the config as written, possibly by a version with fewer keys.
    """
    said = json.loads(config)
    if said["origin"]:
        said["origin"]["sha256"] = None
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return seal.digest(graph, weights, text.encode())


def _text(beside: Path) -> str | None:
    if not beside.is_file() or beside.stat().st_size > LARGEST:
        return None
    return beside.read_text("utf-8", "replace")


def layers(graph: bytes, path: Path) -> Iterator[Layer]:
    """Yield the layers of a .param file.

    Raises:
        ArtifactError: the file is not a graph, or a layer's input is the output of no layer before.
    """
    try:
        magic, counts, *lines = graph.decode("utf-8").splitlines()
        layer_count, blob_count = map(int, counts.split())
        if magic != MAGIC or len(lines) != layer_count:
            raise ValueError("its head")
        known: set[str] = set()
        for line in lines:
            kind, _, taken, given, *rest = line.split()
            middle, end = int(taken), int(taken) + int(given)
            made = Layer(
                kind, tuple(rest[:middle]), tuple(rest[middle:end]),
                dict(word.split("=", 1) for word in rest[end:]),
            )  # fmt: skip
            if len(rest) < end or not known.issuperset(made.takes) or known & set(made.gives):
                raise ValueError(line)
            known |= set(made.gives)
            yield made
        if len(known) != blob_count:
            raise ValueError("its head")
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error)[:80]
        raise ArtifactError(f"{path}: not a graph of ncnn, or damaged ({reason})") from None


def _require_fit(found: list[Layer], size: int, config: ModelConfig, path: Path) -> None:
    """Raise if the file's layers or the size of its weights do not match the config."""
    shapes = parameter_shapes(config.spec)
    nothing = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    expected = [_expected_row(layer) for layer in lower(config, nothing).layers()]
    try:
        rows = [row for layer in found if (row := _row(layer))]
    except (KeyError, ValueError):
        rows = []
    if (
        {layer.kind for layer in found} - KINDS
        or Counter(rows) != Counter(expected)
        or [row for row in rows if len(row) == 3] != [row for row in expected if len(row) == 3]
        or size not in (_bytes(expected, 4), _bytes(expected, 2))
    ):
        raise ArtifactError(
            f"{path}: the config beside it describes another network than the graph"
        )


def _expected_row(layer: Conv | Linear) -> Row:
    weight = real(layer.weight)
    row = (len(weight), int(layer.bias is not None), weight.size)
    return row if isinstance(layer, Linear) else (*row, layer.kernel, layer.stride, layer.groups)


def _row(layer: Layer) -> Row:
    """Return the sizes of a layer of the file; empty if it has no weights."""
    given = layer.parameters
    if layer.kind == "InnerProduct":
        return tuple(int(given[key]) for key in (OUTPUTS, LINEAR_BIAS, LINEAR_WEIGHTS))
    if not layer.kind.startswith("Convolution"):
        return ()
    row = tuple(int(given[key]) for key in (OUTPUTS, BIAS, WEIGHTS, KERNEL))
    return (*row, *(int(given.get(key, "1")) for key in (STRIDE, GROUPS)))


def _bytes(rows: list[Row], width: int) -> int:
    """Return the bytes of all layers: a mark, weights in whole words and a float32 bias each."""
    return sum(
        4 + (weights * width + 3) // 4 * 4 + bias * outputs * 4
        for outputs, bias, weights, *_ in rows
    )


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
