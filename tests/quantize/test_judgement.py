"""Counting what int8 loses, by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluate.metrics import wilson
from mobilenetv2.quantize.judgement import Judge, Judgement
from mobilenetv2.runtime.engine import Output
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing


class Table:
    """Answers in turn what it was given."""

    outputs: tuple[str, ...] = ("logits",)
    takes_pictures = True

    def __init__(self, answers: list[int]) -> None:
        self.answers = iter(answers)

    def run(self, x: NDArray, output: Output) -> NDArray:
        return np.eye(3, dtype=np.float32)[[next(self.answers) for _ in x]]


def test_right_same_and_lost_are_counted(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    outputs = [2, 0, 1]  # class of the folder -> output
    truth = [outputs[photo.label] for photo in split.photos]
    before = list(truth)
    before[0] = (before[0] + 1) % 3
    after = list(before)
    after[0] = truth[0]  # a photo won
    for lost in (5, 6, 7):
        after[lost] = (after[lost] + 1) % 3
    judge = Judge(split, outputs, record, Table(before))
    found = judge.judge(Table(after), "int8")
    assert (found.photos, found.float_right, found.right, found.both) == (36, 35, 33, 32)
    assert found.same == 32
    assert found.drop == pytest.approx(100 * 2 / 36) and not found.passed
    assert found.difference == pytest.approx(4 * 2 / (36 * 3))
    record_ = found.to_dict()
    assert record_["agreement_interval"] == list(wilson(32, 36))


@pytest.mark.parametrize(("right", "passed"), [(98, True), (97, False), (100, True)])
def test_two_points_may_be_lost(right: int, passed: bool) -> None:
    assert Judgement(100, right, 100, right, 90, 0.0).passed is passed


def test_the_drop_has_a_paired_interval() -> None:
    # By hand: 5.5 lost, 1.5 won of 102 after half a photo more for each.
    low, high = Judgement(100, 86, 90, 85, 90, 0.0).drop_interval
    assert (low, high) == pytest.approx((-1.1, 8.95), abs=0.02)
    low, high = Judgement(1000, 900, 900, 900, 1000, 0.0).drop_interval
    assert low == -high and 0.1 < high < 0.25
