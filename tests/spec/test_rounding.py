"""Width rules, each against what its owner's code computes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.rounding import make_divisible, scale

PUBLISHED_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
KERAS_DIFFERS = (0.14, 0.28, 0.42, 0.56, 0.84, 1.12, 1.49, 1.67, 1.68)


def projections(rounding: str, width: float) -> list[int]:
    spec = NetworkSpec(width=width, rounding=rounding)  # type: ignore[arg-type]
    return [spec.stage_channels(stage) for stage in spec.stages]


@settings(deadline=None, max_examples=60)
@given(st.floats(1, 5000), st.sampled_from([1, 4, 8, 16]))
def test_nearest_is_a_multiple_near_and_never_below_nine_tenths(value: float, by: int) -> None:
    rounded = make_divisible(value, by)
    assert rounded % by == 0
    assert rounded >= max(by, 0.9 * value)
    assert abs(rounded - value) <= by


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.floats(0.05, 3), st.sampled_from([4, 8]))
def test_up_is_the_next_multiple(channels: int, width: float, by: int) -> None:
    rounded = scale("up", channels, width, by, "projection")
    assert rounded % by == 0
    assert rounded - by < channels * width <= rounded


def test_truncating_first_differs_from_nearest_exactly_where_keras_does() -> None:
    assert all(
        projections("truncate-nearest", w) == projections("nearest", w) for w in PUBLISHED_WIDTHS
    )
    assert all(
        projections("truncate-nearest", w) != projections("nearest", w) for w in KERAS_DIFFERS
    )


def test_truncation_is_for_projections_only() -> None:
    for rule in ("truncate-nearest", "truncate"):
        for place in ("stem", "head"):
            assert scale(rule, 32, 1.49, 8, place) == make_divisible(32 * 1.49)


def test_rounding_first_differs_at_hugging_faces_widths() -> None:
    assert all(
        projections("round-nearest", w) == projections("nearest", w) for w in PUBLISHED_WIDTHS
    )
    assert projections("round-nearest", 0.55) != projections("nearest", 0.55)
    assert projections("round-nearest", 1.1) != projections("nearest", 1.1)


def test_the_articles_keras_version_truncates_and_does_not_round() -> None:
    assert projections("truncate", 0.35) == [math.floor(c * 0.35) for c in
                                             (16, 24, 32, 64, 96, 160, 320)]  # fmt: skip


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(SpecError, match="rounding 'down' is unknown; known are: nearest"):
        scale("down", 32, 1.0, 8, "stem")  # type: ignore[arg-type]


def test_of_all_widths_in_hundredths_truncating_first_changes_just_these() -> None:
    widths = [step / 100 for step in range(10, 201)]
    differ = [w for w in widths if projections("truncate-nearest", w) != projections("nearest", w)]
    assert tuple(differ) == KERAS_DIFFERS


def test_a_minimum_replaces_the_divisor_as_the_least() -> None:
    assert make_divisible(3.0, 8) == 8
    assert make_divisible(3.0, 8, minimum=16) == 16
    assert make_divisible(10.0, 8) == 16  # 8 would be below 90% of 10


def test_truncation_leaves_one_channel_at_least() -> None:
    assert scale("truncate", 16, 0.05, 8, "projection") == 1
