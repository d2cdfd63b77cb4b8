"""The whole measurement, on tiny networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2 import machine
from mobilenetv2.benchmarking import job
from mobilenetv2.benchmarking.choices import Candidate, Photos, candidates_of_file, cross
from mobilenetv2.benchmarking.job import Job, Turn, measure_candidates, reference_logits, take_turns
from mobilenetv2.benchmarking.results import Row
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, numerics=Numerics("same", 1e-3))
CONFIG = ModelConfig.default(SPEC)
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("benchmark") / "model"
    store.save(place, CONFIG, random_arrays(SPEC))
    return place


def asked(folder: Path, *candidates: Candidate, calibrated: bool = False) -> Job:
    return Job(
        folder, CONFIG, candidates,
        Photos(PICTURES, "noise", np.zeros(6, np.int64), PICTURES[::-1] if calibrated else None),
        threads=1, batches=(1, 4), seconds=0.05,
    )  # fmt: skip


def test_the_reference_is_the_network_itself(folder: Path) -> None:
    network = plain.build(CONFIG, dtype="float64")
    plain.load(network, random_arrays(SPEC))
    wanted = network(engine_input(PICTURES, CONFIG.preprocessing))
    found = reference_logits(asked(folder))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1.0, np.abs(wanted).max()))


@pytest.mark.slow
def test_float_and_int8_are_measured_side_by_side(folder: Path) -> None:
    candidates = cross(["onnxruntime"], ["float32", "int8"])
    exact, int8 = measure_candidates(asked(folder, *candidates, calibrated=True))
    truth = reference_logits(asked(folder)).argmax(1)
    for row in (exact, int8):
        assert row.error == "" and row.agreement is not None and row.agreement.photos == 6
        assert [speed.batch for speed in row.speeds] == [1, 4]
        assert all(sum(speed.seconds) >= 0.05 and speed.first > 0 for speed in row.speeds)
        assert row.load and row.memory and row.memory_after_load
        assert row.memory >= row.memory_after_load > 10e6
    assert exact.agreement and exact.agreement.same == 6 and exact.agreement.difference < 1e-4
    assert exact.agreement.right == int((truth == 0).sum())
    assert int8.agreement and 0 < int8.agreement.difference < 10
    assert exact.bytes and int8.bytes and int8.bytes < exact.bytes / 1.5


def test_what_fails_has_its_error_in_its_row_and_the_others_go_on(
    folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    gone = Candidate("onnxruntime", "onnx", "?", tmp_path / "gone.onnx")
    good, bad, absent = measure_candidates(
        asked(
            folder,
            *cross(["onnxruntime"], ["float32"]),
            *candidates_of_file(broken, ["onnxruntime"]),
            gone,
        )
    )
    assert good.error == "" and good.agreement is not None
    assert str(broken) in bad.error and bad.agreement is None and not bad.speeds
    assert "gone.onnx" in absent.error


def test_int8_needs_photos_to_calibrate_on(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="int8 needs photos for calibration"):
        measure_candidates(asked(folder, *cross(["onnxruntime"], ["int8"])))


def test_nobody_is_started_without_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: job.LEAST_MEMORY - 1)
    (row,) = measure_candidates(asked(folder, *cross(["onnxruntime"], ["float32"])))
    assert "1074 MB of memory are free" in row.error and not row.speeds


@pytest.mark.slow
def test_an_exported_file_is_its_own_reference(folder: Path, tmp_path: Path) -> None:
    who = cross(["onnxruntime"], ["float16"])[0]
    path = job.write_file(asked(folder), who, tmp_path / "made", {})
    (row,) = measure_candidates(asked(path, *candidates_of_file(path, ["onnxruntime"])))
    assert row.error == "" and row.agreement and row.agreement.difference == 0.0


def test_a_row_begins_empty() -> None:
    row = Row(Candidate("litert", "litert", "int8"))
    assert row.error == "" and row.agreement is None and row.speed(1) is None


class Clock:
    """Candidates whose every run takes the time that they are given."""

    def __init__(self) -> None:
        self.order: list[tuple[int, int]] = []
        self.rows = [Row(Candidate("onnxruntime", "onnx", str(key))) for key in range(6)]

    def turn(self, key: int, batch: int, each: float, fails_at: int = -1) -> Turn:
        def burst(size: int, seconds: float) -> dict[str, Any]:
            assert size == batch
            if sum(1 for who in self.order if who == (key, batch)) == fails_at:
                raise ArtifactError(f"{key} broke")
            self.order.append((key, batch))
            runs = [each] * max(2, round(seconds / each))
            return {
                "seconds": runs, "first_s": 9.0 + len(self.order), "busy": key == 2, "memory": 1,
            }  # fmt: skip

        return Turn(self.rows[key], batch, burst)


def test_all_run_in_every_round_until_each_has_its_seconds() -> None:
    clock = Clock()
    turns = [clock.turn(0, 1, 0.01), clock.turn(1, 1, 0.02), clock.turn(2, 1, 0.05)]
    told = list(take_turns(turns, 1.0, rounds=5))
    assert all(0.99 < sum(turn.seconds) < 1.2 for turn in turns)
    rounds = [clock.order[i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(who for who, _ in each) == [0, 1, 2] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1  # nobody always runs after the same one
    assert [told.count(turn) for turn in turns] == [5, 5, 5]
    assert [turn.row.busy for turn in turns] == [False, False, True]


def test_a_slow_one_has_fewer_and_longer_turns_and_progress_is_whole() -> None:
    clock = Clock()
    slow, quick = clock.turn(0, 32, 0.4), clock.turn(1, 32, 0.01)
    told = list(take_turns([slow, quick], 1.0, rounds=10))
    assert len(slow.seconds) == 4 and clock.order.count((0, 32)) == 2
    assert told.count(slow) == told.count(quick) == 10


def test_the_first_run_of_all_is_kept() -> None:
    clock = Clock()
    turn = clock.turn(0, 1, 0.1)
    list(take_turns([turn], 1.0, rounds=5))
    assert turn.first == 10.0


def test_one_that_fails_is_left_out_with_all_its_batches_and_the_others_go_on() -> None:
    clock = Clock()
    turns = [
        clock.turn(0, 1, 0.1), clock.turn(1, 1, 0.1, fails_at=2), clock.turn(1, 8, 0.1),
    ]  # fmt: skip
    told = list(take_turns(turns, 1.0, rounds=5))
    assert [row.error for row in clock.rows[:2]] == ["", "1 broke"]
    assert clock.order.count((0, 1)) == 5 and clock.order.count((1, 1)) == 2
    assert clock.order.count((1, 8)) <= 3
    assert [told.count(turn) for turn in turns] == [5, 5, 5]


def test_the_order_is_the_same_every_time() -> None:
    orders = []
    for _ in range(2):
        clock = Clock()
        list(take_turns([clock.turn(i, 1, 0.1) for i in range(6)], 1.0, rounds=5))
        orders.append(clock.order)
    assert orders[0] == orders[1]
