"""The page in a real browser: nothing fetched, nothing to complain of, nothing too wide."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

from mobilenetv2.evaluation.report.page import write_page
from mobilenetv2.evaluation.report.result import Result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; test_page reads the page's markup"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def report(make_result: Callable[..., Result], trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "a report.html"
    write_page(path, make_result({"temperature": 0.5}), trained / "best", notes=["A note."])
    return path


def test_a_page_that_fetches_and_complains_is_caught(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x'><script>console.error('no')</script>")
    browser.open(path)
    assert browser.fetched() == ["http://127.0.0.1:9/x"]
    assert browser.complaints()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_fetches_nothing_and_has_nothing_to_say(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    browser.open(report, width, scheme)
    assert browser.fetched() == [] and browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.value("[...document.images].every((i) => i.complete && i.naturalWidth)")
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in paper.removeprefix("rgb(").removesuffix(")").split(",")]
    assert all(level < 60 if scheme == "dark" else level > 200 for level in levels)


def test_long_names_of_classes_do_not_widen_the_page(
    browser: Browser, make_result: Callable[..., Result], trained: Path, tmp_path: Path
) -> None:
    names = ("supercalifragilisticexpialidocious-thing", "b" * 60, "猫" * 40)
    path = tmp_path / "long.html"
    write_page(path, make_result(names=names), trained / "best")
    browser.open(path, 390)
    assert names[0] in browser.value("document.querySelector('table.classes').textContent")
    assert browser.value("document.querySelector('.confused li') !== null")
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(
    browser: Browser, report: Path
) -> None:
    browser.open(report)
    names = "[...document.querySelectorAll('table.classes tbody th')].map((e) => e.textContent)"
    click = "document.querySelector('table.classes thead button').click()"
    browser.value(click)
    assert browser.value(names) == ["ball", "box", "triangle"]
    browser.value(click)
    assert browser.value(names) == ["triangle", "box", "ball"]
    assert browser.complaints() == []


def test_it_prints_on_a_few_sheets_of_paper(browser: Browser, report: Path) -> None:
    import base64

    browser.open(report, scheme="dark")
    printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF") and 1 <= printed.count(b"/Type /Page\n") <= 12
