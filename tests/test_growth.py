"""The tables of docs/growth.md as benchmarks/growth.py prints them, and the formula behind them."""

import dataclasses
from pathlib import Path

import growth
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "growth.md"


def test_the_page_has_the_tables_that_the_script_prints() -> None:
    page = PAGE.read_text("utf-8")
    printed = "\n".join(growth.tables(growth.Figures())).split("\n\n")
    assert len(printed) == 4
    for table in printed:
        assert table in page


def test_the_work_grows_with_the_photos_and_the_start_does_not() -> None:
    figures = growth.Figures()
    few, many = growth.classify(1000, figures), growth.classify(1_000_000, figures)
    assert many.work == pytest.approx(1000 * few.work)
    assert few.starts == many.starts == few.machines == 1
    assert few.wall == pytest.approx(figures.start_s + 1000 * figures.photo_s / figures.cores)
    assert few.dollars == pytest.approx(few.wall * figures.cores / 3600 * figures.core_hour)


@pytest.mark.parametrize("photos", growth.COUNTS)
def test_the_machines_end_within_a_day_and_one_less_does_not(photos: int) -> None:
    figures = growth.Figures(start_s=0.0)
    for cost in (growth.classify(photos, figures), growth.train(photos, figures)):
        assert cost.wall <= growth.DAY
        if cost.machines > 1:
            assert cost.work / ((cost.machines - 1) * figures.cores) > growth.DAY


def test_readers_figures_change_the_tables() -> None:
    own = dataclasses.replace(growth.Figures(), engine_ms=0.0, core_hour=1.0)
    assert growth.tables(own) != growth.tables(growth.Figures())
    assert growth.classify(10**6, own).dollars == pytest.approx(
        growth.classify(10**6, own).seconds / 3600
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.00012, "0.0001"), (0.043, "0.043"), (4.94, "4.9"), (47.2, "47"), (3583.0, "3,600")],
)
def test_numbers_have_two_digits(number: float, text: str) -> None:
    assert growth.amount(number) == text


def test_bytes_and_durations_have_units() -> None:
    assert growth.size(1.15e15) == "1.1 PB" and growth.size(600.0) == "600 B"
    assert growth.duration(86_400.0) == "24 h" and growth.duration(90.0) == "1.5 min"
