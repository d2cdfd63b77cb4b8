"""Widths of text: the table against the font, and lines that are not wider than asked."""

import string
from pathlib import Path

import pytest
from PIL import ImageFont

from mobilenetv2.diagrams.lettering import ADVANCES, BOLD, WIDEST, broken, text_width

LETTERS = string.ascii_letters + string.digits + string.punctuation + " \u00a0\u00d7→·…"


@pytest.fixture(scope="module")
def fonts() -> Path:
    """Folder of DejaVu Sans, which matplotlib brings along."""
    matplotlib = pytest.importorskip("matplotlib", reason="no matplotlib, which has the font")
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def test_the_table_has_the_widths_of_the_font(fonts: Path) -> None:
    regular = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), 1000)
    assert set(ADVANCES) == set(LETTERS)
    for letter, width in ADVANCES.items():
        assert 1000 * width == pytest.approx(regular.getlength(letter), abs=0.51), letter


def test_a_text_is_never_wider_than_its_estimate(fonts: Path) -> None:
    for name, bold in (("DejaVuSans.ttf", False), ("DejaVuSans-Bold.ttf", True)):
        font = ImageFont.truetype(str(fonts / name), 100)
        for text in (*LETTERS, "Stage 2: t = 6, c = 24, n = 2, s = 2", "ẞ", "ü"):
            estimated = text_width(text, 100, bold)
            assert font.getlength(text) <= estimated + 0.1, text
    assert text_width("猫", 10) == 10 * WIDEST and text_width("", 10) == 0
    assert text_width("ab", 10, bold=True) == pytest.approx(BOLD * text_width("ab", 10))


@pytest.mark.parametrize("width", [12.0, 40.0, 90.0, 1000.0])
def test_no_line_is_wider_than_asked(width: float) -> None:
    text = "1\u00a0\u00d7\u00a01 convolution, BatchNorm, linear and supercalifragilistic"
    lines = broken(text, 12, width)
    assert all(0 < text_width(line, 12) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if width >= 90:
        assert lines[0].startswith("1\u00a0\u00d7\u00a01")  # no line ends inside a size


def test_words_stay_whole_where_they_fit() -> None:
    assert broken("one two three", 10, 50) == ["one two", "three"]
    assert broken("", 10, 50) == [""]
    assert broken("one", 10, 1) == ["o", "n", "e"]
