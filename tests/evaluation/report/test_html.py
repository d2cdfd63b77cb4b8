"""The frame of a page: its policy lets a browser run one script, or none, and fetch nothing."""

import base64
import hashlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.evaluation.report.html import Markup, coordinate, document, element, join


def test_an_element_has_its_children_and_attributes() -> None:
    made = element("a", "x", element("b", "y"), None, ["z", element("br")], href="#k", class_="c")
    assert made == '<a href="#k" class="c">x<b>y</b>z<br></a>'
    assert element("line", x1=1.5, stroke_width=2.0) == '<line x1="1.5" stroke-width="2"></line>'
    assert element("td", hidden=True, title=None, open=False) == "<td hidden></td>"
    assert element("i", attributes={"viewBox": "0 0"}, name="n") == '<i name="n" viewBox="0 0"></i>'


@given(st.text())
def test_whatever_text_comes_stays_text(text: str) -> None:
    import html

    made = element("p", text, title=text)
    assert made.count("<") == 2 and made.count(">") == 2  # the element's own
    assert made.partition(">")[0].count('"') == 2
    made.encode("utf-8")
    inside = made.partition(">")[2].removesuffix("</p>")
    if text.isprintable():
        assert html.unescape(inside) == text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '" onload="x', "a & b", "\x00\x08\udcff", "</style>"]
)
def test_markup_in_names_is_shown_and_not_obeyed(text: str, parse: Callable[[str], Any]) -> None:
    page = parse(element("div", element("b", text, title=text)))
    assert [name for name, _ in page.elements] == ["div", "b"]
    if text.isprintable():
        assert page.text() == text and page.of("b")[0] == {"title": text}


def test_only_markup_is_taken_as_it_is() -> None:
    assert join([Markup("<i></i>"), "<i>"]) == "<i></i>&lt;i&gt;"


@given(st.floats(-1e6, 1e6))
def test_numbers_are_short_and_near(value: float) -> None:
    text = coordinate(value)
    assert abs(float(text) - value) <= 0.005 + 1e-9
    assert not text.endswith(".") and text != "-0"
    assert math.isfinite(float(text))


def test_no_script_may_run_where_none_is_given() -> None:
    page = document("<title>", element("body", "a & b"))
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>&lt;title&gt;</title>" in page and "a &amp; b" in page
    assert "default-src 'none'" in page.replace("&#39;", "'").replace("&#x27;", "'")
    assert "script-src" not in page


def test_only_the_given_script_may_run() -> None:
    script = "document.title = 'x';"
    page = document("t", element("body", element("script", Markup(script))), ".x{}", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}" in page and ".x{}" in page
