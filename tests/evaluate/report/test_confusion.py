from collections.abc import Callable
from typing import Any

import numpy as np

from mobilenetv2.evaluate.report.confusion import MOST, confusion, pairs

MATRIX = np.array([[8, 2, 0, 0], [1, 5, 0, 0], [0, 4, 6, 0], [0, 0, 0, 0]])
NAMES = ("a", "b & c", "d", "unmet")


def test_the_matrix_has_the_counts_of_the_classes_that_were_met(
    parse: Callable[[str], Any],
) -> None:
    page = parse(confusion(MATRIX, NAMES))
    said = [cell["title"] for cell in page.of("td") if "title" in cell]
    assert said == [
        "a, answered a: 8 of 10 (80%)", "a, answered b & c: 2 of 10 (20%)",
        "b & c, answered a: 1 of 6 (17%)", "b & c, answered b & c: 5 of 6 (83%)",
        "d, answered b & c: 4 of 10 (40%)", "d, answered d: 6 of 10 (60%)",
    ]  # fmt: skip
    assert len(page.of("td", "right")) == 3 and len(page.of("td", "wrong")) == 3
    assert len(page.of("td")) == 1 + 9 and "unmet" not in page.text()


def test_a_class_that_was_only_answered_has_a_column(parse: Callable[[str], Any]) -> None:
    page = parse(confusion(np.array([[1, 1], [0, 0]]), ("x", "y")))
    assert page.text("b") == "xy" and len(page.of("td")) == 1 + 4


def test_confusions_come_by_how_often() -> None:
    assert pairs(MATRIX, 10) == [(2, 1, 4, 10), (0, 1, 2, 10), (1, 0, 1, 6)]
    assert pairs(MATRIX, 1) == [(2, 1, 4, 10)]
    assert pairs(np.diag([3, 4]), 5) == []


def test_of_many_classes_only_the_list_is_shown(parse: Callable[[str], Any]) -> None:
    count = MOST + 1
    matrix = np.eye(count, dtype=int) * 3
    matrix[1, 0] = 2
    page = parse(confusion(matrix, [f"c{i}" for i in range(count)]))
    assert page.of("table") == [] and "A matrix of 41 classes" in page.text()
    assert "c1" in page.text("b") and "2 of 5" in page.text("span")
