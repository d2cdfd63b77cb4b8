"""A published checkpoint, in any dialect, as this project's config and canonical arrays."""

import dataclasses
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.reader import read_container, recognise_kind
from mobilenetv2.checkpoints.dialects import huggingface_config, keras, registry, timm_config
from mobilenetv2.checkpoints.dialects.description import Description
from mobilenetv2.checkpoints.dialects.dialect import COMPUTED, Dialect
from mobilenetv2.checkpoints.dialects.inference import infer, same_network
from mobilenetv2.checkpoints.graphs import keras_config
from mobilenetv2.checkpoints.labels import background_of, usual_labels
from mobilenetv2.checkpoints.sidecar import digest, read_sidecar
from mobilenetv2.errors import DialectError, SpecError, WeightsError
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.model.arrays import Arrays, check_arrays, is_folded
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

LARGEST_CONFIG = 16 * 1024**2
HEADLESS = "Came without a classifier: this one is new, and says nothing before it is trained."
HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person says of a checkpoint; None: what the file says, or what is usual."""

    dialect: str = "auto"
    labels: Labels | None = None
    width: float | None = None
    size: Size | None = None
    spec: NetworkSpec | None = None
    """The whole network but its classes: for a stage table that is no published one."""
    preprocessing: Preprocessing | None = None
    licence: str | None = None


def import_checkpoint(path: Path, wishes: Wishes | None = None) -> tuple[ModelConfig, Arrays]:
    """Read a file, a TensorFlow checkpoint's prefix, or a folder from a model hub.

    Returns:
        The config, and canonical float32 arrays: bit for bit those of the file, but for folded
        and quantised ones.

    Raises:
        WeightsError: not a weights file, damaged, or hostile.
        DialectError: not a MobileNetV2, or another than was asked for.
        MissingExtra: the library that reads such a file is not installed.
    """
    wishes = wishes or Wishes()
    try:
        graph = _graph_kind(path, wishes.dialect)
        return _graph(path, graph, wishes) if graph else _named(path, wishes)
    except SpecError as error:
        message = str(error)
        raise DialectError(message if str(path) in message else f"{path}: {message}") from None


def _graph_kind(path: Path, dialect: str) -> str | None:
    """'onnx' or 'litert', where the file is one of them.

    Raises:
        DialectError: it is, and another dialect was asked for.
    """
    if dialect in registry.GRAPHS:
        return dialect
    made = BY_ENDING.get(path.suffix.lower())
    kind: str | None = made.name if made is not None and made.graph else None
    kind = kind or (recognise_kind(path) if path.is_file() else None)
    if kind not in registry.GRAPHS:
        return None
    if dialect != "auto":
        raise DialectError(f"{path}: in the dialect {kind}, not {dialect}")
    return kind


def _graph(path: Path, dialect: str, wishes: Wishes) -> tuple[ModelConfig, Arrays]:
    for name in ("width", "size", "spec"):
        if getattr(wishes, name) is not None:
            raise DialectError(
                f"{path}: --{name} is not for {dialect} files, whose graph says what they are"
            )
    module: Any = importlib.import_module(f"mobilenetv2.checkpoints.graphs.{dialect}")
    config, arrays = module.import_file(path, wishes.labels)
    return _with_wishes(config, wishes), arrays


def _with_wishes(config: ModelConfig, wishes: Wishes) -> ModelConfig:
    origin = config.origin
    if origin and wishes.licence:
        origin = dataclasses.replace(origin, licence=wishes.licence)
    record = wishes.preprocessing or config.preprocessing
    return dataclasses.replace(config, origin=origin, preprocessing=record)


def _named(path: Path, wishes: Wishes) -> tuple[ModelConfig, Arrays]:
    weights = _weights_in(path) if path.is_dir() else path
    found = read_container(weights)
    where = str(weights)
    model = keras_config.of(found, where)
    dialect, foreign = _dialect(found, wishes.dialect, where, model.names if model else ())
    foreign = {name: array for name, array in foreign.items() if not dialect.ignores(name)}
    said = Description()
    sidecar = read_sidecar(weights)
    if sidecar is not None:
        licence = sidecar.origin.licence if sidecar.origin else None
        said = Description(sidecar.spec, sidecar.preprocessing, sidecar.labels, licence)
    elif weights.name in HUB_WEIGHTS:
        said = _hub_description(weights.parent, dialect)
    labels = wishes.labels or said.labels
    foreign, headless = _with_classifier(dialect, foreign, labels)
    given = None
    if sidecar is None and model is not None and dialect.name == "keras":
        shapes = {name: tuple(array.shape) for name, array in foreign.items()}
        spec = keras_config.spec(model, dialect, shapes, where, wishes.width)
        said = dataclasses.replace(said, spec=spec)
        given = keras_config.preprocessing(model)
    spec = _spec(dialect, foreign, wishes, said, where)
    labels = labels or usual_labels(spec.classes)
    spec = spec.replace(background=_background(labels, spec.classes, where))
    record = wishes.preprocessing or said.preprocessing or dialect.preprocessing(spec)
    if given is not None and wishes.preprocessing is None:
        record = dataclasses.replace(record, mean=given[0], std=given[1])
    arrays = dialect.decode(spec, foreign)
    check_arrays(spec, arrays, where)
    origin = Origin(
        source=path.name, sha256=digest(weights), dialect=dialect.name,
        licence=wishes.licence or said.licence, folded=is_folded(arrays),
        note=HEADLESS if headless else _note(found, sidecar),
    )  # fmt: skip
    metrics = sidecar.metrics if sidecar else {}
    return ModelConfig(spec, record.at(spec.size), labels, origin, metrics), arrays


def _spec(
    dialect: Dialect, foreign: Arrays, wishes: Wishes, said: Description, where: str
) -> NetworkSpec:
    """The network: what the file says of itself, held against its shapes and the wishes.

    Raises:
        DialectError: they contradict each other.
    """
    base = said.spec or wishes.spec
    wanted = base or dialect.bases[0]
    if said.spec is None:
        # A stage table of one's own has the dialect's numerics: a bare file never says others.
        wanted = wanted.replace(numerics=dialect.numerics)
    size = wishes.size or (said.preprocessing.size if said.preprocessing else wanted.size)
    wanted = wanted.replace(size=size, background=None)
    shapes = {name: tuple(array.shape) for name, array in foreign.items()}
    width = None if base is not None else wishes.width
    spec = infer(dialect, shapes, wanted, where, width, exactly=base is not None)
    if wishes.width is not None and not same_network(spec, spec.replace(width=wishes.width)):
        raise DialectError(
            f"{where}: it is of width {spec.width:g}, but width {wishes.width:g} was asked for"
        )
    if said.spec is not None and wishes.spec is not None:
        asked = wishes.spec.replace(classes=spec.classes, input_channels=spec.input_channels)
        others = [
            field for field in COMPUTED
            if getattr(asked.numerics, field) != getattr(spec.numerics, field)
        ]  # fmt: skip
        if others or not same_network(spec, asked):
            raise DialectError(
                f"{where}: it says itself what it is, and --spec says something else "
                f"({', '.join(others) or 'other strides'}); leave --spec out"
            )
    return spec


def _note(found: Container, sidecar: ModelConfig | None) -> str:
    """What a person should know of where the weights were."""
    if sidecar is not None and sidecar.origin is not None:
        return sidecar.origin.note
    key = str(found.metadata.get("key") or "")
    return f"Taken from '{key}', the average of the weights." if "ema" in key.lower() else ""


def _dialect(
    found: Container, name: str, where: str, order: Sequence[str] = ()
) -> tuple[Dialect, Arrays]:
    """The dialect, and the arrays under the names of its table.

    Args:
        order: the layers of a Keras model, where it says them.
    """
    arrays = dict(found.arrays)
    if found.metadata.get("format") == "keras-3":
        arrays = keras.named(arrays, found.metadata["names"], order)
    dialect = registry.detect(arrays, where) if name == "auto" else registry.find(name)
    prepared = dialect.prepare(arrays)
    if not dialect.recognises(prepared):
        other = next((d.name for d in registry.DIALECTS.values()
                      if d.recognises(d.prepare(arrays))), None)  # fmt: skip
        hint = f"; its names are {other}'s" if other else ""
        raise DialectError(f"{where}: not in the dialect {name}{hint}")
    return dialect, prepared


def _with_classifier(
    dialect: Dialect, foreign: Arrays, labels: Labels | None
) -> tuple[Arrays, bool]:
    """The arrays, with a new classifier where the file has none."""
    keys = {key.canonical: key for key in dialect.keys(dialect.bases[0])}
    weight, bias = keys["classifier.weight"], keys["classifier.bias"]
    head = foreign.get(keys["head.bn.scale"].foreign)
    if weight.foreign in foreign or bias.foreign in foreign or head is None or head.ndim != 1:
        return foreign, False
    classes = len(labels) if labels else len(Labels.imagenet())
    made = initialise({"classifier.weight": (classes, head.shape[0])}, "torchvision", seed=0)
    array = made["classifier.weight"]
    return foreign | {
        weight.foreign: weight.layout.from_canonical(array) if weight.layout else array,
        bias.foreign: np.zeros(classes, np.float32),
    }, True


def _weights_in(folder: Path) -> Path:
    """The weights file of a folder as model hubs lay it out, or a TensorFlow checkpoint's prefix.

    Raises:
        WeightsError: there is none, or it is a model folder of ours.
    """
    if "spec" in (_json(folder / "config.json") or {}):
        raise DialectError(f"{folder}: a model folder already; it can be used as it is")
    for name in HUB_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    indices = sorted(folder.glob("*.index"))
    if len(indices) == 1:
        return indices[0].with_suffix("")
    if indices or (folder / "checkpoint").is_file():
        return folder  # several: its own list says which is the newest
    raise WeightsError(f"{folder}: a folder without {' or '.join(HUB_WEIGHTS)}")


def _hub_description(folder: Path, dialect: Dialect) -> Description:
    config = _json(folder / "config.json")
    if config is None:
        return Description()
    try:
        if dialect.name == "huggingface":
            return huggingface_config.describe(config, _json(folder / "preprocessor_config.json"))
        return timm_config.describe(config) if dialect.name == "timm" else Description()
    except (DialectError, SpecError) as error:
        raise DialectError(f"{folder}: {error}") from None


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST_CONFIG:
        raise WeightsError(f"{path}: larger than {LARGEST_CONFIG:,} bytes")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return found


def _background(labels: Labels, classes: int, where: str) -> Literal["first", "last"] | None:
    try:
        return background_of(labels, classes)
    except DialectError as error:
        raise DialectError(f"{where}: {error}") from None
