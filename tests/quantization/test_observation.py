"""What is observed, against the plain network's intermediates on the same pictures."""

import numpy as np
import pytest
from graph_forms import tensors
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DataError
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization import calibration
from mobilenetv2.quantization.calibration import count, observe, run_graph
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPECS = {
    "same, odd": NetworkSpec(width=0.1, size=(65, 48), classes=5, numerics=Numerics("same", 1e-3)),
    "projection shortcuts": published("article-keras", width=0.1, size=64, classes=5),
    "small, grey": published("small", width=0.1, classes=4, input_channels=1),
}


def pictures(spec: NetworkSpec, number: int = 7) -> NDArray:
    shape = (number, *spec.size, spec.input_channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def reference(spec: NetworkSpec, config: ModelConfig) -> dict[str, NDArray]:
    """float64 (pictures, channels, ...) of every tensor."""
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    x = engine_input(pictures(spec), config.preprocessing)
    return {"input": x, **network.intermediates(x)}


@pytest.mark.parametrize("name", SPECS)
def test_extremes_and_means_are_the_plain_networks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPECS[name]
    config = ModelConfig.default(spec)
    each = sum(tensor.channels * tensor.pixels for tensor in tensors(spec).values())
    monkeypatch.setattr(calibration, "VALUES", 3 * each)  # batches of 3, 3 and 1
    graph = lower_folded(config, fold(spec, random_arrays(spec)))
    assert [len(found["input"]) for found in run_graph(graph, pictures(spec))] == [3, 3, 1]
    found = observe(graph, pictures(spec))
    expected = reference(spec, config)
    assert list(found) == list(tensors(spec))
    compared = 0
    for tensor, seen in found.items():
        if tensor not in expected:
            continue
        values = expected[tensor].reshape(*expected[tensor].shape[:2], -1)
        near = {"atol": 1e-4 * max(1, np.abs(values).max()), "rtol": 0}
        np.testing.assert_allclose(seen.low, values.min((0, 2)), **near)
        np.testing.assert_allclose(seen.high, values.max((0, 2)), **near)
        np.testing.assert_allclose(seen.mean, values.mean((0, 2)), **near)
        compared += 1
    assert compared >= len(found) - 1


def test_histograms_count_every_value_near_its_centre() -> None:
    spec = SPECS["same, odd"]
    config, folded = ModelConfig.default(spec), fold(spec, random_arrays(spec))
    found = count(
        lower_folded(config, folded),
        pictures(spec),
        observe(lower_folded(config, folded), pictures(spec)),
    )
    for name, values in reference(spec, config).items():
        if name not in found:
            continue
        histogram = found[name]
        assert histogram.counts.sum() == values.size
        assert histogram.low <= 0 <= histogram.high
        width = (histogram.high - histogram.low) / (len(histogram.counts) - 1)
        # In order, values and centres are as far apart as half a bin and rounding.
        ordered = np.repeat(histogram.centres, histogram.counts)
        assert np.abs(np.sort(values.ravel()) - ordered).max() < 0.51 * width + 1e-5
    # Exact zeros of ReLU6 are exact here too.
    stem = found["stem"]
    zeros = int((reference(spec, config)["stem"] == 0).sum())
    assert stem.centres[0] == 0 and abs(int(stem.counts[0]) - zeros) <= 0.01 * zeros + 5


def test_a_list_of_pictures_is_as_good_as_an_array() -> None:
    spec = SPECS["small, grey"]
    config, folded = ModelConfig.default(spec), fold(spec, random_arrays(spec))
    one = observe(lower_folded(config, folded), pictures(spec))
    two = observe(lower_folded(config, folded), list(pictures(spec)))
    np.testing.assert_array_equal(one["logits"].mean, two["logits"].mean)


def test_no_picture_is_an_error() -> None:
    spec = SPECS["small, grey"]
    with pytest.raises(DataError, match="at least one image"):
        observe(
            lower_folded(ModelConfig.default(spec), fold(spec, random_arrays(spec))),
            pictures(spec, 0),
        )
