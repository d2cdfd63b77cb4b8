"""PyTorch as a runtime of model folders, on any of its devices."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import require_answers, require_finite
from mobilenetv2.process import prepare_process
from mobilenetv2.runtime.lasting import LastingPredictor, Predictor, usable_threads
from mobilenetv2.runtime.predictor import FeatureMap, require_threads
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.records import ModelConfig

Output: TypeAlias = Literal["logits", "features"]

if TYPE_CHECKING:
    from mobilenetv2.editions.torch import MobileNetV2


def load_predictor(
    model: Path,
    outputs: Output = "logits",
    device: str = "cpu",
    threads: int | None = None,
) -> tuple[ModelConfig, Predictor]:
    """Return the config of a model folder, and its predictor.

    Raises:
        WeightsError, SpecError: the model folder cannot be read, or lacks the output.
        ArtifactError: the model is an exported file, or the number of threads is impossible.
        MobileNetV2Error: PyTorch cannot use the device on this machine.
        MissingExtra: PyTorch is not installed.
    """
    require_threads(threads)
    config, arrays = _read(model, outputs)
    start = partial(_start, config, arrays, str(model), outputs, device, threads)
    return config, LastingPredictor(start)


def _start(
    config: ModelConfig,
    arrays: Arrays,
    where: str,
    outputs: Output,
    device: str,
    threads: int | None,
) -> Predictor:
    network = _network(config, arrays, where, threads)
    from mobilenetv2.editions.torch.network import check_device, predictor

    predict = predictor(network, check_device(device), outputs)
    return lambda pictures: require_finite(predict(pictures), where)


def load_feature_map(model: Path, threads: int | None = None) -> FeatureMap:
    """Return the network of a model folder with its last feature map.

    Raises:
        WeightsError, SpecError: the model folder cannot be read.
        ArtifactError: the model is an exported file, or the number of threads is impossible.
        MissingExtra: PyTorch is not installed.
    """
    require_threads(threads)
    config, arrays = _read(model, "logits")
    network = _network(config, arrays, str(model), threads)
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.images.preprocess import normalise

    names = intermediate_names(config.spec)
    last, logits = names[names.index("features") - 1], names[-1]

    def answer(pictures: NDArray) -> tuple[NDArray, NDArray]:
        found = edition.intermediates(network, normalise(pictures, config.preprocessing))
        return (
            require_finite(found[logits], str(model)), require_finite(found[last], str(model))
        )  # fmt: skip

    return FeatureMap(config, arrays, answer, lambda pictures: answer(pictures)[1])


def _read(model: Path, outputs: Output) -> tuple[ModelConfig, Arrays]:
    """Return the config and the arrays of a model folder, which has the outputs."""
    if model.is_file():
        raise ArtifactError(
            f"{model}: this exported file runs neither with runtime torch nor on other devices "
            "than the cpu; use its model folder"
        )
    config, arrays = store.load(model)
    if outputs == "logits":
        require_answers(config, str(model))
    return config, arrays


def _network(config: ModelConfig, arrays: Arrays, where: str, threads: int | None) -> "MobileNetV2":
    """Return a model folder's network in the PyTorch edition."""
    prepare_process()
    torch = require("torch")
    threads = usable_threads(threads, forks=False)
    if threads is not None:
        torch.set_num_threads(threads)
    from mobilenetv2.editions import torch as edition

    network = edition.MobileNetV2(config)
    edition.load(network, arrays, where)
    return network
