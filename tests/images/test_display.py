"""Images for people: encoded files, enlarged images, sheets with captions."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.images.display import (
    GAP,
    MARGIN,
    SMALL,
    TITLE,
    UNDER,
    Legend,
    Tile,
    _wide,
    data_url,
    enlarge_picture,
    enlarge_smoothly,
    jpeg,
    legible,
    png,
    sheet,
    sheet_of_rows,
    wrapped,
)


def smooth(height: int, width: int, channels: int = 3) -> NDArray:
    rows, columns = np.mgrid[:height, :width]
    planes = [120 + 60 * np.sin((rows + k * columns) / 30) for k in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_nearly_as_it_was(channels: int) -> None:
    picture = smooth(90, 60, channels)
    with Image.open(io.BytesIO(jpeg(picture))) as image:
        assert (image.format, image.size) == ("JPEG", (60, 90))
        assert image.mode == ("L" if channels == 1 else "RGB")
        found = np.asarray(image).reshape(picture.shape)
    assert np.abs(found.astype(int) - picture).mean() < 3


def test_only_large_pictures_are_made_smaller_and_keep_their_shape() -> None:
    for size, expected in (((50, 100), (32, 16)), ((100, 50), (16, 32)), ((20, 20), (20, 20))):
        with Image.open(io.BytesIO(jpeg(smooth(*size), 32))) as image:
            assert image.size == expected


def test_an_address_holds_the_same_file() -> None:
    start, _, text = data_url(smooth(SMALL, 8)).partition(",")
    assert start == "data:image/jpeg;base64"
    assert base64.b64decode(text, validate=True) == jpeg(smooth(SMALL, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_picture_is_shown_pixel_by_pixel(channels: int) -> None:
    shape = (32, SMALL - 1, channels)
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    start, _, text = data_url(picture).partition(",")
    assert start == "data:image/png;base64"
    assert base64.b64decode(text, validate=True) == png(picture)
    with Image.open(io.BytesIO(png(picture))) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(shape), picture)
    assert data_url(picture, most=SMALL - 2).startswith("data:image/jpeg")  # it is made smaller


def test_part_of_a_larger_array_is_taken_as_it_is() -> None:
    picture = smooth(40, 40)
    assert jpeg(picture[::2, ::-1]) == jpeg(picture[::2, ::-1].copy())


def test_a_small_picture_keeps_its_squares() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    found = enlarge_picture(picture, 288)
    np.testing.assert_array_equal(found, picture.repeat(9, 0).repeat(9, 1))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((224, 224), (288, 288)),
        ((500, 250), (288, 144)),
        ((288, 3), (288, 3)),
        ((1, 900), (1, 288)),
    ],
)
def test_the_longer_side_is_as_asked(shape: tuple[int, int], size: tuple[int, int]) -> None:
    found = enlarge_picture(np.full((*shape, 3), 77, np.uint8), 288)
    assert found.shape == (*size, 3) and (found == 77).all()


def test_grey_becomes_three_channels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8)
    found = enlarge_picture(picture, 64)
    assert found.shape == (64, 64, 3) and (found == found[..., :1]).all()


def test_heat_is_smooth_and_stays_within_its_range() -> None:
    values = np.zeros((7, 7), np.float32)
    values[3, 3] = 1
    found = enlarge_smoothly(values, 224, 280)
    assert found.shape == (224, 280) and found.dtype == np.float32
    assert found.min() >= 0 and 0.95 < found.max() <= 1
    assert np.abs(np.diff(found, axis=0)).max() < 0.06
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)
    assert np.unravel_index(found.argmax(), found.shape)[0] in range(110, 114)
    assert (enlarge_smoothly(np.full((1, 1), 0.25), 5, 6) == 0.25).all()


RED = np.zeros((40, 200, 3), np.uint8) + np.array([200, 10, 10], np.uint8)


def opened(data: bytes) -> NDArray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image)


def test_pictures_stand_side_by_side_in_rows_of_four() -> None:
    found = opened(sheet([Tile(RED, f"number {i}", "90.0%") for i in range(6)]))
    red = (found == RED[0, 0]).all(2)
    assert red.sum() == 6 * RED.shape[0] * RED.shape[1]
    assert found.shape[1] == 2 * MARGIN + 4 * 200 + 3 * GAP
    for place in range(4):
        left = MARGIN + place * (200 + GAP)
        assert red[MARGIN : MARGIN + 40, left : left + 200].all()
    assert (found[:MARGIN] == 255).all() and (found[-MARGIN // 2 :] == 255).all()


def test_a_caption_is_under_its_picture_and_a_legend_under_all() -> None:
    def dark(image: NDArray) -> NDArray:
        return np.asarray((image < 128).all(2))

    bare, named = (opened(sheet([Tile(RED, name)])) for name in ("", "a name"))
    assert not dark(bare).any()
    rows = np.flatnonzero(dark(named).any(1))
    assert rows.min() >= MARGIN + 40 + UNDER and rows.max() < MARGIN + 40 + UNDER + TITLE * 1.3
    strip = np.array([[0, 0, 255], [0, 255, 0]], np.uint8)
    legend = Legend("what it is", strip, "little", "much")
    with_legend = opened(sheet([Tile(RED, "a name")], legend))
    assert with_legend.shape[0] > named.shape[0] and with_legend.shape[1] == named.shape[1]
    for colour in strip:
        places = np.flatnonzero((with_legend == colour).all(2).any(1))
        assert places.min() > rows.max()


def test_letters_that_the_font_lacks_are_replaced_not_drawn_as_boxes() -> None:
    assert legible("Crème  brûlée\nfür $_$ <b>") == "Creme brulee fur $_$ <b>"
    assert legible("カメラ 7") == "??? 7"
    assert legible("a\u202eb\x00c") == "abc"


@given(st.text(max_size=200), st.integers(60, 400))
def test_any_name_is_wrapped_into_its_width(text: str, width: int) -> None:
    lines = wrapped(text, TITLE, width)
    assert len(lines) <= 2
    assert all(_wide(line, TITLE) <= width for line in lines)
    if legible(text).strip() and _wide(legible(text).strip(), TITLE) <= width:
        assert " ".join(lines) == " ".join(legible(text).split())


def test_a_long_name_is_cut_and_says_so() -> None:
    lines = wrapped("a very long name of a class that does not end " * 3, TITLE, 200)
    assert len(lines) == 2 and lines[1].endswith("…") and not lines[0].endswith("…")
    (one, two) = wrapped("W" * 90 + " end", TITLE, 200)
    assert one.endswith("…") and two == "end"


@pytest.mark.parametrize("shape", [(1, 1), (288, 9), (9, 288)])
def test_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    tile = Tile(np.full((*shape, 3), 9, np.uint8), "x" * 400, "日本語" * 90)
    found = opened(sheet([tile, tile]))
    assert (found == 9).all(2).sum() >= 2 * shape[0] * shape[1]


def test_a_sheet_is_rows_of_four() -> None:
    tiles = [Tile(smooth(40, 60) // (1 + index), f"tile {index}") for index in range(6)]
    assert sheet(tiles) == sheet_of_rows([tiles[:4], tiles[4:]])
    with Image.open(io.BytesIO(sheet_of_rows([tiles[:1], tiles]))) as image:
        drawn = np.asarray(image)
    assert drawn.shape[1] == 2 * MARGIN + 6 * 180 + 5 * GAP
    below = MARGIN + 40 + UNDER + round(TITLE * 1.3) + GAP
    for index, tile in enumerate(tiles):
        left = MARGIN + index * (180 + GAP)
        np.testing.assert_array_equal(drawn[below : below + 40, left : left + 60], tile.picture)
