"""Figures of a row."""

import json
import math

import numpy as np
import pytest

from mobilenetv2.benchmark.contestant import Contestant
from mobilenetv2.benchmark.results import Agreement, Row, Speed, agree, by_latency
from mobilenetv2.evaluate.metrics import wilson


def test_speed_is_of_batches_and_throughput_of_pictures() -> None:
    speed = Speed(32, (0.1,) * 18 + (0.5, 0.7), 2.0)
    assert speed.median == pytest.approx(0.1)
    assert speed.p95 == pytest.approx(np.percentile([0.1] * 18 + [0.5, 0.7], 95))
    assert speed.throughput == pytest.approx(32 * 20 / 3.0)
    plain = speed.to_dict(every=True)
    assert plain["median_ms"] == pytest.approx(100) and plain["first_ms"] == pytest.approx(2000)
    assert plain["runs"] == 20 and plain["runs_ms"][-1] == pytest.approx(700)
    assert "runs_ms" not in speed.to_dict(every=False)


def test_agreement_is_with_the_reference_and_accuracy_with_the_truth() -> None:
    reference = np.eye(4, dtype=np.float32)
    found = reference.copy()
    found[3] = [2.5, 0, 0, 0]
    result = agree(found, reference, np.array([0, 1, 3, 0]))
    assert (result.photos, result.same, result.right) == (4, 3, 3)
    assert result.difference == pytest.approx(2.5)
    plain = result.to_dict()
    assert plain["agreement"] == 0.75 and plain["agreement_interval"] == list(wilson(3, 4))
    assert plain["top1"] == 0.75 and plain["top1_interval"] == list(wilson(3, 4))
    assert "top1" not in agree(found, reference, None).to_dict()


def test_what_is_not_a_number_is_infinitely_far_and_null_in_json() -> None:
    found = np.eye(2, dtype=np.float32)
    found[0, 0] = math.nan
    result = agree(found, np.eye(2, dtype=np.float32), None)
    assert result.difference == math.inf
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["max_abs_difference"] is None


def test_rows_are_sorted_by_latency_and_failed_ones_are_last() -> None:
    rows = [
        Row(Contestant("a", "onnx", "float32"), speeds=[Speed(1, (0.3,), 1), Speed(8, (0.4,), 1)]),
        Row(Contestant("b", "onnx", "float32"), error="it broke"),
        Row(Contestant("c", "onnx", "float32"), speeds=[Speed(1, (0.2,), 1), Speed(8, (0.5,), 1)]),
    ]
    assert [row.contestant.runtime for row in by_latency(rows, 1)] == ["c", "a", "b"]
    assert [row.contestant.runtime for row in by_latency(rows, 8)] == ["a", "c", "b"]


def test_a_row_as_json() -> None:
    who = Contestant("litert", "litert", "int8")
    row = Row(who, 10, 0.5, 100, 200, [Speed(1, (0.1,), 0.2)], Agreement(4, 3, 0.5, 2))
    plain = row.to_dict()
    assert plain["runtime"] == "litert" and plain["bytes"] == 10 and plain["file"] is None
    assert plain["memory_after_load_bytes"] == 100 and plain["memory_bytes"] == 200
    assert plain["speed"][0]["batch"] == 1 and plain["top1"] == 0.5
    row.error = "it broke"
    assert row.to_dict() == {
        "runtime": "litert", "format": "litert", "precision": "int8", "file": None,
        "error": "it broke",
    }  # fmt: skip
