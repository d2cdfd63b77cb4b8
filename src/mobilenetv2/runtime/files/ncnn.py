"""An exported ncnn network: ``NAME.ncnn.param``, ``NAME.ncnn.bin`` and the config beside them.

ncnn reads weights as its graph says and trusts both: a graph that asks for more than there is, or
names what is not there, ends the process. So the graph is held against the config first.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.checkpoints.sidecar import LARGEST, sidecar_path
from mobilenetv2.errors import ArtifactError
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.blocks import require_inverted, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

MAGIC = "7767517"
KINDS = {
    "Input", "Split", "Convolution", "ConvolutionDepthWise", "BinaryOp", "Pooling", "InnerProduct",
}  # fmt: skip
OUTPUTS, KERNEL, STRIDE, WEIGHTS, GROUPS = "0", "1", "3", "6", "7"
"""Keys of a convolution's parameters. A fully connected layer has its weights under another."""
LINEAR_WEIGHTS = "2"
Row = tuple[int, int, int, int, int]
"""Outputs, kernel, stride, weights and groups of a convolution."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One line of the graph."""

    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: dict[str, str]


def weights_path(param: Path) -> Path:
    """'shoes.ncnn.param' -> 'shoes.ncnn.bin'."""
    return param.with_suffix(".bin")


def read(path: Path) -> Artifact:
    """The two files, and the config beside them.

    Raises:
        ArtifactError: one of the three is not there, is damaged, or belongs to another network.
    """
    beside, weights = sidecar_path(path), weights_path(path)
    if not weights.is_file():
        raise ArtifactError(f"{path}: its weights, {weights.name}, are not beside it")
    config = config_inside(_text(beside), beside if beside.is_file() else path)
    graph, data = contents(path), contents(weights)
    written_for = config.origin.sha256 if config.origin else None
    if written_for != checksum(graph, data, config):
        raise ArtifactError(
            f"{path}: it, {weights.name} or {beside.name} was changed or damaged since they were "
            "written, or is another network's (the checksum does not fit); export it again"
        )
    _require_fit(list(layers(graph, path)), len(data), config.spec, path)
    return Artifact(config, "ncnn", graph, str(path), data)


def checksum(graph: bytes, weights: bytes, config: ModelConfig) -> str:
    """What ties the three files together: of both, and of all that the config says but itself."""
    if config.origin:
        origin = dataclasses.replace(config.origin, sha256=None)
        config = dataclasses.replace(config, origin=origin)
    return seal.digest(graph, weights, config.to_json().encode())


def _text(beside: Path) -> str | None:
    if not beside.is_file() or beside.stat().st_size > LARGEST:
        return None
    return beside.read_text("utf-8", "replace")


def layers(graph: bytes, path: Path) -> Iterator[Layer]:
    """The lines of a .param file.

    Raises:
        ArtifactError: it is none, or a layer takes what no layer before it gives.
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


def _require_fit(found: list[Layer], size: int, spec: NetworkSpec, path: Path) -> None:
    """Raise unless the graph is made of the spec's layers and there are weights for all of them."""
    require_inverted(spec, "ncnn")
    network = resolve(spec)
    wanted: Counter[Row] = Counter(
        (c.out_channels, c.kernel, c.stride, _count(c.weight_shape), c.groups)
        for c in network.convolutions
    )
    classes, features = network.classifier_shape
    strange = {layer.kind for layer in found} - KINDS
    try:
        rows = Counter(_row(x.parameters) for x in found if x.kind.startswith("Convolution"))
        linear = [
            (int(x.parameters[OUTPUTS]), int(x.parameters[LINEAR_WEIGHTS]))
            for x in found if x.kind == "InnerProduct"
        ]  # fmt: skip
    except (KeyError, ValueError):
        rows, linear = Counter(), []
    parts = [(row[3], row[0]) for row in wanted.elements()] + [(classes * features, classes)]
    if (
        strange
        or rows != wanted
        or linear != [(classes, classes * features)]
        or size not in (_bytes(parts, 4), _bytes(parts, 2))
    ):
        raise ArtifactError(
            f"{path}: the config beside it describes another network than the graph"
        )


def _row(parameters: dict[str, str]) -> Row:
    kernel = int(parameters[KERNEL])
    numbers = [int(parameters.get(key, "1")) for key in (STRIDE, GROUPS)]
    return (
        int(parameters[OUTPUTS]), kernel, numbers[0], int(parameters[WEIGHTS]), numbers[1],
    )  # fmt: skip


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _bytes(parts: list[tuple[int, int]], width: int) -> int:
    """Of (weights, bias) for each layer: a mark, the weights in whole words, a float32 bias."""
    return sum(4 + (weights * width + 3) // 4 * 4 + bias * 4 for weights, bias in parts)
