import math
from collections.abc import Callable
from typing import Any

from mobilenetv2.evaluate.metrics import ClassFigures, wilson
from mobilenetv2.evaluate.report.classes import MOST, classes, dot


def row(name: str, right: int, photos: int, named: int = 10) -> ClassFigures:
    share = right / photos if photos else math.nan
    precision = 0.5 if named else math.nan
    return ClassFigures(name, photos, share, wilson(right, photos), precision, wilson(5, named))


def test_the_worst_come_first_and_classes_without_photos_not_at_all(
    parse: Callable[[str], Any],
) -> None:
    page = parse(classes([row("good", 9, 10), row("none", 0, 0), row("bad", 2, 10)]))
    heads = [text for tag, text in page.texts if tag == "th"]
    assert heads == ["class", "photos", "recall", "precision", "bad", "good"]
    assert len(page.of("svg", "dots")) == 2
    first = page.of("svg", "dots")[0]["aria-label"]
    low, high = wilson(2, 10)
    assert first == f"recall 20.0% (95% interval {low:.1%} to {high:.1%})"


def test_of_many_classes_the_better_ones_are_closed_until_opened(
    parse: Callable[[str], Any],
) -> None:
    page = parse(classes([row(f"c{i}", i, 200) for i in range(MOST + 3)]))
    assert page.text("summary") == "3 better classes"
    assert len(page.of("svg", "dots")) == MOST + 3
    names = [name for name, _ in page.elements]
    assert names[: names.index("details")].count("svg") == MOST


def test_a_thousand_classes_are_a_table_of_a_bounded_size(parse: Callable[[str], Any]) -> None:
    markup = classes([row(f"class {i}", i, 1000) for i in range(1000)])
    assert len(markup) < 900_000
    assert parse(markup).text("summary") == f"{1000 - MOST} better classes"


def test_a_class_that_was_never_answered_has_no_precision(parse: Callable[[str], Any]) -> None:
    page = parse(classes([row("a", 0, 4, named=0)]))
    assert "nan" not in page.text() and page.of("td", "n")[-1]["title"] == "never answered"


def test_a_dot_lies_at_its_share_on_its_whisker(parse: Callable[[str], Any]) -> None:
    page = parse(dot(0.75, (0.5, 0.9), "recall"))
    whisker = page.of("line", "whisker")[0]
    assert (whisker["x1"], whisker["x2"]) == ("50.00%", "90.00%")
    assert page.of("circle")[0]["cx"] == "75.00%"
