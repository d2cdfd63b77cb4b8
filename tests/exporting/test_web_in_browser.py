"""The exported page in Chromium, from a server of files alone: it answers as Python does."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.formats import WEB
from mobilenetv2.serving.page_files import missing_vendor

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: the extra 'clients' has it"
)
CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
}  # fmt: skip
"""The headers that README.txt in the folder calls optional."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
    ),
    pytest.mark.skipif(
        bool(missing_vendor()), reason="files of other projects are missing: make web"
    ),
    pytest.mark.skipif(
        bool(WEB.missing()), reason="LiteRT is not installed: the extra 'litert' has it"
    ),
]


@contextmanager
def served(folder: Path, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Address of a folder, as ``python -m http.server`` serves it, and what was asked of it."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            asked.append(f"{self.command} {self.path} {int(code)}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a web host, with the page in a folder of it."""
    folder = tmp_path_factory.mktemp("host")
    mn.export("embedded", folder / "our photos", format="web")
    return folder


def shown(page: Any) -> dict[str, list[tuple[str, float]]]:
    """Labels and probabilities on the page by the name of the photo."""
    return {
        str(card.locator(".card-name").inner_text()): [
            (str(row.get_attribute("data-label")), float(row.get_attribute("data-probability")))
            for row in card.locator(".bar-row").all()
        ]
        for card in page.locator(".card").all()
    }


@pytest.mark.parametrize("headers", [{}, ISOLATED], ids=["plain", "isolated"])
def test_the_folder_answers_in_a_browser_as_python_does(
    headers: dict[str, str],
    host: Path,
    photo_folder: Callable[[Path, int], Path],
    tmp_path: Path,
) -> None:
    photos = []
    for path in sorted(photo_folder(tmp_path / "photos", 2).rglob("*.jpg"))[:3]:
        photos.append(tmp_path / f"{path.parent.name}.png")
        with Image.open(path) as picture:  # browsers and Pillow decode JPEG a little differently
            picture.save(photos[-1])
    errors: list[str] = []
    foreign: list[str] = []
    with served(host, headers) as (root, asked), playwright.sync_playwright() as tool:
        own = (root, f"blob:{root}")
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS])
        try:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on(
                "request", lambda one: None if one.url.startswith(own) else foreign.append(one.url)
            )
            page.goto(f"{root}our%20photos/")
            page.locator(".drop input[type=file]").set_input_files(photos)
            done = page.locator(".answer[data-place=device][data-state=done]")
            done.nth(len(photos) - 1).wait_for()
            found = shown(page)
            page.locator(".heat-toggle").first.click()
            page.locator(".card-picture.heat").wait_for()
            state = page.locator(".device-state").first.inner_text()
            isolated = page.evaluate("crossOriginIsolated")
        finally:
            browser.close()
    assert (errors, foreign) == ([], [])
    assert asked and not [line for line in asked if not line.endswith((" 200", " 304"))]
    assert isolated == bool(headers)
    assert "WebAssembly" in state
    assert ("one thread" not in state) == (isolated and (os.cpu_count() or 1) > 1), state
    classify = mn.Classifier(host / "our photos" / "device" / "embedded" / "model.tflite")
    assert found.keys() == {photo.name for photo in photos}
    for photo in photos:
        right = classify(photo).top(5)
        labels, values = zip(*found[photo.name], strict=True)
        assert list(labels) == [one.label for one in right]
        assert list(values) == pytest.approx([one.probability for one in right], abs=1e-5)
