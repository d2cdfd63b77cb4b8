"""Files of other programs, run as they are: any network from one picture to one vector.

A LiteRT or ONNX file without our config has no seal and no preprocessing. Its facts are read as
data, what they leave open is assumed aloud, and one run on made pictures checks what the graph
really gives. The runtimes get bytes with all weights in them and open no other file.
"""

import hashlib
import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import ImportOptions
from mobilenetv2.checkpoints.foreign import Facts
from mobilenetv2.checkpoints.foreign.reading import read_facts, with_files_beside
from mobilenetv2.checkpoints.importer import preprocessing_of
from mobilenetv2.errors import ArtifactError, WeightsError, argument
from mobilenetv2.formats import BY_ENDING, FORMATS
from mobilenetv2.graph.litert import CONFIG
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.outputs import logits_of, require_probabilities
from mobilenetv2.runtime.assumptions import (
    Sample,
    choose_labels,
    choose_outputs,
    choose_preprocessing,
    is_headless,
)
from mobilenetv2.runtime.engines.engine import Engine, Output, in_fixed_batches, read_bounded
from mobilenetv2.spec.foreign import ForeignConfig, Given
from mobilenetv2.spec.records import Labels, Origin, Preprocessing
from mobilenetv2.zips import Zip

PROBED = 2
"""Number of made pictures."""
SAME = 1e-3
"""Largest difference between a picture's outputs alone and in a batch, relative to the largest."""


@dataclass(frozen=True, slots=True)
class ForeignArtifact:
    """Graph and config of a foreign file, in memory."""

    config: ForeignConfig
    graph: bytes
    where: str
    """Name of the file in error messages."""
    weights: bytes = b""

    @property
    def format(self) -> str:
        """Name of the file format."""
        return self.config.format


def is_foreign(path: Path) -> bool:
    """Return True if a file of a format that is run here has no config of this package inside."""
    made = BY_ENDING.get(path.suffix.lower())
    if made is None or not made.graph or not path.is_file():
        return False
    return not _is_ours(read_bounded(path), made.name)


def _is_ours(data: bytes, name: str) -> bool:
    if name == "onnx":
        return CONFIG_KEY.encode() in data
    try:
        with Zip(data) as archive:
            return CONFIG in archive.namelist()
    except zipfile.BadZipFile:
        return CONFIG.encode() in data  # a damaged one of ours: its reader says so


def read_artifact(path: Path, given: Given, threads: int | None = None) -> ForeignArtifact:
    """Read a foreign file, and decide how it is fed and what its outputs mean.

    Args:
        path: a .tflite or .onnx file without our config.
        given: what the user says about it.
        threads: number of threads of the run that checks its outputs.

    Raises:
        WeightsError, DialectError: the file is damaged, or no classifier of pictures.
        ArtifactError: the runtime cannot run it, its outputs are not finite, or the labels do not
            fit.
        MissingExtra: the runtime is not installed.
    """
    data = with_files_beside(read_bounded(path), path)
    facts = read_facts(data, path)
    record, notes = choose_preprocessing(facts, given, str(path), _as_imported(path, facts, given))
    draft = ForeignConfig(
        facts.format, record, Labels.numbered(2), 2, layout=facts.layout, bgr=facts.bgr,
        batch=facts.batch,
    )  # fmt: skip
    rows, batch = _probe(ForeignArtifact(draft, data, str(path)), threads)
    logits = rows.shape[1]
    outputs, probabilities, meaning = choose_outputs(
        facts.meaning, facts.last, Sample(tuple(map(tuple, rows.tolist()))), logits
    )
    if facts.meaning == "softmax" and logits == 1:
        raise ArtifactError(
            f"{path}: a softmax over one output, which is 100% for every photo; it was trained "
            "wrongly, since one output for two classes needs a sigmoid"
        )
    classes = 2 if outputs == "logit" else logits
    beside = None if given.labels or facts.labels else _beside(path, classes)
    features = is_headless(facts.meaning, logits, bool(given.labels or facts.labels or beside))
    if features:
        outputs, labels, named = "softmax", Labels.numbered(logits), ""
        meaning = (
            f"a network without a classifier: it ends in {facts.last} of activated values, so that "
            f"its outputs are features; if they are classes, give {argument('labels', 'FILE')}"
        )
    else:
        labels, named = choose_labels(facts, given, beside, classes, str(path))
    opening = (
        f"{path.name}: a file of another program, run as it is ({FORMATS[facts.format].title}, "
        f"{record.size[0]} x {record.size[1]} pixels, "
        + (f"{logits} features)" if features else f"{classes} classes)")
    )
    config = replace(
        draft, labels=labels, logits=logits, outputs=outputs, probabilities=probabilities,
        features=features, batch=batch,
        notes=(opening, *notes, meaning, *([named] if named else [])),
        origin=Origin(path.name, hashlib.sha256(data).hexdigest(), licence=facts.licence),
    )  # fmt: skip
    return ForeignArtifact(config, data, str(path))


def _as_imported(path: Path, facts: Facts, given: Given) -> tuple[Preprocessing, str] | None:
    """Return what an import of the file would choose, so that both answer alike.

    It is None if the user or the file's metadata says how photos are fed, and for all networks but
    a MobileNetV2.
    """
    if given.preprocessing or given.resize or facts.fit:
        return None
    try:
        return preprocessing_of(path, ImportOptions())
    except WeightsError:  # another network, or one that an import has to ask about
        return None


def known_artifact(path: Path, config: ForeignConfig) -> ForeignArtifact | None:
    """Return a file with a config that was found out before; None if it is another file."""
    data = with_files_beside(read_bounded(path), path)
    same = config.origin is not None and config.origin.sha256 == hashlib.sha256(data).hexdigest()
    return ForeignArtifact(config, data, str(path)) if same else None


def _beside(path: Path, classes: int) -> tuple[Labels, str] | None:
    from mobilenetv2.checkpoints.labels import find_labels

    found = find_labels(path, classes)
    return None if found is None else (found[0], found[1].name)


def _probe(artifact: ForeignArtifact, threads: int | None) -> tuple[NDArray, int | None]:
    """Return the outputs for made pictures, and the batch size that the graph can take.

    A graph that says that it takes any batch may hold the batch size of its export all the same.
    """
    config = artifact.config
    run = _runner(artifact, None, threads)
    shape = (PROBED, *config.size, config.channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = _fed(engine_input(pictures, config.preprocessing), config)
    batch = config.batch
    alone = in_fixed_batches(lambda part: _vectors(run(part), batch or 1, artifact), x, batch or 1)
    if batch is None:
        try:
            together = _vectors(run(x), PROBED, artifact)
        except ArtifactError:
            batch = 1
        else:
            room = SAME * max(1.0, float(np.abs(alone).max()))
            same = together.shape == alone.shape and float(np.abs(together - alone).max()) <= room
            batch = None if same else 1
    return alone, batch


def _fed(x: NDArray, config: ForeignConfig) -> NDArray:
    """Return normalised pictures (batch, channels, height, width) as the graph takes them."""
    if config.bgr:
        x = x[:, ::-1]
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if config.layout == "NHWC" else x)


def _vectors(found: NDArray, batch: int, artifact: ForeignArtifact) -> NDArray:
    """Return outputs as (batch, n), float32.

    Raises:
        ArtifactError: there is not one vector for each picture, or a value is not finite.
    """
    long = [side for side in found.shape[1:] if side != 1]
    if found.ndim < 1 or found.shape[0] != batch or len(long) > 1:
        raise ArtifactError(
            f"{artifact.where}: it gives {list(found.shape)} for {batch} picture(s), and not one "
            "vector for each"
        )
    if not np.isfinite(found).all():
        raise ArtifactError(
            f"{artifact.where}: its outputs for a picture are not finite (NaN or infinity); the "
            "file is damaged, or its pictures need another preprocessing"
        )
    return np.asarray(found.reshape(batch, -1), np.float32)


class ForeignEngine(Engine):
    """Engine for a foreign graph: feeds it in its own layout and returns logits.

    Probabilities become logits that give the same probabilities again.
    """

    title = "its runtime"

    def __init__(self, run: Callable[[NDArray], NDArray], artifact: ForeignArtifact) -> None:
        super().__init__(artifact.where)
        self.config, self.batch = artifact.config, artifact.config.batch
        self._run, self._artifact = run, artifact
        self.channels = {"logits": self.config.logits, "features": self.config.logits}
        if self.config.features:
            # The same numbers by both names: who shows classes asks require_answers before.
            self.outputs = ("features", "logits")

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute the logits of a batch of the graph's batch size."""
        if not len(x):
            return np.zeros((0, self.config.logits), np.float32)
        found = _vectors(self._run(_fed(x, self.config)), len(x), self._artifact)
        if not self.config.probabilities:
            return found
        outputs = self.config.outputs
        found = require_probabilities(found, outputs, self._artifact.where)
        return np.asarray(logits_of(found, outputs), np.float32)


def create_engine(
    artifact: ForeignArtifact, name: str, threads: int | None, callers: int = 1
) -> ForeignEngine:
    """Start an engine with a foreign artifact.

    Args:
        artifact: the artifact, of :func:`read_artifact`.
        name: name of the runtime, one that runs the artifact's format.
        threads: number of threads; default: the runtime's own choice.
        callers: number of threads that may call it at once, for a runtime that is shared.
    """
    return ForeignEngine(_runner(artifact, name, threads, callers), artifact)


def _runner(
    artifact: ForeignArtifact, name: str | None, threads: int | None, callers: int = 1
) -> Callable[[NDArray], NDArray]:
    """Return a function from the graph's own input to its only output."""
    if artifact.format == "litert":
        from mobilenetv2.runtime.engines import litert

        config = artifact.config
        sides = (*config.size, config.channels)
        shape = sides if config.layout == "NHWC" else (config.channels, *config.size)
        interpreter = litert.create_engine(artifact, threads, (config.batch or 1, *shape))
        return lambda x: interpreter.answer(x, interpreter.outputs[0])
    module = importlib.import_module(f"mobilenetv2.runtime.engines.{name or 'onnxruntime'}")
    engine = module.create_engine(artifact, threads, callers)
    return lambda x: engine.answer(typed(x, engine.dtype), engine.outputs[0])


def typed(x: NDArray, dtype: np.dtype[Any]) -> NDArray:
    """Return values in the type that a graph takes; integers are rounded half to even."""
    if dtype.kind == "f":
        return x.astype(dtype, copy=False)
    bounds = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(x), bounds.min, bounds.max), dtype)
