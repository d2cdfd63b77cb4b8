"""What is run: a model folder, whose graph is built here, or a file that was exported."""

from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights import store
from mobilenetv2.weights.containers.onnx import read
from mobilenetv2.weights.dialects.chain_config import parsed
from mobilenetv2.weights.dialects.onnx import CONFIG_KEY
from mobilenetv2.weights.dialects.onnx_writer import write

SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A network ready for an engine."""

    config: ModelConfig
    graph: bytes
    """ONNX; it takes normalised float32 pictures (batch, channels, height, width)."""
    where: str


def load(path: Path) -> Artifact:
    """Read a model folder, BatchNorm folded on the way, or an exported ``.onnx`` file.

    Raises:
        WeightsError: not a model folder, or damaged.
        ArtifactError: an ONNX file that does not say what it takes.
        SpecError: a network of other blocks than MobileNetV2's.
    """
    if path.suffix.lower() == SUFFIX and path.is_file():
        return Artifact(config_inside(path), path.read_bytes(), str(path))
    config, arrays = store.load(path)
    return Artifact(config, write(config, arrays, features=True), str(path))


def config_inside(path: Path) -> ModelConfig:
    """The config that our exports carry: preprocessing and labels among it.

    Raises:
        WeightsError: damaged, or with data in other files.
        ArtifactError: somebody else's file.
    """
    text = read(path).metadata.get(CONFIG_KEY)
    if text is None:
        raise ArtifactError(
            f"{path}: it does not say its preprocessing and labels, as this project's exports do; "
            f"'mobilenetv2 weights import {path} OUT' makes a model folder of it"
        )
    try:
        return parsed(text)
    except DialectError as error:
        raise ArtifactError(f"{path}: {error}") from None
