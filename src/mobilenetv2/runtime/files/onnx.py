"""An ONNX file that was exported here."""

from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.checkpoints.containers.onnx import Graph, parse_onnx
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.records import ModelConfig


def read(path: Path) -> Artifact:
    """The graph and the config inside it.

    Raises:
        WeightsError: not an ONNX file, damaged, or with data in other files.
        ArtifactError: somebody else's file, or one that was changed.
    """
    data = contents(path)
    graph = parse_onnx(data, path)
    config = config_inside(graph.metadata.get(CONFIG_KEY), path)
    seal.check(data, str(path))
    _require_fit(graph, config, path)
    return Artifact(config, "onnx", data, str(path))


def _require_fit(graph: Graph, config: ModelConfig, path: Path) -> None:
    """Raise unless the graph takes the pictures that the config describes."""
    (shape,) = graph.inputs.values()
    sides = (*config.spec.size, config.spec.input_channels)
    found: Sequence[int | None] = shape[1:]
    if found[0] in (1, 3) and len(found) == 3:  # channels first; pictures come last
        found = (*found[1:], found[0])
    if len(found) != 3 or any(
        side is not None and side != wanted for side, wanted in zip(found, sides, strict=True)
    ):
        raise ArtifactError(
            f"{path}: the config inside it describes another network: it takes pictures of "
            f"{sides[0]} x {sides[1]} x {sides[2]}, the graph {list(shape)}"
        )
