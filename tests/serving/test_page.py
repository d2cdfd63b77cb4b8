"""The page in a real Chromium, against the real server."""

import base64
import contextlib
import functools
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import page_browser
import pytest
from page_browser import DROP, opened
from PIL import Image, ImageOps

import mobilenetv2 as mn
from mobilenetv2.serving.page_files import all_files

Start = Callable[..., AbstractContextManager[httpx.Client]]
Jpeg = Callable[..., bytes]
Files = Callable[..., list[Path]]
LACKING = page_browser.lacking()
ORIENTATION = 0x0112
"""Number of the tag that says how a photo is to be turned."""
ROUNDED = 0.03
"""Largest difference of a probability by weights that are rounded to 8 bits."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking"),
]


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts browsers."""
    with page_browser.browsers() as launch:
        yield launch


@pytest.fixture(scope="module")
def chromium(launch: Callable[..., Any]) -> Any:
    return launch()


@pytest.fixture(scope="module")
def client(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of three models that takes two photos in a request; the last is an exported file."""
    file = tmp_path_factory.mktemp("exported") / "small.onnx"
    mn.export("embedded", file)
    models = {"small": "embedded", "other": "embedded", "exported": file}
    with start(models, photos=2) as client:
        yield client


@pytest.fixture(scope="module")
def address(client: httpx.Client) -> str:
    return f"{str(client.base_url).rstrip('/')}/"


@pytest.fixture
def files(jpeg: Jpeg, tmp_path: Path) -> Files:
    """Makes a number of photos; the smaller ones have answers that are less sure."""

    def make(count: int, side: int = 64) -> list[Path]:
        paths = [tmp_path / f"photo {number}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(jpeg(number, side=side))
        return paths

    return make


def expected(path: Path, top: int | None = None) -> dict[str, float]:
    """The probabilities of :func:`mobilenetv2.predict`."""
    (answer,) = mn.predict([path], model="embedded")
    return {one.label: one.probability for one in answer.top(top or 10)}


def transfer(page: Any, paths: list[Path], kind: str = "image/jpeg") -> Any:
    contents = [(path.name, base64.b64encode(path.read_bytes()).decode(), kind) for path in paths]
    return page.evaluate_handle(DROP, contents)


def test_dropped_photos_are_answered_by_the_server(
    chromium: Any, address: str, files: Files
) -> None:
    paths = files(5, side=16)
    with opened(chromium, address) as made:
        page = made.page
        page.dispatch_event(".drop", "dragenter", {"dataTransfer": transfer(page, paths)})
        assert "over" in page.locator(".drop").get_attribute("class")
        page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, paths)})
        found = made.answers("server", 5)
        assert "over" not in page.locator(".drop").get_attribute("class")
        assert list(found) == [path.name for path in paths]
        for path in paths:
            wanted = expected(path, 5)
            assert list(found[path.name]) == list(wanted)
            np.testing.assert_allclose(
                list(found[path.name].values()), list(wanted.values()), atol=1e-5
            )
        assert made.posts() == ["predict"] * 3  # two photos in each, as the server takes them
        assert page.locator(".count").inner_text() == "Photos: 5"
        said = page.locator(".board ~ [role=status]")
        assert said.inner_text() == "All photos are answered: 5."
        # Shown in words: the label, its probability, and that an answer is unsure.
        card = page.locator(".card", has_text="photo 0.jpg")
        label, probability = next(iter(expected(paths[0]).items()))
        assert card.locator(".bar-row").first.inner_text().split("\n") == [
            label, f"{probability:.1%}",
        ]  # fmt: skip
        unsure = [card.locator(".unsure").count() == 1 for card in page.locator(".card").all()]
        assert unsure == [max(expected(path).values()) < 0.5 for path in paths]
        assert {True, False} == set(unsure)
        card.get_by_role("button", name="Remove photo 0.jpg").click()
        assert page.locator(".card").count() == 4
        page.get_by_role("button", name="Remove all").click()
        assert page.locator(".board").is_hidden()
        assert page.evaluate("document.activeElement.textContent") == "Choose photos"


def test_a_pasted_photo_is_answered(chromium: Any, address: str, files: Files) -> None:
    script = """(held) => dispatchEvent(
      new ClipboardEvent("paste", { clipboardData: held, bubbles: true, cancelable: true }))"""
    with opened(chromium, address) as made:
        page = made.page
        (path,) = files(1)
        picture = path.with_name("image.png")
        Image.open(path).save(picture)
        page.evaluate_handle(script, transfer(page, [picture], "image/png"))
        found = made.answers("server", 1)
        assert found == {"Pasted photo 1.png": pytest.approx(expected(path, 5), abs=1e-5)}


def test_on_this_device_no_photo_is_sent(chromium: Any, address: str, files: Files) -> None:
    paths = files(6)
    turned, clear = (paths[0].with_name(name) for name in ("turned.jpg", "clear.png"))
    with Image.open(paths[0]) as image:
        exif = image.getexif()
        exif[ORIENTATION] = 6  # to be turned by a quarter
        image.save(turned, exif=exif)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(clear)
    paths = [turned, clear, *paths[2:]]
    with opened(chromium, address) as made:
        page = made.page
        made.place("device")
        page.get_by_text("Ready: this device computes with WebAssembly").first.wait_for()
        assert page.evaluate("crossOriginIsolated") is True
        made.choose(*paths)
        found = made.answers("device", 6)
        assert made.posts() == []
        differences = []
        for path in paths:
            wanted = expected(path)
            assert next(iter(found[path.name])) == next(iter(wanted))
            differences += [abs(wanted[key] - value) for key, value in found[path.name].items()]
        assert 0 < max(differences) < ROUNDED
        asked = [one.url for one in made.requests]
        assert len([url for url in asked if url.endswith("model.tflite")]) == 1
        # Another choice does not send what was added here, unless that is wanted.
        made.place("both")
        page.get_by_role("button", name="Send it to the server: photo 3.jpg").click()
        made.answers("server", 1)
        assert made.posts() == ["predict"]
        assert page.locator(".answer[data-place=server][data-state=waiting]").count() == 5
        page.reload()
        page.locator(".drop").wait_for()
        assert page.locator("#place-both").is_checked()  # the choice is kept in this tab


def test_a_turned_webp_is_upright_on_this_device_and_on_its_card(
    chromium: Any, address: str, files: Files
) -> None:
    (path,) = files(1)
    photo = path.with_name("turned.webp")
    with Image.open(path) as image:
        exif = image.getexif()
        exif[ORIENTATION] = 6  # to be turned by a quarter
        image.save(photo, lossless=True, exif=exif)
        width, height = image.size
    script = """async (held) => {
      const { readPixels } = await import("./page/pixels.js");
      const found = [];
      for (const file of held.files) {
        const { width, height, data } = await readPixels(file);
        found.push([height, width, [...data]]);
      }
      return found;
    }"""
    turns = [photo.with_name(f"{turn}.webp") for turn in range(1, 9)]
    with opened(chromium, address) as made:
        page = made.page
        for turn, one in enumerate(turns, 1):
            with Image.open(path) as image:
                exif = Image.Exif()
                exif[ORIENTATION] = turn
                image.save(one, lossless=True, exif=exif)
        found = page.evaluate(script, transfer(page, turns, "image/webp"))
        for one, (high, wide, values) in zip(turns, found, strict=True):
            with Image.open(one) as image:
                wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            shown = np.asarray(values, np.uint8).reshape(high, wide, 4)
            np.testing.assert_array_equal(shown[..., :3], wanted)
        made.place("device")
        made.choose(photo)
        chances = expected(photo)
        for label, probability in made.answers("device", 1)[photo.name].items():
            assert probability == pytest.approx(chances[label], abs=ROUNDED)
        sides = "[...document.querySelectorAll('.card img')].map(i => [i.naturalWidth, "
        sides += "i.naturalHeight])"
        assert made.until(sides, lambda found: found and found[0][0]) == [[height, width]]


def test_both_answers_are_side_by_side_with_heat_maps(
    chromium: Any, address: str, client: httpx.Client, files: Files
) -> None:
    (path,) = files(1)
    with opened(chromium, address) as made:
        page = made.page
        made.place("both")
        made.choose(path)
        served, own = made.answers("server", 1)[path.name], made.answers("device", 1)[path.name]
        assert next(iter(served)) == next(iter(own))
        said = page.locator(".card-compared").inner_text()
        assert said.startswith("The same answer. Probabilities differ by at most ")
        largest = max(abs(served[key] - own[key]) for key in served if key in own)
        assert abs(float(said.split()[-3]) - 100 * largest) < 0.1
        sides = page.locator(".answer")
        left, right = (sides.nth(at).bounding_box() for at in (0, 1))
        assert left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 2
        # A heat map of the second class by the server, then by this device: the same picture.
        row = page.locator(".answer[data-place=server] .bar-row").nth(1)
        row.click()
        page.locator(".card-picture.heat img").wait_for()
        label = row.get_attribute("data-label")
        assert row.get_attribute("aria-pressed") == "true"
        assert f"“{label}”" in page.locator(".card-caption").inner_text()
        drawn = client.post(f"/explain?class={label}", content=path.read_bytes()).content
        with Image.open(io.BytesIO(drawn)) as image:
            wanted = np.asarray(image.convert("RGB"), np.float64)
        row = page.locator(f".answer[data-place=device] .bar-row[data-label={label}]")
        row.click()
        canvas = page.locator(".card-picture canvas")
        canvas.wait_for()
        url = canvas.evaluate("canvas => canvas.toDataURL()")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            found = np.asarray(image.convert("RGB"), np.float64)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).mean() < 4
        assert np.abs(found - wanted[:, ::-1]).mean() > 8  # another picture is none
        page.get_by_role("button", name=f"Show the photo {path.name} again").click()
        assert page.locator(".card-picture > img").get_attribute("alt") == path.name
        assert page.locator(".card-caption").is_hidden()


def test_what_cannot_be_read_or_shown_is_said(
    chromium: Any, address: str, files: Files, tmp_path: Path
) -> None:
    (path,) = files(1)
    broken, tiff = tmp_path / "broken.jpg", tmp_path / "scan.tiff"
    broken.write_bytes(path.read_bytes()[:300])
    Image.open(path).save(tiff)
    with opened(chromium, address, statuses=[422]) as made:
        page = made.page
        made.choose(broken)
        card = page.locator(".card", has_text="broken.jpg")
        card.locator("[data-state=failed]").wait_for()
        assert "damaged" in card.locator(".bad").inner_text()
        assert card.get_by_role("button", name="Try again").count() == 0  # it would fail again
        text = tmp_path / "notes.txt.jpg"
        text.write_text("no photo")
        made.choose(path, text)
        made.answers("server", 1)
        page.locator(".card", has_text="notes.txt.jpg").locator("[data-state=failed]").wait_for()
        order = [one.inner_text() for one in page.locator(".card-name").all()]
        assert order == [path.name, text.name, broken.name]  # the newest first, each in its order
        said = page.locator(".board ~ [role=status]")
        assert said.inner_text() == "Photos: 3. Answers that failed: 2."
        page.get_by_role("button", name=f"Remove {path.name}").click()
        made.choose(tiff)
        assert made.answers("server", 1) == {
            "scan.tiff": pytest.approx(expected(tiff, 5), abs=1e-5)
        }
        shown = page.locator(".card", has_text="scan.tiff")
        assert shown.locator(".placeholder").inner_text() == "This browser cannot show this file."
        made.place("device")
        for one in (card, shown):
            one.locator(".answer[data-place=device][data-state=failed]").wait_for()
            assert "this browser cannot read" in one.locator(".bad").inner_text()
        small = tmp_path / "small.png"
        Image.new("RGB", (9, 3)).save(small)
        made.choose(small)
        card = page.locator(".card", has_text="small.png")
        card.locator(".answer[data-place=device][data-state=failed]").wait_for()
        assert card.locator(".bad").inner_text() == (
            "small.png: 9 x 3 pixels are too few; the smallest side must be 4 or more"
        )


def test_a_dropped_folder_that_cannot_be_read_is_said(chromium: Any, address: str) -> None:
    script = """(selector) => {
      const readEntries = (resolve, reject) => reject(new DOMException("it is gone"));
      const entry = { isDirectory: true, name: "hat", createReader: () => ({ readEntries }) };
      const item = { kind: "file", getAsFile: () => null, webkitGetAsEntry: () => entry };
      const event = new Event("drop", { bubbles: true, cancelable: true });
      event.dataTransfer = { types: ["Files"], items: [item] };
      document.querySelector(selector).dispatchEvent(event);
    }"""
    with opened(chromium, address) as made:
        page = made.page
        page.evaluate(script, ".drop")
        page.locator("#ask").get_by_text("hat/ cannot be read (it is gone): check").wait_for()
        page.locator("#tab-teaching").click()
        page.get_by_role("button", name="Add a class").click()
        for place in (".teach-drop", ".teach-class"):
            page.locator(place).wait_for()
            page.evaluate("document.querySelector('.teach-alert').textContent = ''")
            page.evaluate(script, place)
            alert = page.locator(".teach-alert", has_text="hat/ cannot be read (it is gone): check")
            alert.wait_for()


def test_another_model_answers_anew(chromium: Any, address: str, files: Files) -> None:
    paths = files(2)
    with opened(chromium, address) as made:
        page = made.page
        made.place("both")
        made.choose(*paths)
        made.answers("device", 2)
        page.locator("#model").select_option("other")
        page.locator(".answer:not([data-state=done])").first.wait_for()
        assert made.answers("device", 2).keys() == made.answers("server", 2).keys()
        asked = [one.url for one in made.requests if one.url.endswith("model.tflite")]
        assert [url.split("/")[-2] for url in asked] == ["small", "other"]
        page.locator("#model").select_option("exported")
        hint = page.locator("#place-hint").inner_text()
        assert hint.startswith("Photos are sent to the server. Not on this device: small.onnx is")
        assert page.locator("#place-device").is_disabled()
        assert page.locator("#place-server").is_checked()
        assert page.get_by_role("button", name="Live camera").is_hidden()
        found = made.answers("server", 2)
        assert found[paths[0].name] == pytest.approx(expected(paths[0], 5), abs=1e-4)
        page.locator(".heat-toggle").first.click()
        page.locator(".card-picture.heat img").wait_for()
        page.locator("#tab-teaching").click()
        assert "exported" in page.locator(".teach-unable").inner_text()


def test_the_camera_takes_photos_and_answers_live(
    chromium: Any, address: str, photos: Path
) -> None:
    running = "window.cameras.filter((track) => track.readyState === 'live').length"
    with opened(chromium, address) as made:
        page = made.page
        page.get_by_role("button", name="Take a photo").click()
        dialog = page.locator("dialog")
        made.until("document.querySelector('dialog video')?.videoWidth > 0")
        dialog.get_by_role("button", name="Take the photo").click()
        dialog.get_by_text("Photos taken: 1").wait_for()
        assert dialog.locator(".live").is_hidden()
        dialog.get_by_role("button", name="Close the camera").click()
        made.until(f"{running} === 0")
        assert list(made.answers("server", 1)) == ["Photo of the camera 1.jpg"]
        sent = made.posts()
        page.get_by_role("button", name="Live camera").click()
        dialog.locator(".live-answers .bar-row").first.wait_for()
        assert dialog.locator(".bar-row").count() == 5
        assert dialog.locator(".source").is_hidden()  # nothing is taught
        assert made.posts() == sent
        page.keyboard.press("Escape")
        made.until(f"{running} === 0")
        # What is taught answers live, too.
        page.locator("#tab-teaching").click()
        page.locator("#teach .teach-drop input").set_input_files(photos)
        page.get_by_text("Photos ready: 36. Classes: 3.").wait_for()
        page.get_by_role("button", name="Train").click()
        page.locator(".teach-result").wait_for()
        page.keyboard.press("Escape")
        page.locator("#tab-ask").click()
        page.get_by_role("button", name="Live camera").click()
        made.until("document.querySelectorAll('dialog .bar-row').length === 3")
        labels = {row.get_attribute("data-label") for row in dialog.locator(".bar-row").all()}
        assert labels == {"ball", "box", "triangle"}
        dialog.get_by_label("Who answers").select_option("model")
        made.until("document.querySelectorAll('dialog .bar-row').length === 5")
        page.keyboard.press("Escape")
        made.until(f"{running} === 0")
        assert made.posts() == sent
        page.once("dialog", lambda asked: asked.accept())  # photos of teaching would be lost


def test_without_a_camera_its_dialog_can_only_be_closed(chromium: Any, address: str) -> None:
    none = """navigator.mediaDevices.getUserMedia = () =>
      Promise.reject(new DOMException("none", "NotFoundError"));"""
    with opened(chromium, address, prepare=lambda page: page.add_init_script(none)) as made:
        made.page.get_by_role("button", name="Live camera").click()
        dialog = made.page.locator("dialog")
        dialog.get_by_text("There is no camera.").wait_for()
        names = [one.inner_text() for one in dialog.get_by_role("button").all()]
        assert names == ["Close the camera"]
        assert dialog.get_by_role("switch").count() == 0
        assert dialog.locator("video").is_hidden()


def test_a_page_that_is_opened_as_a_file_says_that_it_needs_a_server(
    chromium: Any, address: str, tmp_path: Path
) -> None:
    for path, file in all_files().items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.plain())
    with contextlib.closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto((tmp_path / "index.html").as_uri())
        line = page.locator("#late")
        assert line.is_hidden()  # scripts may still be on their way
        line.wait_for(timeout=page_browser.PATIENCE)
        assert "python -m http.server" in line.inner_text() and "网页服务器" in line.inner_text()
    with opened(chromium, address) as made:
        assert made.page.locator("#late").count() == 0


def test_a_token_is_asked_for_and_kept_in_the_tab(
    start: Start, chromium: Any, files: Files, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("correct-horse\n")
    with start({"small": "embedded"}, tokens=tokens, photos=2) as client:
        address = f"{str(client.base_url).rstrip('/')}/"
        with opened(chromium, address, ready="form.token", statuses=[401]) as made:
            page = made.page
            assert made.violations() == []
            page.get_by_label("Token").fill("wrong-horse")
            page.get_by_role("button", name="Continue").click()
            page.get_by_text("The server refused this token.").wait_for()
            page.get_by_label("Token").fill("correct-horse")
            page.keyboard.press("Enter")
            page.locator(".drop").wait_for()
            made.place("both")
            made.choose(*files(1))
            made.answers("server", 1)
            made.answers("device", 1)
            page.locator(".answer[data-place=device] .heat-toggle").click()
            page.locator(".card-picture canvas").wait_for()
            kept = "[sessionStorage.getItem('mobilenetv2.token'), localStorage.length]"
            assert page.evaluate(kept) == ["correct-horse", 0]
            assert not [one.url for one in made.requests if "horse" in one.url]
            page.reload()
            page.locator(".drop").wait_for()


def test_a_server_that_loads_or_is_full_is_asked_again(
    chromium: Any, address: str, files: Files
) -> None:
    left = {"page.json": [503, 503], "predict": [429, 503]}

    def prepare(page: Any) -> None:
        def refuse(route: Any) -> None:
            statuses = left[route.request.url.split("?")[0].rsplit("/", 1)[-1]]
            if statuses:
                headers = {"Retry-After": "1"}
                route.fulfill(status=statuses.pop(), headers=headers, body="{}")
            else:
                route.continue_()

        page.route("**/page.json", refuse)
        page.route("**/predict?**", refuse)

    options: dict[str, Any] = {
        "prepare": prepare, "statuses": [429, 503], "ready": "#start .hint"
    }  # fmt: skip
    with opened(chromium, address, **options) as made:
        made.page.get_by_text("Loading: the server's models are not ready yet.").wait_for()
        made.choose(*files(1))
        assert len(made.answers("server", 1)) == 1
        assert left == {"page.json": [], "predict": []}


def test_a_server_that_is_gone_is_said_and_asked_again(
    chromium: Any, address: str, files: Files
) -> None:
    with opened(chromium, address) as made:
        page = made.page
        page.route("**/predict?**", lambda route: route.abort())
        made.choose(*files(1))
        page.locator(".answer .bad", has_text="The server cannot be reached").wait_for()
        page.unroute("**/predict?**")
        page.get_by_role("button", name="Try again: photo 0.jpg").click()
        assert len(made.answers("server", 1)) == 1
        made.errors[:] = [one for one in made.errors if "ERR_FAILED" not in one]


def test_without_files_of_other_makers_the_server_still_answers(
    chromium: Any, address: str, files: Files
) -> None:
    def prepare(page: Any) -> None:
        page.route("**/vendor/**", lambda route: route.fulfill(status=404))

    with opened(chromium, address, prepare=prepare, statuses=[404]) as made:
        page = made.page
        made.place("both")
        made.choose(*files(1))
        made.answers("server", 1)
        page.locator(".answer[data-place=device] .bad").wait_for()
        said = page.locator(".answer[data-place=device] .bad").inner_text()
        assert "make web" in said and "The server still answers." in said
        assert page.locator(".device-state.bad").first.is_visible()


REAL = """if ("GPUAdapterInfo" in window) Object.defineProperty(
  GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });"""
"""Script that makes an imitated GPU look like a real one."""
ON_GPU = """async () => {
  const lib = await import("./vendor/litert/litert.js");
  const { floatGraph } = await import("./page/float_graph.js");
  const answer = await fetch("device/small/model.tflite");
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const picture = Float32Array.from({ length: 32 * 32 * 3 }, (_, i) => Math.sin(i * 0.37));
  const found = [];
  for (const [accelerator, graph] of [["wasm", bytes], ["webgpu", floatGraph(bytes)]]) {
    const options = { accelerator, gpuOptions: { precision: "fp32" } };
    const model = await lib.loadAndCompile(graph, options);
    const [{ name }] = model.getInputDetails();
    const made = await model.run({ [name]: new lib.Tensor(picture, [1, 32, 32, 3]) });
    found.push([model.isFullyAccelerated, ...(await made.logits.data())]);
  }
  return found;
}"""


def test_a_gpu_computes_all_of_the_graph_and_the_faster_one_is_taken(
    launch: Callable[..., Any], address: str, files: Files
) -> None:
    def prepare(page: Any) -> None:
        page.add_init_script(REAL)

    with opened(launch(page_browser.IMITATED_GPU), address, prepare=prepare) as made:
        if not made.page.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
            pytest.skip("this Chromium has no WebGPU: apt-get install mesa-vulkan-drivers")
        made.place("device")
        (path,) = files(1)
        made.choose(path)
        # The page has computed a picture on both, and takes what is right and faster.
        assert made.answers("device", 1)[path.name] == pytest.approx(expected(path, 5), abs=ROUNDED)
        said = made.page.locator(".device-state").first.inner_text()
        assert "Ready: this device computes with" in said
        (_, *wanted), (complete, *found) = made.page.evaluate(ON_GPU)
        assert complete is True
        np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    chromium: Any, address: str, files: Files, tmp_path: Path, scheme: str
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    with opened(chromium, address, color_scheme=scheme, statuses=[422]) as made:
        page = made.page
        assert made.violations() == []
        made.place("both")
        made.choose(*files(2), broken)
        made.answers("device", 2)
        page.locator(".answer[data-place=device] .heat-toggle").first.click()
        page.locator(".card-picture canvas").wait_for()
        assert made.violations() == []
        page.get_by_role("button", name="Live camera").click()
        page.locator(".live-answers .bar-row").first.wait_for()
        assert made.violations() == []
        page.keyboard.press("Escape")
        page.locator("#tab-teaching").click()
        page.get_by_role("button", name="Add a class").click()
        page.locator(".teach-class input[type=file]").set_input_files(files(2))
        page.get_by_text("Photos ready: 2.").wait_for()
        assert made.violations() == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(ground.split("(")[1].split(",")[0]) > 128) == (scheme == "light")
        page.once("dialog", lambda asked: asked.accept())


@pytest.mark.parametrize(("locale", "tag"), [("zh-CN", "zh-CN"), ("en-GB", "en"), ("fr-FR", "en")])
def test_a_phone_scrolls_in_one_direction_only(
    chromium: Any, address: str, files: Files, locale: str, tag: str
) -> None:
    phone: dict[str, Any] = {
        "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True
    }  # fmt: skip
    wide = "document.documentElement.scrollWidth - innerWidth"
    with opened(chromium, address, locale=locale, **phone) as made:
        page = made.page
        assert page.evaluate("document.documentElement.lang") == tag
        made.place("both")
        made.choose(*files(2))
        made.answers("device", 2)
        page.locator(".answer .heat-toggle").first.click()
        page.locator(".card-picture.heat").wait_for()
        assert page.evaluate(wide) <= 0
        texts = [page.inner_text("body")]
        page.locator(".drop button").nth(2).click()
        page.locator(".live-answers .bar-row").first.wait_for()
        assert page.evaluate(wide) <= 0
        texts.append(page.inner_text("dialog"))
        page.keyboard.press("Escape")
        page.locator("#tab-teaching").click()
        page.locator(".teach-drop button").nth(1).click()
        assert page.evaluate(wide) <= 0
        texts.append(page.inner_text("body"))
        titles = {"zh-CN": "这张照片里有什么", "en": "What is in this photo?"}
        assert titles[tag] in texts[0]
        assert not any("Drop" in text or "拖" in text for text in texts)  # from where?
        for text in texts:
            assert (max(text) >= "\u4e00") == (tag == "zh-CN")
            for key in ("place.", "drop.", "card.", "heat.", "camera.", "teach.", "device."):
                assert key not in text


def test_the_buttons_of_a_class_are_in_one_row(chromium: Any, address: str) -> None:
    with opened(chromium, address, viewport={"width": 1280, "height": 800}) as made:
        page = made.page
        page.locator("#tab-teaching").click()
        for count in (1, 2, 3):
            page.get_by_role("button", name="Add a class").click()
            page.locator(".teach-class").nth(count - 1).wait_for()
            for card in page.locator(".teach-class").all():
                buttons = card.get_by_role("button").all()
                assert len({round(one.bounding_box()["y"]) for one in buttons}) == 1


def test_all_can_be_done_with_the_keyboard(chromium: Any, address: str, files: Files) -> None:
    with opened(chromium, address, reduced_motion="reduce") as made:
        page = made.page
        focused = "document.activeElement.textContent.trim() || document.activeElement.id"
        seen = []
        for _ in range(7):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
        assert seen[0] == "To the content"
        assert seen[1].startswith("small")  # the models
        assert seen[2:] == ["Ask", "place-server", "Choose photos", "Take a photo", "Live camera"]
        page.locator("#place-server").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#place-device").is_checked()
        page.locator("#tab-ask").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#teaching").is_visible() and page.url.endswith("#teaching")
        page.keyboard.press("ArrowRight")
        assert page.locator("#ask").is_visible()
        made.choose(*files(2))
        made.answers("device", 2)
        page.locator(".card .away").first.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.ariaLabel") == "Remove photo 1.jpg"
        assert page.evaluate("document.getAnimations().length") == 0


@contextmanager
def folder_served(folder: Path) -> Iterator[str]:
    """The address of a web host that has a folder below its root, and knows nothing of the page."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    handler = functools.partial(Quiet, directory=str(folder.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{folder.name}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_folder_without_a_server_computes_on_this_device(
    chromium: Any, files: Files, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    mn.export("embedded", site, format="web")
    paths = files(2)
    with folder_served(site) as address, opened(chromium, address) as made:
        page = made.page
        page.get_by_text("computes with WebAssembly in one thread.").first.wait_for()
        assert page.locator(".segments").is_hidden() and page.locator(".choice legend").is_hidden()
        made.choose(*paths)
        found = made.answers("device", 2)
        for path in paths:
            wanted = expected(path)
            assert next(iter(found[path.name])) == next(iter(wanted))
            assert max(abs(wanted[key] - value) for key, value in found[path.name].items()) < 0.03
        page.locator(".heat-toggle").first.click()
        page.locator(".card-picture canvas").wait_for()
        assert made.posts() == [] and page.locator("footer a").count() == 0
        assert made.violations() == []
