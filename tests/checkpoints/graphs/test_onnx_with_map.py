"""The map out of files that were written without it: float, int8, and what is none of ours."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_forms import tensors
from numpy.typing import NDArray
from onnx import helper

from mobilenetv2.checkpoints.graphs.onnx import with_map
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantize.scheme import Range, Scheme
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG, ARRAYS = ModelConfig.default(SPEC), random_arrays(SPEC)
PICTURES = np.random.default_rng(0).uniform(-1, 1, (3, 3, *SPEC.size)).astype(np.float32)


def run(data: bytes, outputs: list[str]) -> list[NDArray]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
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
    data, weight = with_map(write_onnx(lower(CONFIG, ARRAYS)), SPEC.size)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    logits, map_ = run(data, ["logits", "map"])
    wanted = run(
        write_onnx(lower(CONFIG, ARRAYS).with_outputs("features", "map")),
        ["logits", "map", "features"],
    )
    np.testing.assert_array_equal(logits, wanted[0])
    np.testing.assert_array_equal(map_, wanted[1])
    np.testing.assert_allclose(map_.mean((2, 3)), wanted[2], atol=1e-5)
    np.testing.assert_array_equal(weight, ARRAYS["classifier.weight"])
    assert weight.dtype == np.float32 and map_.std() > 0.05


def test_an_int8_file_gives_what_its_integers_stand_for() -> None:
    given = scheme()
    data, weight = with_map(write_onnx(given.quantised()), SPEC.size)
    logits, map_ = run(data, ["logits", "map"])
    np.testing.assert_array_equal(logits, run(write_onnx(given.quantised()), ["logits"])[0])
    np.testing.assert_array_equal(
        map_, run(write_onnx(given.quantised().with_outputs("map")), ["map"])[0]
    )
    step = np.float32(given.ranges["head"].scale)
    levels = map_ / step
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    scales = given.weight_scales("classifier")[:, None]
    np.testing.assert_allclose(weight, given.integers("classifier") * scales, rtol=1e-6)
    (real,) = run(write_onnx(lower(CONFIG, ARRAYS).with_outputs("map")), ["map"])
    assert np.abs(map_ - real).mean() < 0.1 * real.std()


def test_a_file_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(WeightsError, match="not an ONNX file"):
        with_map(b"\x08\x07damaged", SPEC.size)
    model: Any = onnx.load_from_string(write_onnx(lower(CONFIG, ARRAYS)))
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    again = helper.make_node("GlobalAveragePool", list(pool.input), ["again"])
    model.graph.node.append(again)
    with pytest.raises(DialectError, match="2 operators GlobalAveragePool"):
        with_map(model.SerializeToString(), SPEC.size)
    del model.graph.node[-1]
    model.graph.node.remove(pool)
    with pytest.raises(DialectError, match="0 operators GlobalAveragePool"):
        with_map(model.SerializeToString(), SPEC.size)
