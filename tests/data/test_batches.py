"""Order and batches of an epoch."""

import threading
import time
from collections.abc import Generator, Iterator
from queue import SimpleQueue

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mobilenetv2.data.batches import batches, chunked, epoch_order, in_parallel, whole_batches


def picture(index: int) -> NDArray:
    return np.full((2, 3, 3), index, np.uint8)


class Counted(list[int]):
    """Jobs that say how many of them were taken."""

    taken = 0

    def __iter__(self) -> Iterator[int]:
        for job in super().__iter__():
            self.taken += 1
            yield job


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_batches_are_the_pictures_in_order_and_a_short_last_one_is_dropped_if_asked(
    drop_last: bool, sizes: list[int]
) -> None:
    order = np.random.default_rng(1).permutation(11)
    given_ = list(batches(picture, chunked(order, 4, drop_last=drop_last)))
    assert [len(indices) for _, indices in given_] == sizes
    assert_array_equal(np.concatenate([i for _, i in given_]), order[: sum(sizes)])
    for pictures, indices in given_:
        assert pictures.dtype == np.uint8 and indices.dtype == np.int64
        assert_array_equal(pictures, np.stack([picture(i) for i in indices]))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("start", [0, 1, 3, 5, 6, 9])
def test_starting_later_is_the_same_as_dropping_the_first_batches(
    start: int, drop_last: bool
) -> None:
    loaded = list[int]()

    def load(index: int) -> NDArray:
        loaded.append(index)
        return np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)

    order = np.random.default_rng(2).permutation(22)
    whole = list(batches(load, chunked(order, 4, drop_last=drop_last)))[start:]
    loaded.clear()
    later = list(batches(load, chunked(order, 4, start, drop_last)))
    assert len(whole) == len(later) == max(0, (5 if drop_last else 6) - start)
    for (pictures, indices), (more_pictures, more_indices) in zip(whole, later, strict=True):
        assert_array_equal(pictures, more_pictures)
        assert_array_equal(indices, more_indices)
    assert set(loaded) == {index for _, indices in later for index in indices}


@given(
    st.integers(0, 25), st.integers(1, 7), st.integers(0, 6), st.booleans(),
)  # fmt: skip
def test_whole_batches_are_the_same_batches(
    count: int, batch_size: int, start: int, drop_last: bool
) -> None:
    order = np.random.default_rng(count).permutation(count)

    def load(indices: NDArray) -> NDArray:
        assert indices.dtype == np.int64 and len(indices) <= batch_size
        return np.stack([picture(int(index)) for index in indices])

    chunks = chunked(order, batch_size, start, drop_last)
    one_by_one = list(batches(picture, chunks))
    whole = list(whole_batches(load, chunks))
    assert len(one_by_one) == len(whole)
    for (pictures, indices), (more_pictures, more_indices) in zip(one_by_one, whole, strict=True):
        assert_array_equal(pictures, more_pictures)
        assert_array_equal(indices, more_indices)


def test_an_error_in_a_worker_is_raised_after_the_batches_before_it() -> None:
    def load(index: int) -> NDArray:
        if index == 9:
            raise ValueError("photo 9")
        return picture(index)

    given_ = batches(load, chunked(range(1000), 4))
    assert [next(given_)[1].tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(ValueError, match="photo 9"):
        next(given_)


def test_results_keep_the_order_of_the_jobs_when_early_ones_are_slow() -> None:
    finished = list[int]()

    def work(job: int) -> int:
        time.sleep(0.02 if job % 4 == 0 else 0)
        finished.append(job)
        return job * job

    assert list(in_parallel(work, range(24), threads=4)) == [job * job for job in range(24)]
    assert finished != sorted(finished)
    assert list(in_parallel(work, [])) == []


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (2, 3), (3, 5)])
def test_no_more_jobs_than_the_bound_are_in_flight(threads: int, ahead: int) -> None:
    jobs = Counted(range(40))

    gate = threading.Event()  # no job ends before as many as possible are taken
    threading.Timer(0.3, gate.set).start()

    def work(job: int) -> int:
        gate.wait(10)
        return job

    flights = [jobs.taken - done for done, _ in enumerate(in_parallel(work, jobs, threads, ahead))]
    assert max(flights) == threads * ahead
    assert flights[0] == threads * ahead  # and they are really taken ahead
    assert jobs.taken == 40


def test_a_result_that_is_there_is_not_held_back() -> None:
    def slow() -> Iterator[int]:
        yield 0
        time.sleep(0.2)  # the first job is done by now
        yield 1
        taken.append("third")
        yield 2

    taken: list[str] = []
    results = in_parallel(int, slow(), threads=2)
    assert next(results) == 0 and taken == []
    assert list(results) == [1, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_without_an_order_each_result_comes_when_it_is_there(threads: int) -> None:
    waits = threading.Event()

    def work(job: int) -> int:
        if job == 0 and threads > 1:
            assert waits.wait(20)
        return job

    found = in_parallel(work, range(50), threads, ordered=False)
    first = [next(found) for _ in range(20)]
    assert (0 in first) == (threads == 1)
    waits.set()
    assert sorted([*first, *found]) == list(range(50))


def test_jobs_really_run_on_several_threads_at_once() -> None:
    together = threading.Barrier(3, timeout=20)  # broken, an error, unless three are inside
    on = set[str]()

    def work(job: int) -> int:
        on.add(threading.current_thread().name)
        together.wait()
        return job

    assert list(in_parallel(work, range(9), threads=3)) == list(range(9))
    assert len(on) == 3 and threading.current_thread().name not in on


@pytest.mark.parametrize("end", ["error", "left alone"])
def test_no_job_is_started_and_no_thread_is_left_after_the_end(end: str) -> None:
    started = list[int]()

    def work(job: int) -> int:
        started.append(job)
        time.sleep(0.005)
        if end == "error" and job == 3:
            raise OSError("the disk is gone")
        return job

    results = in_parallel(work, range(500), threads=2, ahead=200)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    if end == "error":
        with pytest.raises(OSError, match="the disk is gone"):
            next(results)
    else:
        results.close()
    count = len(started)
    time.sleep(0.05)
    assert count == len(started) < 300  # of the 403 that were in flight
    assert not [t for t in threading.enumerate() if t.name.startswith("photos")]


LABELS = np.repeat([0, 1, 2], [80, 15, 5])


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_without_balance_every_photo_comes_once(seed: int, epoch: int) -> None:
    order = epoch_order(LABELS, seed, epoch)
    assert sorted(order) == list(range(100))
    assert np.array_equal(order, epoch_order(LABELS, seed, epoch))
    # As in earlier versions: what was measured then holds now.
    assert np.array_equal(order, np.random.default_rng([seed, epoch, 0]).permutation(100))


@pytest.mark.parametrize("balance, counts", [(1.0, [34, 33, 33]), (0.5, [59, 26, 15])])
def test_balance_moves_the_counts(balance: float, counts: list[int]) -> None:
    order = epoch_order(LABELS, 0, 0, balance)
    assert len(order) == 100
    found = np.bincount(LABELS[order], minlength=3)
    assert list(found) == counts
    for label in range(3):  # photos of a class take turns
        times = np.bincount(order, minlength=100)[label == LABELS]
        assert times.max() - times.min() <= 1


@pytest.mark.parametrize("balance", [0.3, 0.5, 1.0])
def test_photos_of_a_class_take_turns_over_epochs_too(balance: float) -> None:
    # Of the largest class an epoch takes a part: the next one goes on with the others.
    times = np.zeros(100, int)
    for epoch in range(12):
        times += np.bincount(epoch_order(LABELS, 5, epoch, balance), minlength=100)
        for label in range(3):
            of_class = times[label == LABELS]
            assert of_class.max() - of_class.min() <= 1


def test_an_epoch_of_a_balanced_run_can_be_made_alone() -> None:
    later = epoch_order(LABELS, 5, 7, 0.5)
    for epoch in (0, 9, 3):
        epoch_order(LABELS, 5, epoch, 0.5)
    assert np.array_equal(epoch_order(LABELS, 5, 7, 0.5), later)
    assert not np.array_equal(epoch_order(LABELS, 6, 7, 0.5), later)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 100))
def test_an_epoch_is_as_long_as_the_photos(labels: list[int], balance: float, epoch: int) -> None:
    order = epoch_order(np.array(labels), 3, epoch, balance)
    assert len(order) == len(labels) and order.dtype == np.int64
    assert set(order) <= set(range(len(labels)))


def test_epochs_differ() -> None:
    orders = [tuple(epoch_order(LABELS, 0, epoch, 0.5)) for epoch in range(4)]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("ordered", [True, False])
def test_results_do_not_wait_for_jobs_that_come_with_pauses(ordered: bool) -> None:
    jobs: SimpleQueue[int | None] = SimpleQueue()
    results = in_parallel(
        lambda job: 10 * job, iter(jobs.get, None), 2, ordered=ordered, awaited=True
    )
    for number in range(5):
        jobs.put(number)
        assert next(results) == 10 * number
    for number in range(5, 40):
        jobs.put(number)
    jobs.put(None)
    assert sorted(results) == list(range(50, 400, 10))


def test_errors_of_jobs_that_come_with_pauses_are_raised_and_an_early_end_waits_for_none() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise OSError("the list is gone")

    results = in_parallel(lambda job: job, jobs(), 2, awaited=True)
    assert next(results) == 1
    with pytest.raises(OSError, match="the list is gone"):
        next(results)
    slow = in_parallel(after_a_while, jobs(), 2, ordered=False, awaited=True)
    assert next(slow) == 1
    with pytest.raises(OSError, match="the list is gone"):
        next(slow)
    endless: SimpleQueue[int] = SimpleQueue()
    endless.put(1)
    stopped = in_parallel(lambda job: job, iter(endless.get, None), 2, awaited=True)
    assert next(stopped) == 1
    assert isinstance(stopped, Generator)
    stopped.close()
    with pytest.raises(ValueError, match="bad job"):
        list(in_parallel(refuse, iter([1, 2]), 2, awaited=True))


def after_a_while(job: int) -> int:
    time.sleep(0.05)
    return job


def refuse(job: int) -> int:
    raise ValueError("bad job")
