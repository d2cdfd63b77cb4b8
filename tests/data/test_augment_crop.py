from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.spec.records import Preprocessing

COLOUR = Preprocessing(size=(32, 32), resize=(36, 36))


def view(
    how: Augmentation, index: int, image: Image.Image, record: Preprocessing = COLOUR
) -> NDArray:
    return augment(image, how, record, record.size, generator(0, 0, index))


def boxes(monkeypatch: pytest.MonkeyPatch, image: Image.Image, least: float) -> NDArray:
    """(left, top, right, bottom) of 300 resized crops, as Pillow was told."""
    found: list[tuple[int, int, int, int]] = []
    resize = Image.Image.resize

    def noted(self: Image.Image, size: Any, resample: Any, box: Any) -> Image.Image:
        found.append(box)
        return resize(self, size, resample, box=box)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "resize", noted)
        for index in range(300):
            view(Augmentation(crop_least=least), index, image)
    return np.array(found)


@pytest.mark.parametrize("least", [0.08, 0.35, 0.9])
def test_a_resized_crop_keeps_to_its_bounds_and_uses_them(
    least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (400, 300))
    left, top, right, bottom = boxes(monkeypatch, image, least).T
    width, height = right - left, bottom - top
    assert min(left.min(), top.min()) >= 0 and right.max() <= 400 and bottom.max() <= 300
    # Sides are rounded to whole pixels.
    assert ((width + 0.5) * (height + 0.5) >= least * 400 * 300).all()
    assert ((width - 0.5) / (height + 0.5) <= 4 / 3).all()
    assert ((width + 0.5) / (height - 0.5) >= 3 / 4).all()
    share = width * height / (400 * 300)
    assert share.min() < least + 0.2 * (1 - least) and share.max() > 1 - 0.25 * (1 - least)
    assert (left / np.maximum(400 - width, 1)).std() > 0.15  # not always the same place


def test_of_a_long_and_narrow_photo_the_middle_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # The largest part of an allowed aspect ratio, from the centre.
    wide = boxes(monkeypatch, Image.new("RGB", (2000, 20)), 0.35)
    assert {tuple(box) for box in wide.tolist()} == {(986, 0, 1013, 20)}
    tall = boxes(monkeypatch, Image.new("RGB", (30, 900)), 0.35)
    assert {tuple(box) for box in tall.tolist()} == {(0, 430, 30, 470)}


def test_a_resized_crop_of_everything_is_the_whole_photo_stretched() -> None:
    colours = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    square = Image.fromarray(colours)
    made = [
        view(Augmentation(crop_least=1, flip=False, jitter=0), index, square) for index in range(5)
    ]
    for picture in made:
        assert_array_equal(picture, np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR)))


def test_a_shifted_picture_moves_by_up_to_an_eighth_and_its_border_goes_on() -> None:
    rows, columns = np.mgrid[:32, :40]
    levels = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.uint8)
    record = Preprocessing(size=(32, 40), resize=(32, 40))
    seen = set()
    for index in range(400):
        how = Augmentation(crop="shifted", flip=False, jitter=0)
        made = view(how, index, Image.fromarray(levels), record).astype(int)
        down, across = made[16, 20, 0] - 16, made[16, 20, 1] - 20
        seen.add((down, across))
        assert_array_equal(made[..., 0], np.clip(rows + down, 0, 31))
        assert_array_equal(made[..., 1], np.clip(columns + across, 0, 39))
    assert {down for down, _ in seen} == set(range(-4, 5))
    assert {across for _, across in seen} == set(range(-5, 6))
