"""The map out of files that were written without it: float, int8, and what is none of ours."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_forms import tensors
from heads import HEADS, with_head
from numpy.typing import NDArray
from onnx import helper

from mobilenetv2.checkpoints.graphs.onnx.reader import with_map
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.scheme import Range, Scheme
from mobilenetv2.runtime.engines.onnxruntime import session_options
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG, ARRAYS = ModelConfig.default(SPEC), random_arrays(SPEC)
PICTURES = np.random.default_rng(0).uniform(-1, 1, (3, 3, *SPEC.size)).astype(np.float32)


def run(data: bytes, outputs: list[str]) -> list[NDArray]:
    session = onnxruntime.InferenceSession(
        data, session_options(), providers=["CPUExecutionProvider"]
    )
    found: list[NDArray] = session.run(outputs, {"input": PICTURES})
    return found


def scheme() -> Scheme:
    folded, names = fold(SPEC, ARRAYS), [name for name in tensors(SPEC) if name != "input"]
    seen = run(write_onnx(lower_folded(CONFIG, folded).with_intermediates()), names)
    ranges = {
        name: Range(float(y.min()), float(y.max())) for name, y in zip(names, seen, strict=True)
    }
    return Scheme(CONFIG, folded, {"input": Range(-1.0, 1.0), **ranges})


def test_a_float_file_gives_the_map_that_one_written_with_it_gives() -> None:
    data, arrays = with_map(write_onnx(lower(CONFIG, ARRAYS)), SPEC)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    logits, map_ = run(data, ["logits", "map"])
    wanted = run(
        write_onnx(lower(CONFIG, ARRAYS).with_outputs("features", "map")),
        ["logits", "map", "features"],
    )
    np.testing.assert_array_equal(logits, wanted[0])
    np.testing.assert_array_equal(map_, wanted[1])
    np.testing.assert_allclose(map_.mean((2, 3)), wanted[2], atol=1e-5)
    assert arrays.keys() == {"classifier.weight", "classifier.bias"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name], strict=True)
    assert map_.std() > 0.05


@pytest.mark.parametrize("head", HEADS)
def test_the_arrays_are_those_of_every_layer_behind_the_map(head: str) -> None:
    config = ModelConfig.default(spec := with_head(head, 32))
    expected = {name: array for name, array in random_arrays(spec).items() if is_classifier(name)}
    _, arrays = with_map(write_onnx(lower(config, random_arrays(spec))), spec)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name])


def test_an_int8_file_gives_what_its_integers_stand_for() -> None:
    given = scheme()
    data, arrays = with_map(write_onnx(given.quantised()), SPEC)
    logits, map_ = run(data, ["logits", "map"])
    np.testing.assert_array_equal(logits, run(write_onnx(given.quantised()), ["logits"])[0])
    np.testing.assert_array_equal(
        map_, run(write_onnx(given.quantised().with_outputs("map")), ["map"])[0]
    )
    step = np.float32(given.ranges["head"].scale)
    levels = map_ / step
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    scales = given.weight_scales("classifier")[:, None]
    weight = given.integers("classifier") * scales
    np.testing.assert_allclose(arrays["classifier.weight"], weight, rtol=1e-6)
    (real,) = run(write_onnx(lower(CONFIG, ARRAYS).with_outputs("map")), ["map"])
    assert np.abs(map_ - real).mean() < 0.1 * real.std()


def test_a_file_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(WeightsError, match="not an ONNX file"):
        with_map(b"\x08\x07damaged", SPEC)
    model: Any = onnx.load_from_string(write_onnx(lower(CONFIG, ARRAYS)))
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    again = helper.make_node("GlobalAveragePool", list(pool.input), ["again"])
    model.graph.node.append(again)
    with pytest.raises(DialectError, match="2 operators GlobalAveragePool"):
        with_map(model.SerializeToString(), SPEC)
    del model.graph.node[-1]
    model.graph.node.remove(pool)
    with pytest.raises(DialectError, match="0 operators GlobalAveragePool"):
        with_map(model.SerializeToString(), SPEC)
