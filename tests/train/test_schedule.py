"""The learning rate: up in a line, down in half a cosine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.train.schedule import cosine, exponential, phase


def test_it_rises_to_the_peak_and_falls_to_the_floor() -> None:
    rates = [cosine(step, 12, 3, 0.4) for step in range(13)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[3 + 9 // 3] == pytest.approx(0.3)  # cos 60 degrees is a half: three quarters
    assert rates[12] == pytest.approx(0)
    assert cosine(12, 12, 3, 0.4, floor=0.1) == pytest.approx(0.1)


def test_without_warmup_it_begins_at_the_peak() -> None:
    assert cosine(0, 10, 0, 0.4) == 0.4


@given(st.integers(1, 500), st.data())
def test_every_rate_lies_between_floor_and_peak_and_there_is_one_top(
    steps: int, data: st.DataObject
) -> None:
    warmup = data.draw(st.integers(0, steps))
    rates = [cosine(step, steps, warmup, 1.0, 0.01) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_the_exponential_schedule_steps_once_an_epoch() -> None:
    rates = [exponential(step, 4, 2, 1.0, 0.5) for step in range(12)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25])


def test_phases_are_equal_parts_of_a_run() -> None:
    assert [phase(epoch, 6, (0.5, 0.75, 1.0)) for epoch in range(6)] == [
        0.5, 0.5, 0.75, 0.75, 1.0, 1.0,
    ]  # fmt: skip
    assert phase(3, 6, ()) == 1.0
    assert [phase(epoch, 2, (0.5, 0.75, 1.0)) for epoch in (0, 1)] == [0.5, 0.75]
    assert phase(0, 0, (0.5,)) == 0.5
