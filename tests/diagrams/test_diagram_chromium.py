"""Diagrams in a real browser: no text cut off, none over another, legible on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser

import mobilenetv2 as mn
from mobilenetv2.diagrams.drawing import CLASS
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; test_block estimates the widths"),
]
MEASURE = """
[...document.querySelectorAll('svg')].map((svg) => {
  const view = svg.viewBox.baseVal, lines = [...svg.querySelectorAll('text')];
  const boxes = lines.map((line) => line.getBBox());
  const scale = svg.getBoundingClientRect().width / view.width;
  return {
    out: lines.filter((_, i) => boxes[i].x < 8 || boxes[i].x + boxes[i].width > view.width - 8
      || boxes[i].y < 4 || boxes[i].y + boxes[i].height > view.height - 4)
      .map((line) => line.textContent),
    over: lines.filter((_, i) => boxes.some((other, j) => j < i
      && boxes[i].x < other.x + other.width && other.x < boxes[i].x + boxes[i].width
      && boxes[i].y + 2 < other.y + other.height && other.y + 2 < boxes[i].y + boxes[i].height))
      .map((line) => line.textContent),
    signs: [...svg.querySelectorAll('rect.sum')].every((sign) => {
      const box = sign.getBBox();
      return boxes.some((b) => b.x > box.x && b.x + b.width < box.x + box.width
        && b.y > box.y && b.y + b.height < box.y + box.height);
    }),
    size: scale * Math.min(...lines.map((line) => parseFloat(line.getAttribute('font-size')))),
    widths: lines.map((line, i) => [line.textContent, boxes[i].width]),
    ink: getComputedStyle(lines[0]).fill,
    paper: getComputedStyle(svg.querySelector('.paper')).fill,
  };
})
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def page(folder: Path, specs: list[NetworkSpec]) -> Path:
    """A page with the networks, and the first, second and last block of each stage."""
    made = []
    for spec in specs:
        made.append(mn.diagram(spec))
        blocks = resolve(spec).blocks
        some = {0, 1, 2, len(blocks) - 1} & set(range(len(blocks)))
        made += [mn.diagram(spec, block=index) for index in sorted(some)]
    path = folder / "diagrams.html"
    head = (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    path.write_text(f"{head}<title>d</title>{''.join(map(str, made))}", "utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_text_is_cut_off(
    browser: Browser, every_spec: list[NetworkSpec], tmp_path: Path, width: int, scheme: str
) -> None:
    browser.open(page(tmp_path, every_spec), width, scheme)
    assert browser.fetched() == [] and browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    measured: list[dict[str, Any]] = browser.value(MEASURE)
    assert len(measured) > 3 * len(every_spec)
    for one in measured:
        assert one["out"] == one["over"] == [] and one["signs"] and one["size"] >= 11
        levels = [[int(level) for level in one[name][4:-1].split(",")] for name in ("ink", "paper")]
        ink, paper = (sum(three) / 3 for three in levels)
        assert ink > 200 and paper < 60 if scheme == "dark" else ink < 60 and paper > 200


def test_a_text_that_is_cut_off_is_caught(browser: Browser, tmp_path: Path) -> None:
    path = page(tmp_path, [NetworkSpec()])
    path.write_text(path.read_text("utf-8").replace(">Average pooling<", f">{'Average ' * 9}<"))
    browser.open(path, 390)
    assert browser.value(MEASURE)[0]["out"] == ["Average " * 9]


def test_its_estimate_is_no_less_than_the_browsers_width(
    browser: Browser, every_spec: list[NetworkSpec], tmp_path: Path
) -> None:
    from mobilenetv2.diagrams.lettering import text_width

    browser.open(page(tmp_path, every_spec[:3]))
    for one in browser.value(MEASURE):
        for text, width in one["widths"]:
            assert width <= text_width(text, 16, bold=True) + 1


def test_a_reader_of_the_page_gets_its_name_and_description(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(page(tmp_path, [NetworkSpec()]))
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    images = [node for node in nodes if node.get("role", {}).get("value") == "image"]
    images = images or [node for node in nodes if node.get("role", {}).get("value") == "img"]
    found = mn.diagram()
    assert images[0]["name"]["value"] == found.title.replace("\u00a0", " ")
    assert images[0]["description"]["value"] == found.description.replace("\u00a0", " ")
    assert CLASS in browser.value("document.querySelector('svg').getAttribute('class')")
