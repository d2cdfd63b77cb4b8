"""Equalised weights: the same function on the calibration pictures, and better balanced."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import graph_of, sources, tensors
from numpy.typing import NDArray

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.quantization.calibration import Observation, observe
from mobilenetv2.quantization.equalisation import MARGIN, Stream, equalise, scaled, streams
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "projection shortcuts": published("article-keras", width=0.1, size=64, classes=5),
    "small, grey": published("small", width=0.1, classes=4, input_channels=1),
    "relu": NetworkSpec(width=0.1, size=(64, 64), classes=5, numerics=Numerics(activation="relu")),
}


def pictures(spec: NetworkSpec, number: int = 6) -> NDArray:
    shape = (number, *spec.size, spec.input_channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def uneven(spec: NetworkSpec) -> Folded:
    """Random weights whose channels differ a hundredfold, some of which reach ReLU6's end."""
    folded = fold(spec, random_arrays(spec))
    random = np.random.default_rng(2)
    for name, (weight, bias) in folded.items():
        loud = np.exp(random.uniform(-3, 1.5, len(bias))).astype(np.float32)
        folded[name] = (weight * loud.reshape(-1, *[1] * (weight.ndim - 1)), bias * loud)
    return folded


def same_function(
    config: ModelConfig, seen: dict[str, Observation], changed: Folded,
    factors: dict[str, NDArray], pixels: NDArray,
) -> None:  # fmt: skip
    """Asserts that ``changed`` gives what was seen, once the factors are taken out."""
    found = observe(lower_folded(config, changed), pixels)
    back = scaled(found, {name: 1 / s for name, s in factors.items()})
    for name, one in seen.items():
        largest = max(1, np.abs([one.low, one.high]).max())
        for part in ("low", "high", "mean"):
            difference = np.abs(getattr(back[name], part) - getattr(one, part)).max()
            assert difference <= 1e-4 * largest, (name, part)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_the_function_on_the_calibration_pictures_stays(name: str, per_channel: bool) -> None:
    spec = SPECS[name]
    config, folded = ModelConfig.default(spec), uneven(spec)
    seen = observe(lower_folded(config, folded), pictures(spec))
    before = {key: (weight.copy(), bias.copy()) for key, (weight, bias) in folded.items()}
    changed, factors = equalise(lower_folded(config, folded), folded, seen, per_channel)
    same_function(config, seen, changed, factors, pictures(spec))
    moved = [key for key, s in factors.items() if not np.allclose(s, 1)]
    assert streams(graph_of(spec))[-2].writers[0] in moved  # the last projection's
    activated = [key for key in moved if tensors(spec)[key].low == 0]
    if spec.numerics.activation == "relu6":
        assert bool(activated) != per_channel
    for key, (weight, bias) in before.items():  # the arguments stay
        np.testing.assert_array_equal(weight, folded[key][0])
        np.testing.assert_array_equal(bias, folded[key][1])


ADDED = NetworkSpec(
    size=(32, 32), classes=5, head_channels=24, divisor=1,
    stages=(StageSpec(1, 16, 1, 1), StageSpec(1, 16, 1, 1, "wide"), StageSpec(6, 16, 1, 2)),
)  # fmt: skip
"""A wide block behind a linear projection: a ReLU6's output is added to a linear tensor."""


@pytest.mark.parametrize("projection", ["linear", "relu", "relu6"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_relu6_bounds_what_its_output_is_added_to(projection: Any, per_channel: bool) -> None:
    spec = ADDED.replace(projection=projection)
    config, folded = ModelConfig.default(spec), uneven(spec)
    graph = lower_folded(config, folded)
    tied = next(one for one in streams(graph) if "blocks.1.depthwise" in one.tensors)
    assert "blocks.0.project" in tied.tensors and tied.bounded
    seen = observe(graph, pictures(spec))
    changed, factors = equalise(graph, folded, seen, per_channel)
    same_function(config, seen, changed, factors, pictures(spec))


def test_channels_that_reach_six_stay_and_others_keep_the_margin() -> None:
    spec = SPECS["same, odd"]
    config, folded = ModelConfig.default(spec), uneven(spec)
    seen = observe(lower_folded(config, folded), pictures(spec))
    changed, factors = equalise(lower_folded(config, folded), folded, seen, per_channel=False)
    after = observe(lower_folded(config, changed), pictures(spec))
    saturated = grown = 0
    for name, tensor in tensors(spec).items():
        if tensor.high != 6 or name == "features":
            continue
        full = seen[name].high >= 6
        assert (factors[name][full] == 1).all()
        louder = ~full & (factors[name] < 1)
        most = 1.00001 * np.maximum(6 / MARGIN, seen[name].high[louder])
        assert (after[name].high[louder] <= most).all()
        saturated += full.sum()
        grown += louder.sum()
    assert saturated > 5 and grown > 50


def test_spans_come_closer_where_weights_have_a_scale_a_channel() -> None:
    spec = SPECS["same, odd"]
    config, folded = ModelConfig.default(spec), uneven(spec)
    seen = observe(lower_folded(config, folded), pictures(spec))
    changed, _ = equalise(lower_folded(config, folded), folded, seen)
    after = observe(lower_folded(config, changed), pictures(spec))
    for name in ("blocks.2.project", "blocks.4", "blocks.16.project"):
        spread = [
            np.log(np.maximum(one.high, -one.low)).std() for one in (seen[name], after[name])
        ]  # fmt: skip
        assert spread[1] < 0.95 * spread[0], name


def test_rows_and_columns_have_the_same_span_where_a_weight_has_one_scale() -> None:
    """As the paper has it, on a linear stream without additions."""
    spec = SPECS["same, odd"]
    config, folded = ModelConfig.default(spec), uneven(spec)
    graph = lower_folded(config, folded)
    changed, factors = equalise(graph, folded, observe(graph, pictures(spec)), per_channel=False)
    # Those before it were scaled first: a reader's rows still move after its columns.
    s = factors["blocks.16.project"]
    rows = np.abs(changed["blocks.16.project"][0]).max((1, 2, 3)) * s
    before = np.abs(folded["head"][0]).max((0, 2, 3))
    expected = np.sqrt((rows / rows.max()) / (before / before.max()))
    np.testing.assert_allclose(s, expected, rtol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_every_layer_writes_one_stream_and_reads_one(name: str) -> None:
    spec = SPECS[name]
    found = streams(graph_of(spec))
    assert all(isinstance(stream, Stream) for stream in found)
    layers = sources(spec)
    writers = [layer for stream in found for layer in stream.writers]
    assert sorted(writers) == sorted(set(layers) - {"classifier"})
    for stream in found:
        assert {layers[reader] for reader in stream.readers} <= set(stream.tensors)
    readers = [layer for stream in found for layer in stream.readers]
    assert sorted(readers) == sorted(set(layers) - {"stem"})
    held = [tensor for stream in found for tensor in stream.tensors]
    assert sorted(held) == sorted(set(tensors(spec)) - {"input", "logits"})


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_published_network_stays_the_same_on_photos(
    public_folder: Callable[[str], Path], per_channel: bool
) -> None:
    published = public_folder("published")
    config, arrays = read_checkpoint(published / "mobilenet_v2_1.0_224_quant.tflite")
    files = sorted((public_folder("clothing") / "train").rglob("*.jpg"))[::400]
    pixels = np.stack([preprocess(read_photo(file), config.preprocessing) for file in files])
    folded = fold(config.spec, arrays)
    seen = observe(lower_folded(config, folded), pixels)
    changed, factors = equalise(lower_folded(config, folded), folded, seen, per_channel)
    same_function(config, seen, changed, factors, pixels)
