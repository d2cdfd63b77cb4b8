"""Bounds beside a type: what they let through, and how they are put into words."""

import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import bounds_in_words, check_bounds


@dataclass(frozen=True)
class Record:
    share: Annotated[float, "[0, 1)"] = 0.5
    count: Annotated[int, "0 or [2, inf)"] = 0
    sides: Annotated[tuple[int, ...] | None, "(0, 8]"] = None
    other: float = -5.0


@pytest.mark.parametrize(
    "record", [Record(), Record(0.0, 2), Record(0.999, 10**9, (1, 8)), Record(sides=())]
)
def test_what_lies_within_passes(record: Record) -> None:
    check_bounds(record, RecipeError)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(1.0), "share 1.0 must be at least 0 and below 1"),
        (Record(-1e-9), "share -1e-09 must be"),
        (Record(math.nan), "share nan must be a finite number"),
        (Record(count=1), "count 1 must be 0 or at least 2"),
        (Record(sides=(8, 9)), "sides (8, 9) must be above 0, at most 8"),
        (Record(sides=(0, 1)), "sides (0, 1) must be above 0"),
    ],
)
def test_what_does_not_is_named_with_its_bounds(record: Record, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_bounds(record, RecipeError)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ("[0.1, 4]", "from 0.1 to 4"), ("[2, inf)", "at least 2"), ("(0, inf)", "above 0"),
        ("(0, 1)", "above 0 and below 1"), ("0 or [1, 100]", "0 or from 1 to 100"),
    ],
)  # fmt: skip
def test_bounds_become_words(bounds: str, words: str) -> None:
    assert bounds_in_words(bounds) == words
