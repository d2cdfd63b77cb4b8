"""The order of an epoch: a permutation, or balanced by class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.data.sampling import epoch_order

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
