"""What is run: a model folder, whose graph is built here, or a file that was exported."""

import importlib
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.sidecar import parse_config
from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.files import read_file
from mobilenetv2.formats import BY_ENDING, RUNTIMES
from mobilenetv2.graph import litert, onnx
from mobilenetv2.graph.graph import FEATURES, MAP
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engine import DEFAULT, Artifact, checked
from mobilenetv2.spec.records import ModelConfig

LARGEST_FILE = 512 * 1024**2


def load(path: Path, runtime: str | None = None) -> Artifact:
    """Read a model folder, BatchNorm folded on the way, or an exported file.

    Args:
        runtime: the engine that a model folder's graph is built for; None is the default.

    Raises:
        WeightsError: not a model folder, or damaged.
        ArtifactError: a file that does not say what it takes, or that was changed; no such engine.
    """
    if is_exported(path):
        name = BY_ENDING[path.suffix.lower()].name
        module: Any = importlib.import_module(f"mobilenetv2.runtime.files.{name}")
        artifact: Artifact = module.read(path)
        return artifact
    return built(*store.load(path), path, runtime)


def built(
    config: ModelConfig,
    arrays: Arrays,
    path: Path,
    runtime: str | None = None,
    last_map: bool = False,
) -> Artifact:
    """The graph of a model folder's contents.

    Args:
        path: of the model folder.
        runtime: as for :func:`load`.
        last_map: the graph gives the last feature map, too.

    Raises:
        ArtifactError: as :func:`load`.
    """
    engine = RUNTIMES[checked(runtime or DEFAULT)]
    kind = engine.builds
    if kind in ("onnx", "litert"):
        graph = lower(config, arrays).with_outputs(FEATURES, *([MAP] if last_map else []))
        data = onnx.write(graph) if kind == "onnx" else litert.write(graph)
        return Artifact(config, kind, data, str(path))
    raise ArtifactError(
        f"{path}: --runtime {engine.name} runs exported files only; make one with "
        f"'mobilenetv2 export {path} OUT --format {engine.own.name}'"
    )


def is_exported(path: Path) -> bool:
    """Return whether it is a file of a format that engines here run."""
    made = BY_ENDING.get(path.suffix.lower())
    return made is not None and made.readable and path.is_file()


def contents(path: Path) -> bytes:
    """A whole file, if it is not too large.

    Raises:
        ArtifactError: larger than 512 MiB.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ArtifactError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_FILE:,}")
    return read_file(path)


def config_inside(text: str | None, path: Path) -> ModelConfig:
    """The config that an exported file carries: preprocessing and labels among it.

    Args:
        text: what was found under our key in the file's metadata; None is somebody else's file.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    if text is None:
        made = BY_ENDING.get(path.suffix.lower())
        advice = (
            f"'mobilenetv2 weights import {path} OUT' makes a model folder of it"
            if made is not None and made.graph
            else "make it with 'mobilenetv2 export'"
        )
        raise ArtifactError(
            f"{path}: it does not say its preprocessing and labels, as this project's exports do; "
            f"{advice}"
        )
    try:
        return parse_config(text)
    except DialectError as error:
        raise ArtifactError(f"{path}: {error}") from None
