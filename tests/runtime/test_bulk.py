"""Outputs for any number of photos."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.errors import ImageError, OutputError
from mobilenetv2.runtime.bulk import BATCH, SMALL_BATCH, compute


class Fake:
    """Predictor whose output is the mean of a picture, and that knows who calls it."""

    def __init__(self, callers: int = 1, batch: int | None = None) -> None:
        self.callers, self.batch = callers, batch
        self.sizes: list[int] = []
        self.threads = set[str]()
        self.inside = self.most_inside = 0
        self._lock = threading.Lock()

    def __call__(self, pictures: NDArray) -> NDArray:
        with self._lock:
            self.sizes.append(len(pictures))
            self.threads.add(threading.current_thread().name)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        time.sleep(0.001)
        with self._lock:
            self.inside -= 1
        means = pictures.reshape(len(pictures), -1).mean(1, keepdims=True)
        if (means == 13).any():
            raise OutputError("its outputs are not finite")
        return means.astype(np.float32)


def load(number: int) -> tuple[str, NDArray]:
    if number == 7:
        raise ImageError("7: not a picture")
    return str(number), np.full((2, 2, 3), number, np.uint8)


@pytest.mark.parametrize("callers", [1, 2, 3])
@pytest.mark.parametrize("batch", [None, 1, 4, 100])
def test_outputs_come_in_order_and_errors_in_their_places(callers: int, batch: int | None) -> None:
    fake = Fake(callers)
    found = list(compute(fake, range(40), load, batch=batch))
    assert [one.item for one in found] == list(range(40))
    for one in found:
        if one.item == 7:
            assert isinstance(one.outputs, ImageError)
        elif one.item == 13:
            assert isinstance(one.outputs, OutputError) and str(one.outputs).startswith("13: ")
        else:
            assert isinstance(one.outputs, np.ndarray) and float(one.outputs[0]) == one.item
    assert max(fake.sizes) <= (batch or (BATCH if callers == 1 else SMALL_BATCH))


def test_callers_compute_side_by_side_and_a_single_one_in_the_callers_thread() -> None:
    many, single = Fake(3), Fake(1)
    list(compute(many, range(60), load, batch=1))
    list(compute(single, range(60), load, batch=1))
    here = threading.current_thread().name
    assert here not in many.threads and 1 < many.most_inside <= 3
    assert single.threads == {here} and single.most_inside == 1


def test_the_batch_of_a_graph_is_kept_full() -> None:
    fake = Fake(2, batch=6)
    list(compute(fake, range(18, 42), load))
    assert set(fake.sizes) == {6}


def test_photos_that_come_slowly_do_not_wait_for_each_other() -> None:
    asked: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(3):
            asked.append(number)
            yield number

    stream = compute(Fake(1), slow(), load, ahead=1)
    assert next(stream).item == 0 and len(asked) <= 2


def test_without_an_order_all_come_once() -> None:
    found = compute(Fake(3), range(50), load, ordered=False)
    assert sorted(one.item for one in found) == list(range(50))


def test_an_error_of_the_predictor_is_raised() -> None:
    def broken(pictures: NDArray) -> NDArray:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        list(compute(broken, range(3), load))
