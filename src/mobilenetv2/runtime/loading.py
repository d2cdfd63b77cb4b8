"""Loading of models for prediction, from every place and for every runtime."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import __version__
from mobilenetv2.errors import ArtifactError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import BY_ENDING, ENGINES, engines_of
from mobilenetv2.machine import workers
from mobilenetv2.model import store
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.lasting import LastingPredictor, Predictor, batch_of, callers_of
from mobilenetv2.runtime.predictor import (
    FeatureMap,
    load_any_artifact,
    load_feature_map,
    require_nothing,
    require_threads,
    start_engine,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.foreign import NOTHING, AnyConfig, ForeignConfig, Given
from mobilenetv2.spec.mapping import suggestion, to_mapping
from mobilenetv2.spec.records import Preprocessing

if TYPE_CHECKING:
    from mobilenetv2.runtime.fastest import Allowed, Before

TORCH, AUTO = "torch", "auto"
RUNTIMES = (*ENGINES, TORCH)
"""Values of ``runtime``."""
Output: TypeAlias = Literal["logits", "features"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Model that is ready to predict."""

    place: Path
    """Model folder or exported file; for a network in memory, a temporary folder that is gone."""
    name: str
    """Name for messages and records: the given one, or a network's class."""
    config: AnyConfig
    predict: Predictor
    runtime: str
    """Name of the runtime, with the precision if it is not float32's."""
    file: Path | None = None
    """Int8 file, made of the model, that answers; None if the model does itself."""


def load_model(
    model: AnyModel,
    outputs: Output = "logits",
    *,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    callers: int = 1,
    precision: str = "float32",
    flips: bool = False,
    fast_decode: bool = False,
    given: Given = NOTHING,
    ready: Callable[[Preprocessing], None] | None = None,
) -> LoadedModel:
    """Load a model folder, an exported file, a published model by its name, or a network.

    Args:
        model: model folder, exported file, catalogue name, ``hf://OWNER/NAME``, 'embedded', a
            network of any edition, or a run.
        outputs: output of the predictor.
        runtime: name of an engine, or 'torch'; default: the model's default.
        device: 'cpu' (default), or a device of PyTorch: 'cuda', 'cuda:1', 'mps'.
        threads: number of threads; default: the runtime's own choice.
        callers: number of threads that may call the predictor at once. Above 1, each computes with
            ``threads`` threads; a predictor of PyTorch has one caller.
        precision: 'float32' or 'bfloat16', in which OpenVINO may compute a float32 graph.
        flips: True to average the predictions for each photo and its mirror image.
        fast_decode: True to decode JPEG files no larger than needed, whatever the model says.
        given: options of the user about a foreign LiteRT or ONNX file, whose assumptions are told
            on stderr.
        ready: function that is called with the preprocessing before an engine is started.

    Raises:
        WeightsError, ArtifactError, SpecError: the model cannot be downloaded, read or run.
        MobileNetV2Error: PyTorch cannot use the device.
        MissingExtra: the runtime is not installed.
    """
    if runtime is not None:
        _require_known(runtime)
    if runtime not in (None, TORCH) and device != "cpu":
        raise ArtifactError(
            f"the runtime {runtime} runs on the CPU only; for device {device}, choose runtime torch"
        )
    config: AnyConfig
    with located(model) as found:
        place = found.place
        if runtime == TORCH or device != "cpu":
            from mobilenetv2.runtime.engines import torch

            require_nothing(given, place)
            config, predict = torch.load_predictor(place, outputs, device, threads)
            used = TORCH
        else:
            config, start, used = _load_engine(place, runtime, threads, given)
            if isinstance(config, ForeignConfig):
                tell(config)
            if outputs == "logits":
                require_answers(config, str(place))
            config = _decoding_fast(config) if fast_decode else config
            if ready is not None:
                ready(config.preprocessing)
            predict = LastingPredictor(partial(start, callers, outputs, precision), callers)
    config = _decoding_fast(config) if fast_decode else config
    answer = with_flips(predict) if flips else predict
    return LoadedModel(place, found.name, config, answer, used)


def _decoding_fast(config: AnyConfig) -> AnyConfig:
    """Return a config by which JPEG files are decoded no larger than needed."""
    reduced = dataclasses.replace(config.preprocessing, decode="reduced")
    return dataclasses.replace(config, preprocessing=reduced)


def load_for_many(
    model: AnyModel, outputs: Output = "logits", *, runtime: str | None = None,
    device: str = "cpu", threads: int | None = None, precision: "Allowed" = "exact",
    sample: Callable[[Preprocessing], NDArray] | None = None, before: "Before | None" = None,
    verbose: bool = False, **options: Any,
) -> LoadedModel:  # fmt: skip
    """Load a model as :func:`load_model` does, to compute many photos.

    On a CPU, as many threads as there are cores call it at once, each of which computes by itself.
    PyTorch divides each batch among its threads instead, whose number holds for the whole process.

    Args:
        model: as :func:`load_model` takes it.
        outputs: output of the predictor.
        runtime: name of an engine, 'torch', or 'auto' for the fastest one on this machine.
        device: device of PyTorch.
        threads: number of the threads. Default: one for each core.
        precision: 'exact' for float32; 'auto' allows any precision, and the runtime 'auto'.
        sample: function that returns some photos for a trial, given a preprocessing: uint8
            (photos, height, width, channels), perhaps none.
        before: what has answered some of the photos; 'auto' takes it if it is still there.
        verbose: True to say the rates of all that 'auto' has tried.
        options: further arguments of :func:`load_model`.

    Raises:
        MobileNetV2Error: as :func:`load_model`.
    """
    automatic = runtime == AUTO or (runtime is None and precision == "auto")
    if precision not in ("exact", "auto") or (precision == "auto" and not automatic):
        raise ArtifactError(
            f"precision {precision!r}: it is 'exact' or 'auto', and 'auto' chooses the runtime"
        )
    if device != "cpu" or runtime == TORCH:
        if automatic:
            raise ArtifactError(f"the runtime auto is for the CPU; leave it out for {device}")
        return load_model(model, outputs, runtime=runtime, device=device, threads=threads,
                          **options)  # fmt: skip
    require_threads(threads)
    callers = threads or workers()
    if not automatic:
        return load_model(model, outputs, runtime=runtime, threads=1, callers=callers, **options)
    from mobilenetv2.runtime import fastest

    with located(model) as found:
        said: Given = options.get("given", NOTHING)
        record = config_of(found.place, said).preprocessing
        if options.get("fast_decode"):
            record = dataclasses.replace(record, decode="reduced")
        chosen, trials = fastest.choose(
            fastest.Asked(found.place, precision, outputs, said, callers), record, sample, before
        )
        say(f"runtime: {fastest.sentence(chosen, trials)}")
        for told in fastest.rates(trials) if verbose else ():
            say(f"  {told}")
        bfloat16 = chosen.precision == fastest.BFLOAT16
        loaded = load_model(
            chosen.path, outputs, runtime=chosen.runtime, threads=1, callers=callers,
            precision="bfloat16" if bfloat16 else "float32", **options,
        )  # fmt: skip
        return dataclasses.replace(
            loaded, place=found.place, name=found.name, runtime=chosen.name,
            file=None if chosen.path == str(found.place) else Path(chosen.path),
        )  # fmt: skip


def config_of(place: Path, given: Given = NOTHING) -> AnyConfig:
    """Return the config of a model folder or of an exported file."""
    if place.is_dir():
        return store.load_config(place)
    return load_any_artifact(place, given=given).config


def load_network(
    model: AnyModel, runtime: str | None = None, threads: int | None = None
) -> FeatureMap:
    """Load a model with its last feature map, for explanations.

    Args:
        model: model folder, catalogue name, ``hf://OWNER/NAME``, 'embedded', exported file of a
            format that gives the feature map (ONNX or Keras), a network of any edition, or a run.
        runtime: name of an engine, or 'torch'; default: the model's default.
        threads: number of threads; default: the runtime's own choice.

    Raises:
        WeightsError, ArtifactError, SpecError: the model cannot be downloaded, read, run or
            explained.
        MissingExtra: the runtime is not installed.
    """
    if runtime is not None:
        _require_known(runtime)
    with located(model) as given:
        if runtime == TORCH:
            from mobilenetv2.runtime.engines import torch

            return torch.load_feature_map(given.place, threads)
        return load_feature_map(given.place, runtime, threads)


def with_flips(predict: Predictor) -> Predictor:
    """Return a predictor that averages the outputs for each image and its mirror image."""
    return _Flipped(predict)


@dataclass(frozen=True, slots=True)
class _Flipped:
    predict: Predictor

    def __call__(self, pictures: NDArray) -> NDArray:
        mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
        return np.asarray((self.predict(pictures) + self.predict(mirrored)) / 2)

    @property
    def callers(self) -> int:
        return callers_of(self.predict)

    @property
    def batch(self) -> int | None:
        return batch_of(self.predict)


def _require_known(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise ArtifactError(f"runtime {runtime!r} is unknown; {suggestion(runtime, RUNTIMES)}")


def tell(config: ForeignConfig) -> None:
    """Write on stderr what was assumed of a foreign file."""
    for note in config.notes:
        say(f"note: {note}")


def _load_engine(
    place: Path, runtime: str | None, threads: int | None, given: Given
) -> tuple[AnyConfig, Callable[[int, Output, str], Predictor], str]:
    """Return what a model folder or an exported file needs to run, and to be pickled.

    Returns:
        Its config, the function that starts its engine and returns a predictor, and the engine's
        name.
    """
    artifact = load_any_artifact(place, runtime, given, threads)
    name = runtime or engines_of(artifact.format)[0]
    return artifact.config, partial(start_engine, artifact, name, threads), name


def features_of(config: AnyConfig) -> int:
    """Return the number of pooled features of a model."""
    if isinstance(config, ForeignConfig):
        return config.logits
    return resolve(config.spec).linears[0].in_features


def settings_of(loaded: LoadedModel, **more: Any) -> dict[str, Any]:
    """Return what the answers of a model depend on, as plain values for JSON.

    Two runs with the same settings give the same answers for a photo. A network in memory has
    settings of its own, which no other run has.

    Args:
        loaded: the model.
        more: further settings.
    """
    place, config = loaded.place, loaded.config
    files = [place / store.CONFIG, place / store.WEIGHTS] if place.is_dir() else [place]
    made = BY_ENDING.get(place.suffix.lower())
    stem = place.name.removesuffix(made.ending) if made else place.name
    files += [place.with_name(stem + ending) for ending in (made.beside if made else ())]
    there = [sha256_of_file(file) for file in files if file.is_file()]
    return {
        "version": __version__,
        "model": there or [uuid4().hex],
        "int8 file": sha256_of_file(loaded.file) if loaded.file else None,
        "labels": sha256(json.dumps(config.labels.names).encode()).hexdigest(),
        "outputs": config.outputs,
        "preprocessing": to_mapping(config.preprocessing),
        "runtime": loaded.runtime,
        **more,
    }
