"""Sheets of pictures with captions."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.images.sheet import (
    GAP,
    MARGIN,
    TITLE,
    UNDER,
    Legend,
    Tile,
    _wide,
    legible,
    sheet,
    wrapped,
)

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
