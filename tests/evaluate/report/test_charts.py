from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.evaluate.report.charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Frame, svg, ticks


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e9), st.integers(3, 9))
def test_ticks_are_few_evenly_apart_and_within(start: float, length: float, most: int) -> None:
    low, high = start * length, (start + 1) * length
    found = ticks(low, high, most)
    assert len(found) <= most
    slack = 1e-6 * length
    assert all(low - slack <= value <= high + slack for value in found)
    gaps = [b - a for a, b in pairwise(found)]
    assert all(gap == pytest.approx(gaps[0], rel=1e-3) for gap in gaps)


def test_ticks_are_round() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(1, 8) == [2, 4, 6, 8]
    assert ticks(0.73, 0.96) == pytest.approx([0.75, 0.8, 0.85, 0.9, 0.95])
    assert ticks(0, 100, 3) == [0, 50, 100]
    assert ticks(1, 3, whole=True) == [1, 2, 3]
    assert ticks(0.5, 1.5, whole=True) == [1] and ticks(1, 300, whole=True)[:2] == [50, 100]
    for low, high in ((1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)):
        with pytest.raises(ValueError, match="no range"):
            ticks(low, high)


def test_the_corners_of_a_frame_are_its_ranges() -> None:
    frame = Frame((10, 20), (-1, 1))
    assert (frame.across(10), frame.across(20)) == (LEFT, WIDTH - RIGHT)
    assert (frame.up(1), frame.up(-1)) == (TOP, HEIGHT - frame.bottom)
    assert frame.up(0) == pytest.approx((TOP + HEIGHT - frame.bottom) / 2)


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    frame = Frame((0, 3), (0, 1))
    path = frame.line([(0, 0), (1, 1), (2, float("nan")), (3, 0.5)], "x")
    assert path.count("M") == 2 and path.count("L") == 1


def test_a_chart_says_what_it_shows(parse: Callable[[str], Any]) -> None:
    page = parse(svg("loss <by> epoch", Frame((0, 1), (0, 1)).axes(".0%", "g", "what")))
    assert page.of("svg")[0]["aria-label"] == "loss <by> epoch"
    assert "100%" in page.text("text") and "what" in page.text("text")
