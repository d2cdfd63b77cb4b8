"""The table: every row has as many cells as there are columns."""

from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.benchmark.candidate import Candidate
from mobilenetv2.benchmark.results import Agreement, Row, Speed
from mobilenetv2.cli.benchmark_table import cells, show

FACTS: dict[str, Any] = {
    "model": "shoes", "photos_from": "40 photos of data (test)", "threads": 2,
    "reference": "the model in float32 in ONNX Runtime", "calibrated_on": "200 photos of more",
    "machine": {
        "processor": "X", "flags": ["avx2"], "cores_usable": 2, "python": "3.11.7",
    },
}  # fmt: skip


def measured(path: Path | None = None, right: int | None = 30) -> Row:
    return Row(
        Candidate("litert", "litert", "int8", path), 3_500_000, 0.25, 80_000_000, 90_000_000,
        [Speed(1, (0.01, 0.01, 0.02), 0.05), Speed(32, (0.2, 0.2), 0.3)],
        Agreement(40, 39, 0.5, right),
    )  # fmt: skip


def test_a_measured_row(capsys: pytest.CaptureFixture[str]) -> None:
    show([measured()], FACTS, (1, 32))
    shown = capsys.readouterr().out
    for figure in (
        "10.00", "75.0", "160.0", "97.5%", "5.0e-01", "75.0%", "3.5 MB", "90 MB", "0.25 s",
        "59.8% - 85.8%", "40 photos of data (test), 2 threads", "X (avx2), 2 cores",
        "int8: calibrated on 200 photos of more",
    ):  # fmt: skip
        assert figure in shown, figure
    assert "file" not in shown


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("path", [None, Path("some/where.tflite")])
def test_a_failed_row_is_as_long_as_a_measured_one(path: Path | None, labelled: bool) -> None:
    named = path is not None
    good = measured(path, 30 if labelled else None)
    failed = Row(good.candidate, error="it broke")
    one, other = (cells(row, (1, 32), labelled, named) for row in (good, failed))
    assert len(one) == len(other) == 2 + 2 + 2 + 2 + 2 * labelled + 3 + named
    assert other[2] == "failed" and (other[-1] == "where.tflite") == named
