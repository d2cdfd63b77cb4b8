"""The page in a real browser: nothing fetched, nothing to complain of, nothing too wide.

Chromium is driven by its DevTools protocol over a pipe (JSON texts that end in a zero byte).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.evaluation.report.page import write_page
from mobilenetv2.evaluation.report.result import Result

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
PIPES = "import os, sys; i, o = map(int, sys.argv[1:3]); "
# The pipes' own numbers may be 3 or 4: they move away first.
PIPES += "i, o = os.dup2(i, 90), os.dup2(o, 91); os.dup2(i, 3); os.dup2(o, 4); "
PIPES += "os.execv(sys.argv[3], sys.argv[3:])"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; test_page reads the page's markup"),
]


class Browser:
    """A page of a headless Chromium that reaches no host."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        options = [
            CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-c", PIPES, str(theirs_in), str(theirs_out), *options],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._sent, self._rest = 0, b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._sent:
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def fetched(self) -> list[str]:
        """What the page asked for, itself and what it holds left out."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls[1:] if not url.startswith("data:")]

    def complaints(self) -> list[Any]:
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for event in self.events if event.get("method") in kinds]

    def value(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._from, 1 << 20)
            assert data, "Chromium ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


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
