"""Targets, mixup and CutMix: what is in the picture is in the target."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.data.augment import Mixing, mix, targets
from mobilenetv2.errors import RecipeError


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9), st.floats(0, 0.99))
def test_targets_are_smoothed_labels(labels: list[int], smoothing: float) -> None:
    found = targets(np.array(labels), 7, smoothing)
    expected = np.eye(7)[labels] * (1 - smoothing) + smoothing / 7
    assert found.dtype == np.float32 and found.shape == (len(labels), 7)
    assert found == pytest.approx(expected, abs=1e-6)


def flat(count: int, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one grey level each, 0 to 250, and one class each."""
    levels = np.linspace(0, 250, count).round().astype(np.uint8)
    pictures = np.broadcast_to(levels[:, None, None, None], (count, side, side, 3))
    return np.ascontiguousarray(pictures), np.eye(count, dtype=np.float32)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1), st.sampled_from(["mixup", "cutmix"]))
def test_the_shares_of_the_targets_are_those_of_the_picture(
    count: int, seed: int, kind: str
) -> None:
    pictures, wanted = flat(count)
    before = pictures.copy()
    how = Mixing(**{kind: 1.0})
    mixed, shares = mix(pictures, wanted, how, np.random.default_rng(seed))
    assert np.array_equal(pictures, before)
    assert mixed.dtype == np.uint8 and mixed.shape == pictures.shape
    assert shares.dtype == np.float32 and shares.sum(1) == pytest.approx(1, abs=1e-6)
    levels = pictures[:, 0, 0, 0].astype(np.float64)
    # A picture's mean is the mean of its parts, each by its share, but for the rounding of mixup.
    assert mixed.mean((1, 2, 3)) == pytest.approx(shares @ levels, abs=0.51)


def test_cutmix_pastes_one_box_and_keeps_the_rest() -> None:
    random = np.random.default_rng(3)
    pictures = random.integers(0, 256, (4, 20, 30, 3), np.uint8)
    mixed, shares = mix(pictures, np.eye(4, dtype=np.float32), Mixing(cutmix=1.0), random)
    for index in range(4):
        other = int(shares[index].argsort()[-2]) if (shares[index] > 0).sum() == 2 else index
        same = (mixed[index] == pictures[index]).all(-1)
        pasted = (mixed[index] == pictures[other]).all(-1)
        assert (same | pasted).all()
        rows, columns = np.nonzero(~same)
        if len(rows):
            box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert pasted[box].all()


def test_cutmix_keeps_what_a_box_cut_off_by_the_border_leaves() -> None:
    # With alpha 1 the box's area is uniform before it is cut off: along each axis r - r * r / 4 of
    # its side r is left on average, so that 1 - (1/2 - 1/5 + 1/48) = 0.679 is kept, not a half.
    pictures, wanted = np.zeros((2, 64, 64, 1), np.uint8), np.eye(2, dtype=np.float32)
    kept = []
    for seed in range(3000):
        _, shares = mix(pictures, wanted, Mixing(cutmix=1.0), np.random.default_rng(seed))
        if shares[0, 0] < 1:  # the partner is another one, half of the time
            kept.append(shares[0, 0])
    assert 1350 < len(kept) < 1650
    assert np.mean(kept) == pytest.approx(0.679, abs=0.03)


def test_the_mean_share_of_mixup_is_a_half_and_alpha_says_how_far_from_it() -> None:
    pictures, wanted = flat(2)
    spread = []
    for alpha in (0.2, 1.0, 20.0):
        kept = []
        for seed in range(800):
            _, shares = mix(pictures, wanted, Mixing(mixup=alpha), np.random.default_rng(seed))
            if shares[0, 0] < 1:
                kept.append(float(shares[0, 0]))
        assert np.mean(kept) == pytest.approx(0.5, abs=0.07)
        spread.append(np.var(kept))
        assert spread[-1] == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.25)  # of Beta(a, a)
    assert spread == sorted(spread, reverse=True)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_maps_are_mixed_without_rounding_to_whole_numbers(kind: str) -> None:
    # What frozen blocks made of pictures: numbers near 0, of either sign.
    maps = np.random.default_rng(0).normal(0, 0.3, (4, 6, 6, 8)).astype(np.float16)
    seen = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        mixed, shares = mix(maps, np.eye(4, dtype=np.float32), Mixing(**{kind: 1.0}), random)
        assert mixed.dtype == np.float16 and mixed.shape == maps.shape
        assert mixed.std() > 0.1
        if kind == "mixup":
            expected = np.tensordot(shares, maps.astype(np.float32), 1)
            assert mixed == pytest.approx(expected, abs=2e-3)
        seen += bool((mixed != maps).any())
    assert seen > 15


def test_only_the_share_is_mixed_and_both_kinds_come() -> None:
    pictures, wanted = flat(4)
    kinds = {"plain": 0, "mixup": 0, "cutmix": 0}
    for seed in range(300):
        mixed, _ = mix(pictures, wanted, Mixing(1.0, 1.0, 0.5), np.random.default_rng(seed))
        if mixed is pictures:
            kinds["plain"] += 1
        else:
            kinds["mixup" if all(len(np.unique(p)) == 1 for p in mixed) else "cutmix"] += 1
    assert 120 < kinds["plain"] < 180 and kinds["cutmix"] > 40 and kinds["mixup"] > 40
    assert mix(pictures, wanted, Mixing(), np.random.default_rng(0))[0] is pictures


@pytest.mark.parametrize(
    "values, message",
    [
        ({"mixup": -0.1}, "mixup -0.1 must be from 0 to 100"),
        ({"cutmix": float("nan")}, "cutmix nan must be a finite number"),
        ({"share": 1.1}, "share 1.1 must be from 0 to 1"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Mixing(**values)
