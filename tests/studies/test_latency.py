"""Latency and memory in ONNX Runtime: networks take turns, each in a process of its own."""

import pytest

from mobilenetv2.studies.latency import ROUNDS, Timing, time_in_turns
from mobilenetv2.studies.networks import BASE


def test_a_latency_is_a_median() -> None:
    assert Timing([0.001, 0.002, 0.1]).milliseconds == pytest.approx(2)


@pytest.mark.slow
def test_a_larger_network_takes_longer_than_a_small_one() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    small, large = time_in_turns([BASE.at(width=0.25), BASE.at(width=2.0)], 0, 0.4)
    assert len(small.seconds) >= 2 * ROUNDS
    assert large.milliseconds > 2 * small.milliseconds  # 40 times the multiply-adds
    assert min(small.memory, large.memory) > 10e6
