"""The network that ``explain`` looks into: on an engine, or in the PyTorch edition."""

from pathlib import Path

from numpy.typing import NDArray

from mobilenetv2.cli.predictor import TORCH
from mobilenetv2.errors import ArtifactError, SpecError, require
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import FeatureMap, load_feature_map
from mobilenetv2.spec.names import intermediate_names


def load_network(model: Path, runtime: str | None, threads: int | None) -> FeatureMap:
    """The network on an engine; in PyTorch, where no engine has it.

    Raises:
        WeightsError, ArtifactError, SpecError: it cannot be read or run, or not be explained.
        MissingExtra: what computes is not installed.
    """
    if threads is not None and threads < 1:
        raise ArtifactError(f"--threads {threads} must be at least 1")
    if runtime == TORCH:
        return in_torch(model, threads)
    try:
        return load_feature_map(model, runtime, threads)
    except SpecError as error:
        if runtime is not None:
            raise
        say(f"{error}; this one runs in PyTorch")
        return in_torch(model, threads)


def in_torch(model: Path, threads: int | None) -> FeatureMap:
    """The same in the PyTorch edition, which has every network."""
    from mobilenetv2.model import store

    if model.is_file():
        raise ArtifactError(
            f"{model}: an exported file, which --runtime torch does not run; give the model folder"
        )
    config, arrays = store.load(model)
    prepare_process()
    torch = require("torch")
    if threads is not None:
        torch.set_num_threads(threads)
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.images.normalise import normalise

    network = edition.MobileNetV2(config)
    edition.load(network, arrays, str(model))
    names = intermediate_names(config.spec)
    last, logits = names[names.index("features") - 1], names[-1]

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        found = edition.intermediates(network, normalise(pictures, config.preprocessing))
        return found[logits], found[last]

    return FeatureMap(config, arrays, answer, lambda pictures: answer(pictures)[1])
