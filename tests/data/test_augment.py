from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.augment import Augmentation, augment, generator
from mobilenetv2.errors import RecipeError
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing

COLOUR = Preprocessing(size=(32, 32), resize=(36, 36))
GREY = Preprocessing(size=(32, 32), resize=(36, 36), mean=(118.0,), std=(57.0,))
SMOOTH = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
PHOTO = Image.fromarray(SMOOTH).resize((80, 60), Image.Resampling.BICUBIC)
AS_IT_IS = Augmentation(crop="none", flip=False, jitter=0)


def view(
    how: Augmentation,
    key: tuple[int, int, int] = (0, 0, 0),
    image: Image.Image = PHOTO,
    record: Preprocessing = COLOUR,
    size: tuple[int, int] = (32, 32),
) -> NDArray:
    return augment(image, how, record, size, generator(*key))


@pytest.mark.parametrize("crop", ["resized", "shifted", "none"])
def test_a_view_is_a_function_of_seed_epoch_and_index(crop: Any) -> None:
    how = Augmentation(crop)
    keys = [(s, e, i) for s in (0, 1) for e in (0, 1, 2) for i in (0, 1, 2)]
    views = {key: view(how, key) for key in keys}
    for key in reversed(keys):  # whatever was drawn before
        assert_array_equal(view(how, key), views[key])
    assert len({made.tobytes() for made in views.values()}) == len(keys)


@pytest.mark.parametrize("crop", ["resized", "shifted", "none"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (48, 16), (7, 5)])
@pytest.mark.parametrize("record", [COLOUR, GREY], ids=["colour", "grey"])
def test_a_view_has_the_size_asked_for_and_the_networks_channels(
    crop: Any, size: tuple[int, int], record: Preprocessing
) -> None:
    made = view(Augmentation(crop), (0, 1, 2), record=record, size=size)
    assert made.shape == (*size, record.channels) and made.dtype == np.uint8
    assert made.std() > 3


def test_no_augmentation_is_the_picture_of_evaluation() -> None:
    assert_array_equal(view(AS_IT_IS), preprocess(PHOTO, COLOUR))
    assert_array_equal(view(AS_IT_IS, record=GREY), preprocess(PHOTO, GREY))
    assert_array_equal(view(AS_IT_IS, size=(48, 24)), preprocess(PHOTO, COLOUR.at((48, 24))))


def test_the_photo_itself_is_never_changed() -> None:
    before = PHOTO.tobytes()
    for crop in ("resized", "shifted", "none"):
        for record in (COLOUR, GREY):
            view(Augmentation(crop, jitter=0.9), (1, 2, 3), record=record)
    assert (PHOTO.tobytes(), PHOTO.mode, PHOTO.size) == (before, "RGB", (80, 60))


def test_half_of_the_views_are_mirrored_exactly() -> None:
    plain = view(AS_IT_IS)
    how = Augmentation(crop="none", flip=True, jitter=0)
    mirrored = 0
    for index in range(200):
        made = view(how, (0, 0, index))
        if not np.array_equal(made, plain):
            assert_array_equal(made, plain[:, ::-1])
            mirrored += 1
    assert 70 < mirrored < 130


@pytest.mark.parametrize("amount", [0.1, 0.4])
def test_jitter_changes_brightness_by_up_to_its_share(amount: float) -> None:
    # On a flat picture contrast and saturation have nothing to change.
    flat = Image.new("RGB", (40, 40), (100, 100, 100))
    how = Augmentation(crop="none", flip=False, jitter=amount)
    levels = [view(how, (0, 0, index), flat) for index in range(200)]
    assert all(made.min() == made.max() for made in levels)
    change = np.array([int(made[0, 0, 0]) for made in levels]) / 100 - 1
    assert np.abs(change).max() <= amount + 0.011  # two roundings of a level
    assert change.min() < -0.8 * amount and change.max() > 0.8 * amount


def tones(picture: NDArray) -> tuple[float, float]:
    """(contrast, saturation), each whatever the brightness and the other one are."""
    values = picture.astype(float)
    light = values @ [0.299, 0.587, 0.114]
    return light.std() / light.mean(), (values - light[..., None]).std() / light.std()


def test_jitter_changes_contrast_and_saturation_by_up_to_its_share() -> None:
    muted = PHOTO.point([80 + level // 3 for level in range(256)] * 3)  # nothing is clipped
    how = Augmentation(crop="none", flip=False, jitter=0.2)
    plain = tones(view(AS_IT_IS, image=muted))
    made = [tones(view(how, (0, 0, index), muted)) for index in range(100)]
    for figures in np.array(made).T / np.array(plain)[:, None]:
        assert 0.78 < figures.min() < 0.84 and 1.16 < figures.max() < 1.22


def test_a_grey_view_is_jittered_too() -> None:
    how = Augmentation(crop="none", flip=False, jitter=0.2)
    views = [view(how, (0, 0, index), record=GREY) for index in range(20)]
    assert np.std([made.mean() for made in views]) > 5


def test_a_policy_and_erasing_change_views_and_can_be_made_again() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    plain = Augmentation(jitter=0.0)
    seen = {}
    for how in (
        plain,
        Augmentation(jitter=0.0, policy="randaugment", operations=3, magnitude=20),
        Augmentation(jitter=0.0, policy="trivialaugment"),
        Augmentation(jitter=0.0, erasing=1.0),
    ):
        views = [augment(image, how, record, (32, 32), generator(0, 0, i)) for i in range(20)]
        again = [augment(image, how, record, (32, 32), generator(0, 0, i)) for i in range(20)]
        assert np.array_equal(views, again)
        seen[how] = np.stack(views)
    for how, views_ in seen.items():
        differing = (views_ != seen[plain]).any((1, 2, 3)).sum()
        assert differing == 0 if how == plain else differing >= 14
    # What is erased is one rectangle; nothing else of the view is touched.
    for erased, before in zip(seen[how], seen[plain], strict=True):
        rows, columns = np.nonzero((erased != before).any(-1))
        if len(rows):
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert area >= len(rows) > 0.9 * area and 0.01 < area / 32**2 < 0.4


@pytest.mark.parametrize(
    "values, message",
    [
        ({"operations": 15}, "operations 15 must be from 0 to 14"),
        ({"magnitude": 31}, "magnitude 31 must be from 0 to 30"),
        ({"erasing": 1.5}, "erasing 1.5 must be from 0 to 1"),
        ({"crop_least": 0.0}, "crop_least 0.0 must be above 0, at most 1"),
        ({"jitter": 1.0}, "jitter 1.0 must be at least 0 and below 1"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Augmentation(**values)


def test_every_pixel_is_erased_now_and_then() -> None:
    how = Augmentation("none", flip=False, jitter=0.0, erasing=1.0)
    blank = Image.new("RGB", (32, 24))
    record = Preprocessing(size=(24, 32), resize=(24, 32))
    hits = np.zeros((24, 32), int)
    for index in range(1500):
        hits += augment(blank, how, record, (24, 32), generator(0, 0, index)).any(-1)
    assert hits[0].min() > 0 and hits[-1].min() > 0
    assert hits[:, 0].min() > 0 and hits[:, -1].min() > 0
