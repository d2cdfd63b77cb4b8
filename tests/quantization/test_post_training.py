"""The whole of post-training quantisation, on tiny networks and on a published one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from graph_forms import tensors
from numpy.typing import NDArray

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.errors import DataError, SpecError, WeightsError
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.calibration import METHODS
from mobilenetv2.quantization.post_training import NAIVE, Settings, input_range, quantise
from mobilenetv2.runtime.engines import onnxruntime
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.predictor import EnginePredictor
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Preprocessing

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "small, grey": published("small", width=0.1, classes=4, input_channels=1),
}


def pictures(spec: NetworkSpec, number: int = 8, seed: int = 0) -> NDArray:
    shape = (number, *spec.size, spec.input_channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def logits(graph: bytes, config: ModelConfig, pixels: NDArray) -> NDArray:
    engine = onnxruntime.create_engine(Artifact(config, "onnx", graph, "test"))
    answer = EnginePredictor(engine, config.preprocessing)
    return np.concatenate([answer(pixels[i : i + 10]) for i in range(0, len(pixels), 10)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SPECS)
def test_other_pictures_get_nearly_the_same_logits(name: str, method: str) -> None:
    spec = SPECS[name]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    scheme = quantise(config, arrays, pictures(spec), Settings(method))  # type: ignore[arg-type]
    assert list(scheme.ranges) == list(tensors(spec))
    assert method in scheme.method and "8 pictures" in scheme.method
    for tensor in tensors(spec).values():
        found = scheme.ranges[tensor.name]
        assert tensor.low <= found.low <= 0 <= found.high <= tensor.high
    judged = pictures(spec, seed=1)
    expected = logits(write_onnx(lower_folded(config, fold(spec, arrays))), config, judged)
    found_logits = logits(write_onnx(scheme.quantised()), config, judged)
    noise = ((found_logits - expected) ** 2).sum() / (expected**2).sum()
    assert noise < (0.05 if method == "entropy" else 0.01)


def test_settings_do_what_they_say() -> None:
    spec = SPECS["same, odd"]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    folded = fold(spec, arrays)
    naive = quantise(config, arrays, pictures(spec), NAIVE)
    assert not naive.per_channel
    for name, pair in naive.folded.items():
        np.testing.assert_array_equal(pair[0], folded[name][0])
        np.testing.assert_array_equal(pair[1], folded[name][1])
    equalised = quantise(
        config, arrays, pictures(spec), dataclasses.replace(NAIVE, equalise=True)
    ).folded
    assert not np.array_equal(equalised["blocks.1.project"][0], folded["blocks.1.project"][0])
    corrected = quantise(
        config, arrays, pictures(spec), dataclasses.replace(NAIVE, correct_biases=True)
    ).folded
    np.testing.assert_array_equal(corrected["stem"][0], folded["stem"][0])
    assert not np.array_equal(corrected["stem"][1], folded["stem"][1])
    seven = quantise(config, arrays, pictures(spec), Settings(weight_bits=7))
    assert np.abs(seven.integers("stem")).max() == 63 and "7-bit" in seven.method


def test_the_range_of_pictures_is_what_they_can_hold() -> None:
    record = Preprocessing(size=(8, 8), resize=(8, 8), mean=(100.0, 0.0, 50.0), std=(50.0, 60.0, 1))
    found = input_range(record)
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, 3)
    values = engine_input(pixels, record)
    assert (found.low, found.high) == (values.min(), values.max()) == (-50.0, 205.0)


def test_what_cannot_be_is_refused() -> None:
    spec = SPECS["small, grey"]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    with pytest.raises(SpecError, match="'median' is unknown"):
        Settings("median")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="weight_bits 4 must be 7 or 8"):
        Settings(weight_bits=4)
    with pytest.raises(DataError, match="at least one image"):
        quantise(config, arrays, pictures(spec, 0))
    with pytest.raises(WeightsError, match="do not fit"):
        quantise(config, random_arrays(spec.replace(classes=9)), pictures(spec))


@pytest.fixture(scope="module")
def imagenet(public_folder: Callable[[str], Path]) -> tuple[ModelConfig, Arrays, NDArray, NDArray]:
    """Google's network, photos of clothes to calibrate on, ImageNet's to judge on."""
    file = public_folder("published") / "mobilenet_v2_1.0_224_quant.tflite"
    config, arrays = read_checkpoint(file)

    def pixels(files: list[Path]) -> NDArray:
        return np.stack([preprocess(read_photo(file), config.preprocessing) for file in files])

    clothes = pixels(sorted((public_folder("clothing") / "train").rglob("*.jpg"))[::48])
    judged = pixels(sorted(public_folder("imagenet-samples").rglob("*.JPEG")))
    return config, arrays, clothes, judged


@pytest.mark.slow
def test_a_published_network_agrees_with_its_float_self_and_naively_does_not(
    imagenet: tuple[ModelConfig, Arrays, NDArray, NDArray],
) -> None:
    config, arrays, clothes, judged = imagenet
    assert len(judged) == 100
    expected = logits(
        write_onnx(lower_folded(config, fold(config.spec, arrays))), config, judged
    ).argmax(1)

    def agreement(settings: Settings) -> int:
        graph = write_onnx(quantise(config, arrays, clothes, settings).quantised())
        return int((logits(graph, config, judged).argmax(1) == expected).sum())

    assert agreement(Settings()) >= 95
    assert agreement(Settings(equalise=False, correct_biases=False)) >= 90
    assert agreement(NAIVE) < 90
