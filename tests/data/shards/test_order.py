"""The order of an epoch from shards: reproducible, complete, mixed, and read in large parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.data.shards import order as module
from mobilenetv2.data.shards.order import buffered_order


def layout(count: int, shards: int, size: int = 100_000) -> tuple[NDArray, NDArray, NDArray]:
    """Photos of one size, in shards, whose indices say nothing of their places."""
    places = np.random.default_rng(1).permutation(count)
    return places % shards, places // shards * (size + 1500), np.full(count, size)


@given(st.integers(0, 300), st.integers(1, 7), st.integers(1, 10**7), st.integers(0, 2**31))
def test_every_photo_comes_once(count: int, shards: int, size: int, seed: int) -> None:
    order = buffered_order(*layout(count, shards, size), seed, 3)
    assert sorted(order) == list(range(count)) and order.dtype == np.int64


def test_it_is_a_function_of_seed_and_epoch() -> None:
    facts = layout(2000, 5)
    one = buffered_order(*facts, 7, 0)
    assert np.array_equal(one, buffered_order(*facts, 7, 0))
    for seed, epoch in ((7, 1), (8, 0)):
        other = buffered_order(*facts, seed, epoch)
        assert (other != one).mean() > 0.99


def test_a_known_order() -> None:
    """It is that of runs that are resumed with a later version, too."""
    facts = np.zeros(8, int), np.arange(8) * 2_000_000, np.full(8, 2_000_000)
    assert buffered_order(*facts, 0, 0).tolist() == [6, 1, 7, 2, 3, 4, 5, 0]


def test_a_buffer_is_read_in_few_large_parts() -> None:
    shards, offsets, sizes = layout(20_000, 16)
    order = buffered_order(shards, offsets, sizes, 0, 0)
    buffers = np.arange(len(order)) * 100_000 // module.BUFFER
    requests = []
    for number in range(buffers[-1] + 1):
        here = order[buffers == number]
        places = np.lexsort((offsets[here], shards[here]))
        file, at = shards[here][places], offsets[here][places]
        near = (file[1:] == file[:-1]) & (np.diff(at) < 110_000)
        requests.append(1 + int((~near).sum()))
    assert np.mean(requests) < 20  # of some 335 photos, in a whole shuffle as many


def test_other_photos_come_together_in_another_epoch() -> None:
    facts = layout(20_000, 16)
    first, again = (buffered_order(*facts, 0, epoch) for epoch in range(2))
    assert len({*first[:256].tolist()} & {*again[:256].tolist()}) < 40
    batch = {int(photo): number // 256 for number, photo in enumerate(first)}
    assert len({batch[int(photo)] for photo in again[:256]}) > 8  # those of a batch were in many


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_photos_are_shuffled_too(count: int) -> None:
    assert len(buffered_order(*layout(count, 1), 0, 0)) == count
