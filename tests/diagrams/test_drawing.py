"""The SVG file: valid XML, colours for both schemes, nothing that reaches other parts of a page."""

import re
import xml.etree.ElementTree as ET

import pytest

from mobilenetv2.diagrams.drawing import CLASS, DARK, LIGHT, SMALL, WIDTH, Drawing

SVG = "{http://www.w3.org/2000/svg}"


def test_every_text_is_escaped() -> None:
    drawing = Drawing()
    text = "<b a=\"1\">&amp; ]]> 'x' \x00\x1b"
    drawing.text(text, 10, 10, 300)
    root = ET.fromstring(drawing.svg(text, text, 50))
    shown = text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert root.findtext(f"{SVG}title") == root.findtext(f"{SVG}desc") == shown
    assert [one.text for one in root.iter(f"{SVG}text")] == [shown]


def test_it_is_an_image_with_a_name_and_a_description() -> None:
    made = Drawing().svg("a network", "its layers", 120)
    root = ET.fromstring(made)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    assert [one.tag for one in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    ids = [root[0].get("id"), root[1].get("id")]
    assert [root.get("aria-labelledby"), root.get("aria-describedby")] == ids
    assert root.get("viewBox") == f"0 0 {WIDTH:g} 120"
    other = Drawing().svg("a network", "other layers", 120)
    assert str(ids[0]) not in other  # two diagrams on one page have different ids
    assert made.endswith("</svg>\n") and "path" not in re.sub("<style>.*</style>", "", made)


def test_the_style_is_for_this_diagram_only() -> None:
    style = ET.fromstring(Drawing().svg("t", "d", 50)).findtext(f"{SVG}style") or ""
    light, dark = style.split("@media(prefers-color-scheme:dark)")
    for rules in (light, dark.removeprefix("{")):
        selectors = re.findall(r"([^{}]+){[^{}]*}", rules)
        assert selectors and all(one.startswith(f".{CLASS}") for one in selectors)
    assert LIGHT.keys() == DARK.keys()
    for colours, rules in ((LIGHT, light), (DARK, dark)):
        for name, rule in colours.items():
            assert f".{CLASS} .{name}{{{rule}}}" in rules


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    levels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    return sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_the_paper(colours: dict[str, str]) -> None:
    def contrast(name: str, of: str) -> float:
        found = re.search(rf"{of}:#(\w+)", colours[name])
        paper = re.search(r"fill:#(\w+)", colours["paper"])
        assert found and paper
        low, high = sorted(_luminance(one[1]) for one in (found, paper))
        return (high + 0.05) / (low + 0.05)

    assert contrast("text", "fill") > 7 and contrast("soft", "fill") > 4.5
    for name in ("front", "dense", "depthwise", "flow", "shortcut", "sum"):
        assert contrast(name, "stroke") > 3, name


def test_text_is_broken_and_its_bottom_returned() -> None:
    drawing = Drawing()
    bottom = drawing.text(["one two three four", "five"], 10, 20, 60, SMALL, bold=True, middle=True)
    lines = [ET.fromstring(str(one)) for one in drawing.parts]
    assert " ".join(one.text or "" for one in lines) == "one two three four five"
    assert len(lines) > 3 and {one.get("text-anchor") for one in lines} == {"middle"}
    assert {one.get("class") for one in lines} == {"text bold"}
    assert bottom == pytest.approx(20 + len(lines) * SMALL * 1.3)


def test_an_arrow_has_its_tip_where_it_ends() -> None:
    for end, back in (((50, 90), 84), ((50, 10), 16)):
        drawing = Drawing()
        drawing.arrow((50, 50), end)
        line, tip = (ET.fromstring(str(one)).attrib for one in drawing.parts)
        assert line["d"] == f"M50 50L{end[0]} {end[1]}" and line["class"] == "flow"
        assert tip["d"] == f"M50 {end[1]}L46.5 {back}L53.5 {back}Z" and tip["class"] == "tip"
    drawing = Drawing()
    drawing.arrow((90, 50), (20, 50), class_="shortcut", dashed=True)
    line, tip = (ET.fromstring(str(one)).attrib for one in drawing.parts)
    assert line["class"] == "shortcut dashed"
    assert (tip["class"], tip["d"]) == ("shortcut-tip", "M20 50L26 46.5L26 53.5Z")


def test_an_arc_rises_as_high_as_asked() -> None:
    drawing = Drawing()
    drawing.arc(10, 40, 50, 15)
    start, *numbers = re.findall(r"[\d.]+", ET.fromstring(str(drawing.parts[0])).attrib["d"])
    heights = [float(number) for number in numbers[0::2]]
    middle = (heights[0] + 3 * heights[1] + 3 * heights[2] + heights[3]) / 8
    assert start == "10" and middle == pytest.approx(50 - 15)
