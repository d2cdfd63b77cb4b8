"""The picture is drawn of what there is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.benchmark.contestant import Contestant
from mobilenetv2.benchmark.picture import MARKERS, draw
from mobilenetv2.benchmark.results import Agreement, Row, Speed
from mobilenetv2.formats import RUNTIMES

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")


def row(runtime: str, precision: str, seconds: float, right: int | None = 85) -> Row:
    speed = Speed(1, (0.9 * seconds, seconds, 1.2 * seconds), seconds)
    agreement = Agreement(100, 99, 0.1, right)
    return Row(Contestant(runtime, "onnx", precision), speeds=[speed], agreement=agreement)


def colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}


@pytest.mark.parametrize("right", [85, None])
def test_each_precision_has_its_colour(tmp_path: Path, right: int | None) -> None:
    rows = [row("onnxruntime", "float32", 0.01, right), row("litert", "int8", 0.004, right)]
    draw(rows, 1, "costs $5 a $piece", tmp_path / "both.png")
    assert {(0x2A, 0x6F, 0xBB), (0xD9, 0x62, 0x2B)} <= colours(tmp_path / "both.png")
    draw(rows[:1], 1, "one", tmp_path / "one.png")
    assert (0xD9, 0x62, 0x2B) not in colours(tmp_path / "one.png")


def test_failed_and_unmeasured_rows_are_left_out(tmp_path: Path) -> None:
    failed = row("litert", "int8", 0.004)
    failed.error = "it broke"
    draw([row("onnxruntime", "float32", 0.01), failed], 1, "t", tmp_path / "a.png")
    assert (0xD9, 0x62, 0x2B) not in colours(tmp_path / "a.png")
    draw([failed], 1, "none at all", tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_every_runtime_has_a_shape_of_its_own() -> None:
    assert len(set(MARKERS)) == len(MARKERS) >= len(RUNTIMES)
