"""The page of a server in a real Chromium, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mobilenetv2.serving
from mobilenetv2.serving.page_files import missing_vendor

CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PAGE = Path(mobilenetv2.serving.__file__).parent / "page"
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
IMITATED_GPU = (
    *(option for option in OPTIONS if option != "--disable-gpu"),
    "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
)  # fmt: skip
"""Options with WebGPU, by a GPU that the processor imitates."""
PATIENCE = 60_000
"""Longest wait for what the page does, in milliseconds."""
CAMERAS = """
window.cameras = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  window.cameras.push(...stream.getTracks());
  return stream;
};
"""
"""Script that notes the page's cameras, so that a test can see that they have ended."""
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, text, type] of files) {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  return transfer;
}"""
"""Script that returns what a drop or the clipboard holds; contents are in base64."""


def lacking() -> str:
    """Return why the page cannot be tested here, with the line that changes it; '' if it can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: pip install playwright"
    if CHROMIUM is None:
        return "chromium is not installed: apt-get install chromium"
    if missing_vendor():
        return "files of other makers are missing: make web"
    return "" if AXE.is_file() else "web/node_modules/axe-core is missing: make web"


class Opened:
    """A page in the browser, with what it asked for and what its console said."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.requests: list[Any] = []
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self._address = address
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request: Any) -> None:
        self.requests.append(request)
        if not request.url.startswith((self._address, "blob:", "data:")):
            self.foreign.append(request.url)

    def posts(self) -> list[str]:
        """Return the routes that something was sent to."""
        sent = [one for one in self.requests if one.method != "GET" or one.post_data_buffer]
        return [one.url.removeprefix(self._address).partition("?")[0] for one in sent]

    def until(self, script: str, true: Callable[[Any], object] = bool) -> Any:
        """Wait for the value of a script; the page's policy forbids Playwright's own wait."""
        for _ in range(PATIENCE // 50):
            value = self.page.evaluate(script)
            if true(value):
                return value
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{script} did not come true")

    def choose(self, *photos: Path) -> None:
        """Choose photos by the page's button."""
        self.page.locator(".drop input").set_input_files(list(photos))

    def place(self, name: str) -> None:
        """Choose where photos are computed: 'server', 'device' or 'both'."""
        self.page.locator(f"label[for=place-{name}]").click()

    def answers(self, place: str, count: int) -> dict[str, dict[str, float]]:
        """Return the probabilities of a number of photos by name and label, when all are there."""
        done = self.page.locator(f".answer[data-place={place}][data-state=done]")
        done.nth(count - 1).wait_for()
        found = {}
        for card in self.page.locator(".card").all():
            rows = card.locator(f".answer[data-place={place}] .bar-row").all()
            if rows:
                found[card.locator(".card-name").inner_text()] = {
                    str(row.get_attribute("data-label")): float(
                        row.get_attribute("data-probability")
                    )
                    for row in rows
                }
        return found

    def violations(self) -> list[str]:
        """Return what axe-core finds of the page as it is now."""
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]


@contextmanager
def browsers() -> Iterator[Callable[..., Any]]:
    """A function that starts a Chromium, with other options if any are given; all end with this."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool, ExitStack() as stack:

        def launch(options: Sequence[str] = OPTIONS) -> Any:
            made = tool.chromium.launch(executable_path=CHROMIUM, args=[*options])
            stack.callback(made.close)
            return made

        yield launch


@contextmanager
def opened(
    chromium: Any,
    address: str,
    *,
    prepare: Callable[[Any], None] = lambda page: None,
    statuses: Sequence[int] = (),
    ready: str = ".drop",
    **options: Any,
) -> Iterator[Opened]:
    """The page at an address, which says no error on its console and asks no other host.

    Args:
        chromium: the browser.
        address: the page's address, with a slash at its end.
        prepare: called with the page before it is loaded.
        statuses: statuses of failures that the test wants; Chromium notes each on the console.
        ready: what to wait for.
        options: of the browser's context, such as locale="zh-CN".
    """
    context = chromium.new_context(permissions=["camera"], **{"locale": "en-GB"} | options)
    try:
        context.add_init_script(CAMERAS)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        prepare(page)
        made = Opened(page, address)
        page.goto(address)
        page.locator(ready).first.wait_for()
        yield made
        wanted = tuple(f"the server responded with a status of {status}" for status in statuses)
        unexpected = [one for one in made.errors if not any(text in one for text in wanted)]
        assert (unexpected, made.foreign) == ([], [])
    finally:
        context.close()
