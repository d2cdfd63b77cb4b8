import io
from collections.abc import Callable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode, read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Interpolation, Preprocessing

FILTERS = get_args(Interpolation)
GREY: dict[str, Any] = {"mean": (127.5,), "std": (127.5,)}


def noise(height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(height * 1000 + width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def places(height: int, width: int) -> Image.Image:
    """Each pixel holds its own row and column, so that a crop tells where it was."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.dstack([rows, columns, rows * 0]))


def middle(image: Image.Image, width: int, height: int) -> Image.Image:
    """Half a pixel goes to the even side, as Python and torchvision round."""
    left, top = round(Fraction(image.width - width, 2)), round(Fraction(image.height - height, 2))
    return image.crop((left, top, left + width, top + height))


def plainly(image: Image.Image, record: Preprocessing) -> NDArray:
    """The same, spelled out with exact fractions and always with every step."""
    if len(record.mean) == 1:
        image = image.convert("L")
    kept = [max(1, round(side * record.central_fraction)) for side in image.size]
    image = middle(image, kept[0], kept[1])
    height, width = record.resize
    if record.fit == "cover":
        scale = max(Fraction(width, image.width), Fraction(height, image.height))
        whole = floor if width == height else round  # as torchvision, or as timm
        width, height = whole(image.width * scale), whole(image.height * scale)
    image = image.resize((width, height), Image.Resampling[record.interpolation.upper()])
    picture = np.array(middle(image, record.size[1], record.size[0]))
    return picture if picture.ndim == 3 else picture[:, :, None]


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(FILTERS), st.sampled_from(["cover", "stretch"]), st.booleans())
def test_any_record_on_any_picture_agrees_with_plain_pillow(
    data: st.DataObject, interpolation: Interpolation, fit: Literal["cover", "stretch"], grey: bool
) -> None:
    sides = st.integers(1, 60)
    size, margin = data.draw(st.tuples(sides, sides)), data.draw(st.tuples(sides, sides))
    resize = (size[0] + margin[0] - 1, size[1] + margin[1] - 1)
    fraction = data.draw(st.sampled_from([1.0, 0.875, 0.5, 0.01]) | st.floats(0.01, 1))
    colour: dict[str, Any] = GREY if grey else {}
    record = Preprocessing(size, resize, fit, fraction, interpolation, **colour)
    image = noise(data.draw(st.integers(4, 80)), data.draw(st.integers(4, 80)))
    found = preprocess(image, record)
    assert found.dtype == np.uint8
    assert found.shape == (*size, 1 if grey else 3)
    assert np.array_equal(found, plainly(image, record))


@pytest.mark.parametrize(
    ("picture", "resized"),  # (height, width); the shorter side becomes 32
    [((64, 64), (32, 32)), ((50, 100), (32, 64)), ((100, 50), (64, 32)), ((60, 77), (32, 41))],
)
def test_cover_keeps_the_aspect_ratio(picture: tuple[int, int], resized: tuple[int, int]) -> None:
    image = noise(*picture)
    whole = image.resize(resized[::-1], Image.Resampling.BILINEAR)
    found = preprocess(image, Preprocessing((32, 32), (32, 32)))
    assert np.array_equal(found, np.asarray(middle(whole, 32, 32)))


@pytest.mark.parametrize(
    ("margin", "first"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (7, 4)]
)
def test_an_odd_remainder_is_cropped_to_the_even_side(margin: int, first: int) -> None:
    side = 20 + margin
    found = preprocess(places(side, side), Preprocessing((20, 20), (side, side)))
    assert found[0, 0].tolist() == [first, first, 0]
    assert found[-1, -1].tolist() == [first + 19, first + 19, 0]


def test_the_central_fraction_is_kept_of_each_side() -> None:
    record = Preprocessing((30, 50), (30, 50), "stretch", central_fraction=0.5)
    found = preprocess(places(60, 100), record)
    assert found[0, 0].tolist() == [15, 25, 0]
    assert found[-1, -1].tolist() == [44, 74, 0]


def test_each_interpolation_is_its_own_and_antialiased() -> None:
    image = noise(64, 64)
    records = [Preprocessing((16, 16), (16, 16), interpolation=name) for name in FILTERS]
    assert len({preprocess(image, record).tobytes() for record in records}) == len(FILTERS) == 5
    blocks = np.asarray(image).reshape(16, 4, 16, 4, 3).mean((1, 3))
    box = preprocess(image, records[FILTERS.index("box")])
    assert np.abs(box - blocks).max() <= 1  # half a level for each side that is rounded
    stripes = Image.fromarray((np.arange(64) % 2 * 255).astype(np.uint8)[None].repeat(64, 0))
    for record in records[1:]:  # all but nearest see both colours of a stripe
        found = preprocess(stripes.convert("RGB"), record)[:, 2:-2]
        assert np.abs(found.astype(int) - 127.5).max() <= 1


def test_a_small_picture_is_enlarged() -> None:
    record = Preprocessing((48, 48), (48, 48), interpolation="nearest")
    found = preprocess(places(4, 4), record)
    assert np.array_equal(found[..., 0], np.arange(4).repeat(12)[:, None].repeat(48, 1))
    assert np.array_equal(found[..., 1], np.arange(4).repeat(12)[None].repeat(48, 0))


def test_a_strip_is_too_long_to_cover_but_can_be_stretched() -> None:
    strip = Image.new("RGB", (100_000, 4), "red")
    with pytest.raises(ImageError, match=r"^strip\.png: 100,000 x 4 pixels.*too long and narrow"):
        preprocess(strip, Preprocessing(), "strip.png")
    with pytest.raises(ImageError, match=r"^strip\.png: 4 x 100,000 pixels"):
        preprocess(strip.transpose(Image.Transpose.ROTATE_90), Preprocessing(), "strip.png")
    assert preprocess(strip, Preprocessing(fit="stretch")).tolist() == [[[255, 0, 0]] * 224] * 224


def test_one_channel_weighs_the_colours_as_the_eye_does() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]] * 4, np.uint8)
    found = preprocess(Image.fromarray(colours), Preprocessing((4, 4), (4, 4), **GREY))
    assert found.shape == (4, 4, 1)
    assert found[0, :, 0].tolist() == [76, 150, 29, 9]  # 0.299, 0.587, 0.114


@pytest.mark.parametrize("turn", [(3, 180), (6, 90), (8, 270)])  # EXIF tag, degrees to store it so
def test_a_turned_file_gives_the_bits_of_the_upright_one(turn: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112], degrees = turn
    upright, stored = io.BytesIO(), io.BytesIO()
    noise(37, 61).save(upright, "PNG")
    noise(37, 61).rotate(degrees, expand=True).save(stored, "PNG", exif=exif)
    record = Preprocessing((24, 24), (28, 28), central_fraction=0.875, interpolation="bicubic")
    first, again, turned = (
        preprocess(decode(file.getvalue(), "it"), record) for file in (upright, upright, stored)
    )
    assert first.tobytes() == again.tobytes() == turned.tobytes()


def test_photos_agree_with_plain_pillow(public_folder: Callable[[str], Path]) -> None:
    photos = sorted(public_folder("photos").glob("*.*"))
    assert photos
    slim = Preprocessing(resize=(224, 224), fit="stretch", central_fraction=0.875)
    for photo in photos:
        for record in (Preprocessing(), slim):
            with Image.open(photo) as image:
                expected = plainly(image.convert("RGB"), record)
            assert np.array_equal(preprocess(read_photo(photo), record), expected), photo


def test_without_a_resize_the_centre_is_cut_out_and_a_smaller_picture_is_an_error() -> None:
    record = Preprocessing((20, 30)).unresized()
    image = places(50, 61)
    assert np.array_equal(preprocess(image, record), np.array(middle(image, 30, 20)))
    assert np.array_equal(preprocess(places(20, 30), record), np.array(places(20, 30)))
    for height, width in ((19, 30), (20, 29)):
        with pytest.raises(ImageError, match=rf"p\.jpg: {width} x {height} .* 30 x 20.*enlarge"):
            preprocess(places(height, width), record, "p.jpg")


def test_a_long_strip_is_refused_before_it_is_widened() -> None:
    strip = Image.new("RGB", (4, 1_000_000))
    record = Preprocessing(size=(224, 224), resize=(224, 224), fit="stretch")
    with pytest.raises(ImageError, match=r"strip\.png: .* 896 MB.*too long and narrow"):
        preprocess(strip, record, "strip.png")


@pytest.mark.parametrize(
    ("side", "photo"), [(4096, (4096, 3072)), (2048, (6000, 8000)), (8192, (400, 400))]
)
def test_large_networks_take_photos(side: int, photo: tuple[int, int], monkeypatch: Any) -> None:
    sizes = []

    def resize(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
        sizes.append(size)
        return Image.new("RGB", size)

    monkeypatch.setattr(Image.Image, "resize", resize)
    record = Preprocessing(size=(side, side), resize=(side, side))
    assert preprocess(Image.new("RGB", photo), record).shape == (side, side, 3)
    assert sizes


def test_too_large_for_a_large_network_is_not_called_narrow() -> None:
    record = Preprocessing(size=(8192, 8192), resize=(8192, 8192))
    with pytest.raises(ImageError, match=r"8,000 x 4,000 pixels, .*16,384 x 8,192") as caught:
        preprocess(Image.new("RGB", (8000, 4000)), record, "wide.jpg")
    assert "crop it or make it smaller" in str(caught.value)
    assert "narrow" not in str(caught.value)
