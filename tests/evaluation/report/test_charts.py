import dataclasses
import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.evaluation.calibration import measure_calibration
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    calibration_verdict,
    reliability_diagram,
    svg,
    ticks,
    training_curves,
)
from mobilenetv2.text import percent


def numbered(logits: NDArray, labels: NDArray) -> Predictions:
    return Predictions(logits, labels, tuple(map(str, range(logits.shape[1]))))


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


def rows(count: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(epoch), "learning_rate": 0.1 / epoch, "train_loss": 2 / epoch,
            "train_top1": 1 - 0.5 / epoch, "selection_loss": 2.2 / epoch,
            "selection_top1": 1 - 0.6 / min(epoch, 5),
        }
        for epoch in range(1, count + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 8, 300])
def test_every_value_is_there_and_inside_the_chart(count: int, parse: Callable[[str], Any]) -> None:
    page = parse(training_curves(rows(count)))
    dots = page.of("circle")
    assert len(dots) == 5 * count
    for dot in dots:
        assert 0 <= float(dot["cx"]) <= WIDTH and 0 <= float(dot["cy"]) <= HEIGHT
    assert f"epoch {count}: training {1 - 0.5 / count:.1%}" in page.text("title")
    assert f"epoch {count}: {0.1 / count:.2g}" in page.text("title")
    assert page.text("title").count("was kept") == 3


@pytest.mark.parametrize(
    ("count", "marked"),
    [(1, "1"), (2, "1 2"), (3, "1 2 3"), (8, "2 4 6 8"), (300, "50 100 150 200 250 300")],
)
def test_only_whole_epochs_are_marked(count: int, marked: str, parse: Callable[[str], Any]) -> None:
    page = parse(training_curves(rows(count)))
    placed = [attributes for tag, attributes in page.elements if tag == "text"]
    texts = [text for tag, text in page.texts if tag == "text"]
    below = [t for t, a in zip(texts, placed, strict=True) if a["text-anchor"] == "middle"]
    assert below == 3 * marked.split()


def test_a_higher_value_is_drawn_higher(parse: Callable[[str], Any]) -> None:
    heights = [float(dot["cy"]) for dot in parse(training_curves(rows(6))).of("circle", "train")]
    top1, loss = heights[:6], heights[6:]
    assert top1 == sorted(top1, reverse=True) and loss == sorted(loss)


def test_a_loss_that_is_no_number_leaves_a_gap(parse: Callable[[str], Any]) -> None:
    made = rows(5)
    made[2]["train_loss"] = float("nan")
    page = parse(training_curves(made))
    assert len(page.of("circle")) == 5 * 5 - 1
    assert not re.search("nan|inf", " ".join(path["d"] for path in page.of("path")))


def test_the_best_epoch_is_the_one_that_is_marked(parse: Callable[[str], Any]) -> None:
    made = rows(9)
    made[4]["selection_loss"] = 0.1
    assert parse(training_curves(made)).text("title").count("epoch 5 was kept") == 3


def drawn(photos: int) -> Any:
    random = np.random.default_rng(photos)
    return measure_calibration(
        numbered(random.normal(0, 2, (photos, 4)), random.integers(0, 4, photos))
    )


@pytest.mark.parametrize("photos", [1, 5, 400])
def test_every_bin_with_photos_has_a_dot_a_whisker_a_count_and_words(
    photos: int, parse: Callable[[str], Any]
) -> None:
    made = drawn(photos)
    page = parse(reliability_diagram("As it is", made))
    full = [row for row in made.bins if row.count]
    for tag, class_ in (("circle", "dot"), ("line", "whisker"), ("rect", "count")):
        assert len(page.of(tag, class_)) == len(full)
    said = page.text("title")
    for row in full:
        noun = "photo" if row.count == 1 else "photos"
        assert f"{row.count} {noun} with a confidence of {row.low:.0%} to {row.high:.0%}" in said
    assert f"error {made.error:.1%}" in page.text()
    for dot, whisker, gap in zip(
        page.of("circle"), page.of("line", "whisker"), page.of("line", "gap"), strict=True
    ):
        assert float(whisker["y2"]) - 0.01 <= float(dot["cy"]) <= float(whisker["y1"]) + 0.01
        assert gap["y2"] == dot["cy"]


def test_a_dot_of_a_calibrated_bin_lies_on_the_diagonal(parse: Callable[[str], Any]) -> None:
    logits = np.log(np.tile([0.75, 0.25], (4, 1)))
    page = parse(
        reliability_diagram("x", measure_calibration(numbered(logits, np.array([0, 0, 0, 1]))))
    )
    (gap,) = page.of("line", "gap")
    assert gap["y1"] == gap["y2"]


def test_the_words_say_in_which_direction_it_errs() -> None:
    made = dataclasses.replace(drawn(10), confidence=0.839, accuracy=0.921)
    assert calibration_verdict(made) == (
        "The mean confidence is 83.9%, the accuracy 92.1%: the model is underconfident by 8.2 "
        "points."
    )
    assert "overconfident" in calibration_verdict(dataclasses.replace(made, confidence=0.99))
    assert "well calibrated" in calibration_verdict(dataclasses.replace(made, confidence=0.925))
    assert "there is no calibration" in calibration_verdict(
        dataclasses.replace(made, confidence=math.nan)
    )


def test_a_network_without_numbers_has_an_empty_diagram(parse: Callable[[str], Any]) -> None:
    made = measure_calibration(numbered(np.full((4, 3), np.nan), np.zeros(4, int)))
    page = parse(reliability_diagram("x", made))
    assert page.of("circle") == [] and "error -" in page.text()
    assert percent(math.nan) == "-" and percent(0.0228) == "2.3%"
