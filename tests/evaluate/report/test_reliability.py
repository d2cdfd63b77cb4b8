import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mobilenetv2.evaluate.calibration import calibration
from mobilenetv2.evaluate.report.reliability import diagram, share, words


def drawn(photos: int) -> Any:
    random = np.random.default_rng(photos)
    return calibration(random.normal(0, 2, (photos, 4)), random.integers(0, 4, photos))


@pytest.mark.parametrize("photos", [1, 5, 400])
def test_every_bin_with_photos_has_a_dot_a_whisker_a_count_and_words(
    photos: int, parse: Callable[[str], Any]
) -> None:
    made = drawn(photos)
    page = parse(diagram("As it is", made))
    full = [row for row in made.bins if row.photos]
    for tag, class_ in (("circle", "dot"), ("line", "whisker"), ("rect", "count")):
        assert len(page.of(tag, class_)) == len(full)
    said = page.text("title")
    for row in full:
        noun = "photo" if row.photos == 1 else "photos"
        assert f"{row.photos} {noun} answered with {row.low:.0%} to {row.high:.0%}" in said
    assert f"error {made.error:.1%}" in page.text()
    for dot, whisker, gap in zip(
        page.of("circle"), page.of("line", "whisker"), page.of("line", "gap"), strict=True
    ):
        assert float(whisker["y2"]) - 0.01 <= float(dot["cy"]) <= float(whisker["y1"]) + 0.01
        assert gap["y2"] == dot["cy"]


def test_a_dot_of_a_calibrated_bin_lies_on_the_diagonal(parse: Callable[[str], Any]) -> None:
    logits = np.log(np.tile([0.75, 0.25], (4, 1)))
    page = parse(diagram("x", calibration(logits, np.array([0, 0, 0, 1]))))
    (gap,) = page.of("line", "gap")
    assert gap["y1"] == gap["y2"]


def test_the_words_say_in_which_direction_it_errs() -> None:
    made = dataclasses.replace(drawn(10), confidence=0.839, accuracy=0.921)
    assert words(made) == ("On average it says 83.9% and is right on 92.1%: 8.2 points too modest.")
    assert "too sure of itself" in words(dataclasses.replace(made, confidence=0.99))
    assert "well matched" in words(dataclasses.replace(made, confidence=0.925))
    assert "nothing can be said" in words(dataclasses.replace(made, confidence=math.nan))


def test_a_network_without_numbers_has_an_empty_diagram(parse: Callable[[str], Any]) -> None:
    made = calibration(np.full((4, 3), np.nan), np.zeros(4, int))
    page = parse(diagram("x", made))
    assert page.of("circle") == [] and "error -" in page.text()
    assert share(math.nan) == "-" and share(0.0228) == "2.3%"
