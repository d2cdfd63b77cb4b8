"""What runs a network's graph: one small protocol, and the engines that keep to it by name."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import ENGINES, engines_of
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig, Preprocessing

DEFAULT = ENGINES[0]
Output = Literal["logits", "features", "map"]
"""The last is the feature map that is pooled: what :mod:`.feature_map` asks for."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A network ready for an engine. Everything is in memory, so what was checked is what runs."""

    config: ModelConfig
    format: str
    """Name of a format."""
    graph: bytes
    where: str
    """What it is called in an error."""
    weights: bytes = b""
    """The second file of formats that have two (OpenVINO's .bin, ncnn's .bin)."""


class Engine(Protocol):
    """A graph, ready to run."""

    outputs: tuple[str, ...]
    """What the graph gives: 'logits', and 'features' and 'map' where it was built for them."""
    takes_pictures: bool
    """Whether the graph normalises by itself."""

    def run(self, x: NDArray, output: Output) -> NDArray:
        """Any batch -> float32 (batch, n); the map (batch, channels, height, width).

        Args:
            x: float32 (batch, channels, height, width), normalised; where ``takes_pictures``,
                uint8 (batch, height, width, channels) as ``images.preprocess`` gives it.

        Raises:
            ArtifactError: the graph has no such output, or cannot take such a picture.
        """


def start(artifact: Artifact, name: str | None = None, threads: int | None = None) -> Engine:
    """The engine of that name on an artifact.

    Args:
        name: None is the first that takes the artifact's format.
        threads: that the engine may use; None leaves it to the engine.

    Raises:
        ArtifactError: no such engine, or it cannot run the graph.
        MissingExtra: the engine is not installed.
    """
    known = engines_of(artifact.format)
    name = checked(name or known[0])
    if name not in known:
        raise ArtifactError(
            f"{artifact.where}: --runtime {name} does not run {artifact.format} files; "
            f"{' or '.join(known)} does"
        )
    if threads is not None and threads < 1:
        raise ArtifactError(f"--threads {threads} must be at least 1")
    module: Any = importlib.import_module(f"mobilenetv2.runtime.{name}")
    engine: Engine = module.start(artifact, threads)
    return engine


def checked(name: str) -> str:
    """Return the name of an engine.

    Raises:
        ArtifactError: it is none's.
    """
    if name not in ENGINES:
        raise ArtifactError(f"--runtime {name}: unknown; {suggestion(name, ENGINES)}")
    return name


def predictor(
    engine: Engine, record: Preprocessing, output: Output = "logits"
) -> Callable[[NDArray], NDArray]:
    """uint8 pictures (batch, height, width, channels) at the network's size -> float32 (batch, n),
    wherever the engine's graph has its normalisation."""
    if engine.takes_pictures:
        return lambda pictures: engine.run(pictures, output)
    return lambda pictures: engine.run(engine_input(pictures, record), output)
