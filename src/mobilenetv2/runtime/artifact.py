"""From a model folder or an exported file to a running engine."""

import importlib
from pathlib import Path
from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import BY_ENDING, ENGINES, RUNTIMES, engines_of
from mobilenetv2.graph.graph import FEATURES, MAP
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engine import Artifact, Engine
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig

DEFAULT = ENGINES[0]


def load_artifact(path: Path, runtime: str | None = None) -> Artifact:
    """Read a model folder, BatchNorm folded on the way, or an exported file.

    Args:
        runtime: the engine that a model folder's graph is built for; None is the default.

    Raises:
        WeightsError: not a model folder, or damaged.
        ArtifactError: a file that does not say what it takes, or that was changed; no such engine.
    """
    if not is_exported(path):
        return build_artifact(*store.load(path), path, runtime)
    made = BY_ENDING[path.suffix.lower()]
    (reader,) = (name for name, other in RUNTIMES.items() if other.own == made)
    artifact: Artifact = _module("runtime", reader).read_artifact(path)
    return artifact


def build_artifact(
    config: ModelConfig,
    arrays: Arrays,
    path: Path,
    runtime: str | None = None,
    last_map: bool = False,
) -> Artifact:
    """Build the graph of a model folder's contents.

    Args:
        path: of the model folder.
        runtime: as for :func:`load_artifact`.
        last_map: the graph gives the last feature map, too.

    Raises:
        ArtifactError: as :func:`load_artifact`.
    """
    engine = RUNTIMES[_engine_name(runtime or DEFAULT)]
    if not engine.builds:
        raise ArtifactError(
            f"{path}: --runtime {engine.name} runs exported files only; make one with "
            f"'mobilenetv2 export {path} OUT --format {engine.own.name}'"
        )
    graph = lower(config, arrays).with_outputs(FEATURES, *([MAP] if last_map else []))
    data: bytes = getattr(_module("graph", engine.builds), f"write_{engine.builds}")(graph)
    return Artifact(config, engine.builds, data, str(path))


def is_exported(path: Path) -> bool:
    """Return whether it is a file of a format that engines here run."""
    made = BY_ENDING.get(path.suffix.lower())
    return made is not None and made.readable and path.is_file()


def create_engine(
    artifact: Artifact, name: str | None = None, threads: int | None = None
) -> Engine:
    """Start the engine of that name on an artifact.

    Args:
        name: None is the first that takes the artifact's format.
        threads: that the engine may use; None leaves it to the engine.

    Raises:
        ArtifactError: no such engine, or it cannot run the graph.
        MissingExtra: the engine is not installed.
    """
    known = engines_of(artifact.format)
    name = _engine_name(name or known[0])
    if name not in known:
        raise ArtifactError(
            f"{artifact.where}: --runtime {name} does not run {artifact.format} files; "
            f"{' or '.join(known)} does"
        )
    if threads is not None and threads < 1:
        raise ArtifactError(f"--threads {threads} must be at least 1")
    engine: Engine = _module("runtime", name).create_engine(artifact, threads)
    return engine


def _module(room: str, name: str) -> Any:
    return importlib.import_module(f"mobilenetv2.{room}.{name}")


def _engine_name(name: str) -> str:
    if name not in ENGINES:
        raise ArtifactError(f"--runtime {name}: unknown; {suggestion(name, ENGINES)}")
    return name
