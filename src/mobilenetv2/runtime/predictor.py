"""Predictors: functions from images to logits, features or feature maps, on any engine."""

import dataclasses
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, WeightsError, argument
from mobilenetv2.files import read_file
from mobilenetv2.formats import BY_ENDING, ENGINES, GRAPH_ENDINGS, RUNTIMES, Runtime, engines_of
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.runtime.built_graphs import built, known, remember, unchanged
from mobilenetv2.runtime.engines.engine import Artifact, Engine, Output, Pool, channels_of
from mobilenetv2.runtime.lasting import LastingPredictor, Predictor, usable_threads
from mobilenetv2.spec.foreign import NOTHING, Given
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.records import ModelConfig, Preprocessing

if TYPE_CHECKING:
    from mobilenetv2.runtime.foreign import ForeignArtifact


def load_predictor(
    model: Path, outputs: Output = "logits", runtime: str | None = None, threads: int | None = None
) -> tuple[ModelConfig, Predictor]:
    """Return the config of a model folder or an exported file, and its predictor.

    Args:
        model: path of the model folder or the exported file.
        outputs: output of the predictor.
        runtime: name of an engine. Default: ONNX Runtime; for an exported file, the engine of its
            format.
        threads: number of threads; default: the engine's own choice.

    Raises:
        WeightsError, ArtifactError, SpecError: the model cannot be read or run.
        MissingExtra: the engine is not installed.
    """
    artifact = load_artifact(model, runtime)
    if outputs == "logits":
        require_answers(artifact.config, str(model))
    start = partial(start_engine, artifact, runtime, threads, 1, outputs)
    return artifact.config, LastingPredictor(start)


def start_engine(
    artifact: "Artifact | ForeignArtifact",
    name: str | None,
    threads: int | None,
    callers: int = 1,
    output: Output = "logits",
    precision: str = "float32",
) -> Predictor:
    """Start an engine as :func:`create_engine` does, and return its predictor."""
    engine = create_engine(artifact, name, threads, callers, precision)
    return EnginePredictor(engine, artifact.config.preprocessing, output)


@dataclass(frozen=True, slots=True)
class EnginePredictor:
    """Predictor of an engine, with or without normalisation in its graph."""

    engine: Engine
    record: Preprocessing
    output: Output = "logits"

    def __call__(self, pictures: NDArray) -> NDArray:
        """Return the outputs for uint8 images (batch, height, width, channels)."""
        normalised = self.engine.takes_pictures
        x = pictures if normalised else engine_input(pictures, self.record)
        return self.engine.run(x, self.output)

    @property
    def batch(self) -> int | None:
        """Batch size of the engine's graph; None for any."""
        return self.engine.batch


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Network that gives its last feature map beside the logits, for Grad-CAM without gradients.

    Only global pooling and linear layers lie between the map and the logits.
    """

    config: ModelConfig
    arrays: Arrays
    """Canonical arrays of the classifier, the linear layers behind the map."""
    answer: Callable[[NDArray], tuple[NDArray, NDArray]]
    """Function from images to logits and activated float32 maps (batch, height', width', k)."""
    maps: Predictor
    """Function from images to the maps alone, which takes half the time."""


def load_feature_map(
    model: Path, runtime: str | None = None, threads: int | None = None
) -> FeatureMap:
    """Return a network with its feature map, from a model folder or an ONNX or Keras file.

    Args:
        model: path of the model folder or the exported file.
        runtime: name of an engine; default: ONNX Runtime.
        threads: number of threads; default: the engine's own choice.

    Raises:
        WeightsError, SpecError: the model cannot be read, or no engine has such networks.
        ArtifactError: the file has another format, whose graph gives logits only.
        MissingExtra: the engine is not installed.
    """
    if is_exported(model):
        artifact, arrays = _exported(model, runtime)
    else:
        config, arrays = store.load(model)
        artifact = build_artifact(config, arrays, model, runtime, last_map=True)
        arrays = {name: array for name, array in arrays.items() if is_classifier(name)}
    require_answers(artifact.config, str(model))
    engine, record = create_engine(artifact, runtime, threads), artifact.config.preprocessing
    logits, planes = (EnginePredictor(engine, record, name) for name in ("logits", "map"))

    def maps(pictures: NDArray) -> NDArray:
        return planes(pictures).transpose(0, 2, 3, 1)

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        return logits(pictures), maps(pictures)

    return FeatureMap(artifact.config, arrays, answer, maps)


def _exported(path: Path, runtime: str | None) -> tuple[Artifact, Arrays]:
    from mobilenetv2.checkpoints.graphs.onnx.reader import with_map

    artifact = load_artifact(path, runtime)
    if artifact.format != "onnx":
        raise ArtifactError(
            f"{path}: a file of this format does not contain the last feature map; use the "
            "model folder that it was exported from, or an .onnx file"
        )
    try:
        graph, arrays = with_map(artifact.graph, artifact.config.spec)
    except WeightsError as error:
        raise ArtifactError(
            f"{path}: its last feature map is not available ({error}); use the model folder that "
            "it was exported from"
        ) from None
    return dataclasses.replace(artifact, graph=graph), arrays


DEFAULT = ENGINES[0]


def load_any_artifact(
    path: Path, runtime: str | None = None, given: Given = NOTHING, threads: int | None = None
) -> "Artifact | ForeignArtifact":
    """Read an exported file, a model folder, or a file of another program.

    Args:
        path: path of the model folder or file.
        runtime: engine that the graph of a model folder is built for; default: ONNX Runtime.
        given: options of the user about a file of another program.
        threads: number of threads of the run that checks a foreign file.

    Raises:
        WeightsError: the folder or file is damaged, or no classifier.
        ArtifactError: the file was changed, the engine is unknown, or the options do not apply.
    """
    if is_exported(path):
        made = BY_ENDING[path.suffix.lower()]
        if made.graph and not given and (before := known(path, made.name)) is not None:
            return before
        from mobilenetv2.runtime import foreign

        try:
            if foreign.is_foreign(path):
                return foreign.read_artifact(path, given, threads)
            require_nothing(given, path)
            return load_artifact(path, runtime)
        except (WeightsError, ArtifactError) as error:
            from mobilenetv2.checkpoints.unreadable import explained

            raise explained(path, error, exported=True) from None
    require_nothing(given, path)
    return load_artifact(path, runtime)


def require_nothing(given: Given, path: Path) -> None:
    """Raise ArtifactError if options about a foreign file are given for a model of ours."""
    if given:
        named = [
            argument(name)
            for name in ("labels", "preprocessing", "resize")
            if getattr(given, name) is not None
        ]
        raise ArtifactError(
            f"{path}: it has its own labels and preprocessing; {' and '.join(named)} only apply to "
            f"{GRAPH_ENDINGS} files of other programs"
        )


def load_artifact(path: Path, runtime: str | None = None) -> Artifact:
    """Read an exported file, or build the graph of a model folder with folded BatchNorm.

    Args:
        path: path of the model folder or the exported file.
        runtime: engine that the graph of a model folder is built for; default: ONNX Runtime.

    Raises:
        WeightsError: the folder is no model folder, or damaged.
        ArtifactError: the file has no config or was changed, or the engine is unknown.
    """
    if not is_exported(path):
        return build_from_folder(path, runtime)
    made = BY_ENDING[path.suffix.lower()]
    (reader,) = (name for name, other in RUNTIMES.items() if other.own == made)

    if made.graph and (before := known(path, made.name)) is not None:
        return before
    artifact: Artifact = _module("runtime.engines", reader).read_artifact(path)
    if made.graph:
        remember(artifact)
    return artifact


def build_from_folder(path: Path, runtime: str | None = None) -> Artifact:
    """Build the graph of a model folder, or take it from the cache if it was built before.

    Args:
        path: path of the model folder.
        runtime: engine that the graph is built for; default: ONNX Runtime.

    Raises:
        WeightsError: the folder is no model folder, or damaged, or is being written.
        ArtifactError: the engine is unknown, or runs exported files only.
    """
    engine, files = _builder(path, runtime), (path / store.CONFIG, path / store.WEIGHTS)

    def read() -> Artifact:
        config = store.load_config(path)
        if not files[1].is_file():
            raise WeightsError(f"{path}: the weights file {store.WEIGHTS} is missing")
        graph = built(
            files, engine.builds,
            lambda: (read_file(files[0]), store.read_weights(path, config)),
            lambda: build_artifact(*store.load(path), path, runtime).graph,
        )  # fmt: skip
        return Artifact(config, engine.builds, graph, str(path))

    return unchanged(files, read)


def _builder(path: Path, runtime: str | None) -> Runtime:
    """Return the record of the engine for which a model folder's graph is built."""
    engine = RUNTIMES[_engine_name(runtime or DEFAULT)]
    if not engine.builds:
        raise ArtifactError(
            f"{path}: the runtime {engine.name} runs exported files only; create one with "
            f"'mobilenetv2 export {path} OUT --format {engine.own.name}'"
        )
    return engine


def build_artifact(
    config: ModelConfig,
    arrays: Arrays,
    path: Path,
    runtime: str | None = None,
    last_map: bool = False,
) -> Artifact:
    """Build the graph of a model folder's contents.

    Args:
        config: config of the model folder.
        arrays: weights of the model folder.
        path: path of the model folder, for messages.
        runtime: engine that the graph is built for; default: ONNX Runtime.
        last_map: True for a graph with the last feature map as an output.

    Raises:
        ArtifactError: the engine is unknown, or runs exported files only.
    """
    engine = _builder(path, runtime)
    from mobilenetv2.graph.graph import FEATURES, MAP
    from mobilenetv2.graph.lowering import lower

    graph = lower(config, arrays).with_outputs(FEATURES, *([MAP] if last_map else []))
    data: bytes = getattr(_module("graph", engine.builds), f"write_{engine.builds}")(graph)
    return Artifact(config, engine.builds, data, str(path))


def is_exported(path: Path) -> bool:
    """Return True if a path is a file in a format that an engine runs."""
    made = BY_ENDING.get(path.suffix.lower())
    return made is not None and made.readable and path.is_file()


def create_engine(
    artifact: "Artifact | ForeignArtifact", name: str | None = None, threads: int | None = None,
    callers: int = 1, precision: str = "float32",
) -> Engine:  # fmt: skip
    """Start an engine with an artifact.

    Args:
        artifact: the artifact.
        name: name of the engine; default: the first that runs the artifact's format.
        threads: number of threads; default: the engine's own choice. In a forked process, ncnn
            and MNN always have one.
        callers: number of threads that may call the engine at once. Above 1, each of them computes
            with ``threads`` threads.
        precision: 'float32' or 'bfloat16', in which OpenVINO may compute a float32 graph.

    Raises:
        ArtifactError: the engine is unknown, or cannot run the graph.
        MissingExtra: the engine is not installed.
    """
    known = engines_of(artifact.format)
    name = _engine_name(name or known[0])
    if name not in known:
        raise ArtifactError(
            f"{artifact.where}: the runtime {name} does not run {artifact.format} files; "
            f"{' or '.join(known)} does"
        )
    require_threads(threads)
    threads = usable_threads(threads, RUNTIMES[name].forks)
    if callers > 1 and not RUNTIMES[name].shared:
        engines = [create_engine(artifact, name, threads, 1, precision) for _ in range(callers)]
        return Pool(engines)
    if not isinstance(artifact, Artifact):
        from mobilenetv2.runtime import foreign

        return foreign.create_engine(artifact, name, threads, callers)
    if precision != "float32" and name != "openvino":
        raise ArtifactError(f"{artifact.where}: the runtime {name} computes in float32 only")
    how: dict[str, Any] = {"callers": callers} if callers > 1 else {}
    how |= {"precision": precision} if precision != "float32" else {}
    engine: Engine = _module("runtime.engines", name).create_engine(artifact, threads, **how)
    engine.channels = channels_of(artifact.config.spec)
    return engine


def _module(room: str, name: str) -> Any:
    return importlib.import_module(f"mobilenetv2.{room}.{name}")


def _engine_name(name: str) -> str:
    if name not in ENGINES:
        raise ArtifactError(f"runtime {name!r} is unknown; {suggestion(name, ENGINES)}")
    return name


def require_threads(threads: int | None) -> None:
    """Raise ArtifactError if a given number of threads is below 1."""
    if threads is not None and threads < 1:
        raise ArtifactError(f"threads {threads} must be at least 1")
