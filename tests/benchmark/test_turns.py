"""Bursts in turns."""

from typing import Any

from mobilenetv2.benchmark.turns import Turn, interleave
from mobilenetv2.errors import ArtifactError


class Clock:
    """Contestants whose every run takes the time that they are given."""

    def __init__(self) -> None:
        self.order: list[tuple[int, int]] = []

    def turn(self, key: int, batch: int, each: float, fails_at: int = -1) -> Turn:
        def burst(size: int, seconds: float) -> dict[str, Any]:
            assert size == batch
            if sum(1 for who in self.order if who == (key, batch)) == fails_at:
                raise ArtifactError(f"{key} broke")
            self.order.append((key, batch))
            runs = [each] * max(2, round(seconds / each))
            return {"seconds": runs, "first_s": 9.0 + len(self.order), "busy": key == 2}

        return Turn(key, batch, burst)


def test_all_run_in_every_round_until_each_has_its_seconds() -> None:
    clock = Clock()
    turns = [clock.turn(0, 1, 0.01), clock.turn(1, 1, 0.02), clock.turn(2, 1, 0.05)]
    failed: dict[int, str] = {}
    told = list(interleave(turns, 1.0, failed, rounds=5))
    assert not failed and all(0.99 < sum(turn.seconds) < 1.2 for turn in turns)
    rounds = [clock.order[i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(who for who, _ in each) == [0, 1, 2] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1  # nobody always runs after the same one
    assert [told.count(turn) for turn in turns] == [5, 5, 5]
    assert [turn.busy for turn in turns] == [False, False, True]


def test_a_slow_one_has_fewer_and_longer_turns_and_progress_is_whole() -> None:
    clock = Clock()
    slow, quick = clock.turn(0, 32, 0.4), clock.turn(1, 32, 0.01)
    told = list(interleave([slow, quick], 1.0, {}, rounds=10))
    assert len(slow.seconds) == 4 and clock.order.count((0, 32)) == 2
    assert told.count(slow) == told.count(quick) == 10


def test_the_first_run_of_all_is_kept() -> None:
    clock = Clock()
    turn = clock.turn(0, 1, 0.1)
    list(interleave([turn], 1.0, {}, rounds=5))
    assert turn.first == 10.0


def test_one_that_fails_is_left_out_with_all_its_batches_and_the_others_go_on() -> None:
    clock = Clock()
    turns = [
        clock.turn(0, 1, 0.1), clock.turn(1, 1, 0.1, fails_at=2), clock.turn(1, 8, 0.1),
    ]  # fmt: skip
    failed: dict[int, str] = {}
    told = list(interleave(turns, 1.0, failed, rounds=5))
    assert failed == {1: "1 broke"}
    assert clock.order.count((0, 1)) == 5 and clock.order.count((1, 1)) == 2
    assert clock.order.count((1, 8)) <= 3
    assert [told.count(turn) for turn in turns] == [5, 5, 5]


def test_the_order_is_the_same_every_time() -> None:
    orders = []
    for _ in range(2):
        clock = Clock()
        list(interleave([clock.turn(i, 1, 0.1) for i in range(6)], 1.0, {}, rounds=5))
        orders.append(clock.order)
    assert orders[0] == orders[1]
