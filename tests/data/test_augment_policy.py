"""Each operation by what it does to pictures whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobilenetv2.data.augment import (
    NAMES,
    RAND,
    TRIVIAL,
    apply_operation,
    rand_augment,
    trivial_augment,
)


def noise(side: int = 32, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(0).integers(40, 200, (side, side, channels), np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def changed(name: str, strength: float, negative: bool = False, image: object = None) -> np.ndarray:
    given_ = image if isinstance(image, Image.Image) else noise()
    return np.asarray(apply_operation(given_, name, strength, RAND, negative)).astype(int)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"autocontrast", "equalize"}))
@pytest.mark.parametrize("channels", [1, 3])
def test_at_strength_0_nothing_changes(name: str, channels: int) -> None:
    image = noise(channels=channels)
    for negative in (False, True):
        assert np.array_equal(changed(name, 0.0, negative, image), np.asarray(image))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"identity"}))
def test_at_full_strength_much_changes_and_the_kind_stays(name: str) -> None:
    image = noise()
    found = apply_operation(image, name, 1.0, TRIVIAL, False)
    assert found.mode == "RGB" and found.size == image.size
    assert np.abs(np.asarray(found).astype(int) - np.asarray(image)).mean() > 2


def test_what_each_does() -> None:
    pixels = np.asarray(noise()).astype(int)
    assert changed("brightness", 1.0).mean() == pytest.approx(1.9 * pixels.mean(), rel=0.15)
    assert changed("brightness", 1.0, True).mean() == pytest.approx(0.1 * pixels.mean(), rel=0.1)
    assert changed("contrast", 0.5).std() == pytest.approx(1.45 * pixels.std(), rel=0.05)
    assert np.ptp(changed("colour", 1.0, True), axis=2).mean() < 0.2 * np.ptp(pixels, axis=2).mean()
    assert np.array_equal(changed("solarize", 0.5), np.where(pixels < 128, pixels, 255 - pixels))
    assert np.array_equal(changed("posterize", 1.0), pixels & 0xF0)
    stretched = changed("autocontrast", 1.0)
    assert stretched.min() == 0 and stretched.max() == 255
    levels = np.bincount(changed("equalize", 1.0).ravel() // 64, minlength=4)
    assert levels.min() > 0.35 * levels.max()  # an eighth, before


def test_a_dot_moves_where_geometry_says() -> None:
    pixels = np.full((33, 33), 128, np.uint8)
    pixels[15:18, 25:28] = 255  # ten to the right of the centre

    def place(name: str, strength: float, negative: bool = False) -> tuple[float, float]:
        found = np.asarray(apply_operation(Image.fromarray(pixels), name, strength, RAND, negative))
        bright = found.astype(float) - 128
        rows, columns = np.nonzero(bright)
        weights = bright[rows, columns]
        return float(np.average(rows, weights=weights)), float(np.average(columns, weights=weights))

    # PIL's matrices lead from the result to the source: a positive shift takes from the right.
    row, column = place("translate x", 0.5)
    assert (row, column) == pytest.approx((16, 26 - 0.5 * 150 / 331 * 33), abs=0.6)
    row, column = place("translate y", 0.5, True)
    assert (row, column) == pytest.approx((16 + 0.5 * 150 / 331 * 33, 26), abs=0.6)
    row, column = place("rotate", 1.0)
    assert (row, column) == pytest.approx((16 - 5, 16 + 10 * np.cos(np.pi / 6)), abs=0.7)
    assert place("shear x", 1.0) == pytest.approx((16, 26), abs=0.6)  # on the centre's row
    assert place("shear y", 1.0)[0] == pytest.approx(16 - 3, abs=0.7)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3]), st.integers(8, 40))
def test_policies_are_functions_of_their_random_numbers(
    seed: int, channels: int, side: int
) -> None:
    image = noise(side, channels)
    policies: list[Callable[[np.random.Generator], Image.Image]] = [
        lambda random: rand_augment(image, 3, 30, random),
        lambda random: trivial_augment(image, random),
    ]
    for augment in policies:
        first, second = (augment(np.random.default_rng(seed)) for _ in range(2))
        assert first.mode == image.mode and first.size == image.size
        assert np.array_equal(np.asarray(first), np.asarray(second))


def test_every_operation_comes_about_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from mobilenetv2.data import augment

    counts = dict.fromkeys(NAMES, 0)

    def count(image: Image.Image, name: str, *rest: object) -> Image.Image:
        counts[name] += 1
        return image

    monkeypatch.setattr(augment, "apply_operation", count)
    random, image = np.random.default_rng(0), noise()
    for _ in range(1400):
        augment.trivial_augment(image, random)
    assert min(counts.values()) > 65 and max(counts.values()) < 140
