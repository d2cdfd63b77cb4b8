"""Figures of a row."""

import json
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.benchmarking.choices import Candidate
from mobilenetv2.benchmarking.results import (
    MARKERS,
    Agreement,
    Row,
    Speed,
    by_latency,
    compare_answers,
    draw,
    tabulate,
)
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.formats import RUNTIMES


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
    result = compare_answers(found, reference, np.array([0, 1, 3, 0]))
    assert (result.photos, result.same, result.right) == (4, 3, 3)
    assert result.difference == pytest.approx(2.5)
    plain = result.to_dict()
    assert plain["agreement"] == 0.75 and plain["agreement_interval"] == list(wilson(3, 4))
    assert plain["top1"] == 0.75 and plain["top1_interval"] == list(wilson(3, 4))
    assert "top1" not in compare_answers(found, reference, None).to_dict()


def test_what_is_not_a_number_is_infinitely_far_and_null_in_json() -> None:
    found = np.eye(2, dtype=np.float32)
    found[0, 0] = math.nan
    result = compare_answers(found, np.eye(2, dtype=np.float32), None)
    assert result.difference == math.inf
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["max_abs_difference"] is None


def test_rows_are_sorted_by_latency_and_failed_ones_are_last() -> None:
    rows = [
        Row(Candidate("a", "onnx", "float32"), speeds=[Speed(1, (0.3,), 1), Speed(8, (0.4,), 1)]),
        Row(Candidate("b", "onnx", "float32"), error="it broke"),
        Row(Candidate("c", "onnx", "float32"), speeds=[Speed(1, (0.2,), 1), Speed(8, (0.5,), 1)]),
    ]
    assert [row.candidate.runtime for row in by_latency(rows, 1)] == ["c", "a", "b"]
    assert [row.candidate.runtime for row in by_latency(rows, 8)] == ["a", "c", "b"]


def test_a_row_as_json() -> None:
    who = Candidate("litert", "litert", "int8")
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


drawing = pytest.mark.skipif(
    not find_spec("matplotlib"), reason="matplotlib is not installed (extra: torch)"
)


def row(runtime: str, precision: str, seconds: float, right: int | None = 85) -> Row:
    speed = Speed(1, (0.9 * seconds, seconds, 1.2 * seconds), seconds)
    agreement = Agreement(100, 99, 0.1, right)
    return Row(Candidate(runtime, "onnx", precision), speeds=[speed], agreement=agreement)


def colours(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.int64).reshape(-1, 3)
    found = np.unique(pixels @ (65536, 256, 1)).tolist()  # faster than by rows
    return {(one >> 16, one >> 8 & 255, one & 255) for one in found}


@drawing
@pytest.mark.parametrize("right", [85, None])
def test_each_precision_has_its_colour(tmp_path: Path, right: int | None) -> None:
    rows = [row("onnxruntime", "float32", 0.01, right), row("litert", "int8", 0.004, right)]
    draw(rows, 1, "costs $5 a $piece", tmp_path / "both.png")
    assert {(0x2A, 0x6F, 0xBB), (0xD9, 0x62, 0x2B)} <= colours(tmp_path / "both.png")
    draw(rows[:1], 1, "one", tmp_path / "one.png")
    assert (0xD9, 0x62, 0x2B) not in colours(tmp_path / "one.png")


@drawing
def test_failed_and_unmeasured_rows_are_left_out(tmp_path: Path) -> None:
    failed = row("litert", "int8", 0.004)
    failed.error = "it broke"
    draw([row("onnxruntime", "float32", 0.01), failed], 1, "t", tmp_path / "a.png")
    assert (0xD9, 0x62, 0x2B) not in colours(tmp_path / "a.png")
    draw([failed], 1, "none at all", tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_every_runtime_has_a_shape_of_its_own() -> None:
    assert len(set(MARKERS)) == len(MARKERS) >= len(RUNTIMES)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("path", [None, Path("some/where.tflite")])
def test_a_failed_row_is_as_long_as_a_measured_one(path: Path | None, labelled: bool) -> None:
    named = path is not None
    good = Row(
        Candidate("litert", "litert", "int8", path), 3_500_000, 0.25, 80_000_000, 90_000_000,
        [Speed(1, (0.01,), 0.05), Speed(32, (0.2,), 0.3)],
        Agreement(40, 39, 0.5, 30 if labelled else None),
    )  # fmt: skip
    failed = Row(good.candidate, error="it broke")
    columns, (one, other) = tabulate([good, failed], (1, 32))
    assert len(columns) == len(one) == len(other) == 2 + 2 + 2 + 2 + 2 * labelled + 3 + named
    assert other[2] == "failed" and (other[-1] == "where.tflite") == named
