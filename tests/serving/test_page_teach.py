"""Teaching in a real Chromium: the panel, and the model folder that it saves.

The panel is on a page of its own here. Features come from the graph that browsers get, which LiteRT
computes in this process.
"""

import io
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import page_browser
import pytest
from numpy.typing import NDArray

import mobilenetv2 as mn
import mobilenetv2.serving
from mobilenetv2.model import store
from mobilenetv2.serving.device_files import GRAPH, WEIGHTS, content
from mobilenetv2.serving.page_facts import Facts, page_facts
from mobilenetv2.spec.records import ModelConfig

ROOM = Path(mobilenetv2.serving.__file__).parent
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "img-src 'self' blob: data:; connect-src 'self' blob: data:; style-src 'self'"
)
LACKING = page_browser.lacking()
PATIENCE = 120_000
"""Longest wait for what the page does, in milliseconds."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking"),
]

INDEX = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Teach</title>
<link rel="icon" href="data:,"></head>
<body><section id="teach"></section><script type="module" src="page/test.js"></script></body></html>
"""
TEST = """
import { mountTeach } from "./teach_panel.js";
import { openCamera } from "./camera.js";
import { readPixels } from "./pixels.js";
import { say } from "./words.js";

const facts = await (await fetch("page.json")).json();
let chosen = facts.models[0];
const fetchBytes = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.arrayBuffer();
};
const device = async () => {
  const model = chosen;
  const run = async (body) => {
    const answer = await fetch("run", { method: "POST", body });
    return { features: new Float32Array(await answer.arrayBuffer()) };
  };
  return { model, run };
};
const section = document.querySelector("#teach");
const { threshold } = facts;
const server = { fetchBytes };
const model = () => chosen;
const tools = { device, model, readPixels, openCamera, server, threshold, say };
window.teach = mountTeach(section, tools);
window.choose = (index) => {
  chosen = facts.models[index];
  return window.teach.modelChanged();
};
window.answer = async (path) => {
  const pixels = await readPixels(new Blob([await fetchBytes(path)]));
  return [...(await window.teach.teacher.answer(pixels)).probabilities];
};
"""


class Device:
    """The graph that browsers get, computed by LiteRT."""

    def __init__(self, config: ModelConfig, arrays: Any) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.config = config
        self.weights = content(WEIGHTS, config, arrays)
        self._graph = Interpreter(model_content=content(GRAPH, config, arrays), num_threads=1)
        self._graph.allocate_tensors()
        self._lock = threading.Lock()

    def features(self, values: bytes) -> bytes:
        size = (1, *self.config.size, self.config.channels)
        with self._lock:
            (given,) = self._graph.get_input_details()
            self._graph.set_tensor(given["index"], np.frombuffer(values, np.float32).reshape(size))
            self._graph.invoke()
            (one,) = (o for o in self._graph.get_output_details() if "features" in o["name"])
            return bytes(self._graph.get_tensor(one["index"]).tobytes())


def answers(device: Device, held: list[Path]) -> Callable[[str, bytes], tuple[str, bytes] | None]:
    """Return the page's server: a function from a path to a media type and content."""
    facts = Facts("base", Path("base"), device.config, False)
    models = page_facts([facts, facts], None)
    models["models"][0]["device"] = models["models"][1]["device"] = {
        "config": "device/config.json", "weights": "device/model.safetensors",
    }  # fmt: skip
    models["models"][1]["name"] = "other"

    def answer(path: str, body: bytes) -> tuple[str, bytes] | None:
        import json

        if path == "":
            return "text/html", INDEX
        if path == "page.json":
            return "application/json", json.dumps(models).encode()
        if path == "run":
            return "application/octet-stream", device.features(body)
        if path == "device/config.json":
            return "application/json", device.config.to_json().encode()
        if path == "device/model.safetensors":
            return "application/octet-stream", device.weights
        if path.startswith("held/"):
            return "image/jpeg", held[int(path.removeprefix("held/"))].read_bytes()
        if path == "page/test.js":
            return "text/javascript", TEST.encode()
        own = ROOM / path
        if own.is_file():
            return "text/javascript", own.read_bytes()
        return None

    return answer


@contextmanager
def served(answer: Callable[[str, bytes], tuple[str, bytes] | None]) -> Iterator[str]:
    """The address of a server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = answer(self.path.removeprefix("/"), body)
            kind, data = found or ("text/plain", b"not found")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def opened(device: Device, held: list[Path]) -> Iterator[Any]:
    """The panel in Chromium, which has said no error on its console and asked no other host."""
    with (
        served(answers(device, held)) as address,
        page_browser.browsers() as launch,
        page_browser.opened(launch(), address, ready=".teach-drop") as made,
    ):
        made.page.set_default_timeout(PATIENCE)
        yield made.page


def until(page: Any, script: str, true: Callable[[], object] = lambda: True) -> None:
    """Wait until a script and something here are true. The page's policy forbids its own wait."""
    for _ in range(PATIENCE // 100):
        if page.evaluate(script) and true():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{script} did not come true")


def taught(page: Any, folder: Path) -> str:
    """Train on a folder of class folders, and return the panel's words on the result."""
    page.locator(".teach-drop input").set_input_files(folder)
    count = sum(path.is_file() for path in folder.rglob("*"))
    page.get_by_text(f"Photos ready: {count}. Classes: 3.").wait_for()
    page.get_by_role("button", name="Train").click()
    page.locator(".teach-result").wait_for()
    return str(page.locator(".teach-result p").first.inner_text())


def saved(page: Any, name: str, folder: Path) -> Path:
    """The model folder that the panel saves, unpacked."""
    page.get_by_label("Name of the model").fill(name)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save", exact=True).click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    assert download.value.suggested_filename == f"{name}.zip"
    return folder / name


def predicted(model: Path, photos: list[Path], labels: list[str]) -> NDArray:
    """The probabilities of a model folder by :func:`mobilenetv2.predict`, in the labels' order."""
    rows = []
    for answer in mn.predict(photos, model=model):
        found = {one.label: one.probability for one in answer.top(len(labels))}
        rows.append([found[label] for label in labels])
    return np.asarray(rows)


def answered(page: Any, count: int) -> NDArray:
    """The probabilities that the page answers for the photos that it was not taught with."""
    script = "async (numbers) => { const all = []; for (const n of numbers) "
    script += "all.push(await window.answer(`held/${n}`)); return all; }"
    rows = []
    for first in range(0, count, 20):  # a call of a page may take no longer than its patience
        rows += page.evaluate(script, list(range(first, min(count, first + 20))))
    return np.asarray(rows)


@pytest.fixture(scope="module")
def small() -> Device:
    """The embedded model."""
    return Device(*store.load(Path(mn.__file__).parent / "embedded"))


def test_shapes_are_taught_tried_and_saved(small: Device, photos: Path, tmp_path: Path) -> None:
    data, held = tmp_path / "shapes", []
    for path in sorted(photos.rglob("*.*")):
        if int(path.stem) < 6:
            held.append(path)
        else:
            (data / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, data / path.parent.name)
    with opened(small, held) as page:
        assert page.locator(".teach-status").inner_text() == "There is no photo yet."
        page.get_by_role("button", name="Train").click()
        alert = page.locator(".teach-alert")
        assert alert.inner_text() == (
            "Training needs at least 2 classes, and at least 2 photos in each of them."
        )
        said = taught(page, data)
        assert said.startswith("Trained on 18 photos of 3 classes. By 5-fold cross-validation,")
        assert "95% interval" in said and "n = 18" in said
        assert alert.inner_text() == ""
        assert [one.input_value() for one in page.locator(".teach-name").all()] == [
            "ball", "box", "triangle",
        ]  # fmt: skip
        assert page.locator(".teach-thumb canvas").count() == 18
        # A photo in the panel has the answer that the teacher gives to programs.
        found = answered(page, len(held))
        page.locator(".teach-trial input").set_input_files(held[7])
        page.locator(".teach-trial .teach-bar").first.wait_for()
        shown = {
            bar.get_attribute("data-label"): float(bar.get_attribute("data-probability"))
            for bar in page.locator(".teach-trial .teach-bar").all()
        }
        assert list(shown.values()) == sorted(shown.values(), reverse=True)
        unsure = page.locator(".teach-trial .unsure")
        assert unsure.count() == (max(shown.values()) < 0.5)
        canvas = page.locator(".teach-tried canvas")
        assert canvas.get_attribute("aria-label") == held[7].name
        unsure_answer = "{ probabilities: [0.4, 0.3, 0.3], labels: ['ball', 'box', 'triangle'] }"
        page.evaluate(f"() => {{ teach.teacher.taught.answer = () => ({unsure_answer}); }}")
        page.locator(".teach-trial input").set_input_files(held[8])
        assert unsure.inner_text() == "Unsure: no class reaches 50%."
        page.evaluate("() => { delete teach.teacher.taught.answer; }")
        labels = ["ball", "box", "triangle"]
        np.testing.assert_allclose([shown[label] for label in labels], found[7], atol=1e-6)
        model = saved(page, "shapes", tmp_path / "saved")
        page.get_by_text("Saved as shapes.zip.").wait_for()
        # A low accuracy comes with advice, and every wrong answer can be read.
        result = page.locator(".teach-result")
        assert ("More photos of each class" in result.inner_text()) == ("100.0%" not in said)
        page.evaluate("""() => {
          const { taught, photos } = teach.teacher;
          taught.result.accuracy = 0.3;
          taught.wrong = photos.slice(0, 15).map((photo) => ({ photo, name: "a", answer: "b" }));
          teach.teacher.changed(false);
        }""")
        result.get_by_text("This model sees only 32").wait_for()
        assert page.locator(".teach-wrong").count() == 15
        assert result.locator("li").filter(visible=True).count() == 12
        result.get_by_text("Show the others: 3").click()
        assert result.locator("li").filter(visible=True).count() == 15
    config = store.load_config(model)
    assert config.labels.names == ("ball", "box", "triangle")
    assert config.metrics["cross-validation.images"] == 18
    wanted = predicted(model, held, labels)
    assert (wanted.argmax(1) == found.argmax(1)).all()
    assert 0 < np.abs(wanted - found).max() < 0.02
    truth = [labels.index(path.parent.name) for path in held]
    assert (found.argmax(1) == truth).mean() > 0.6  # a guess is right once in three times
    assert mn.evaluate(model, photos).images == 36  # every verb reads it
    mn.export(model, tmp_path / "shapes.onnx")
    assert (predicted(tmp_path / "shapes.onnx", held, labels).argmax(1) == wanted.argmax(1)).all()


def test_photos_come_and_go_and_faults_are_sentences(
    small: Device, photos: Path, tmp_path: Path
) -> None:
    broken, text = tmp_path / "broken.jpg", tmp_path / "notes.txt"
    broken.write_bytes(b"\xff\xd8 no photo")
    text.write_text("no photo")
    balls, boxes = (sorted((photos / name).iterdir()) for name in ("ball", "box"))
    with opened(small, []) as page:
        page.get_by_role("button", name="Add a class").click()
        page.keyboard.type("Ball")
        page.keyboard.press("Tab")
        card = page.locator(".teach-class").first
        card.locator("input[type=file]").set_input_files([*balls[:4], broken, text])
        page.get_by_text("Photos ready: 4. Classes: 1.").wait_for()
        assert page.locator(".teach-alert").inner_text() == (
            "Passed over, since they are no photos: 1."
        )
        assert "broken.jpg: " in page.locator(".teach-problems").inner_text()
        page.get_by_role("button", name="Add a class").click()
        second = page.locator(".teach-class").nth(1)
        second.locator("input[type=file]").set_input_files(boxes[:4])
        page.get_by_text("Photos ready: 8. Classes: 2.").wait_for()
        second.locator(".teach-name").fill("Ball")
        second.locator(".teach-name").press("Enter")
        page.get_by_role("button", name="Train").click()
        page.get_by_text("Two classes are called “Ball”").wait_for()
        second.locator(".teach-name").fill("Box")
        second.locator(".teach-name").press("Tab")
        page.get_by_role("button", name="Train").click()
        page.locator(".teach-result").wait_for()
        page.get_by_role("button", name="Remove the photo 00.png").first.click()
        page.get_by_text("Photos or names have changed since: train again.").wait_for()
        assert card.locator(".teach-count").inner_text() == "Photos: 3"
        # What was taught belongs to its model: another one forgets it and looks at all photos anew.
        page.evaluate("window.choose(1)")
        page.get_by_text("the photos are looked at anew with other.").wait_for()
        page.locator(".teach-result").wait_for(state="hidden")
        assert page.evaluate("window.teach.teacher.taught") is None
        page.get_by_text("Photos ready: 7. Classes: 2.").wait_for()
        asked: list[str] = []

        def refuse(dialog: Any) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", refuse)
        page.close(run_before_unload=True)
        until(page, "true", lambda: asked)
        assert asked == ["beforeunload"]


def test_files_and_folders_are_dropped(small: Device, photos: Path) -> None:
    files = {path.name: list(path.read_bytes()) for path in sorted((photos / "ball").iterdir())[:3]}
    script = """(files) => {
      const transfer = new DataTransfer();
      for (const [name, bytes] of Object.entries(files)) {
        transfer.items.add(new File([Uint8Array.from(bytes)], name));
      }
      return transfer;
    }"""
    with opened(small, []) as page:
        transfer = page.evaluate_handle(script, files)
        for kind in ("dragover", "drop"):
            page.dispatch_event(".teach-drop", kind, {"dataTransfer": transfer})
        page.get_by_text("Photos ready: 3. Classes: 1.").wait_for()
        transfer = page.evaluate_handle(script, files)
        page.dispatch_event(".teach-class", "dragover", {"dataTransfer": transfer})
        assert "over" in page.locator(".teach-class").get_attribute("class")
        page.dispatch_event(".teach-class", "drop", {"dataTransfer": transfer})
        page.get_by_text("Photos ready: 6. Classes: 1.").wait_for()


def test_the_camera_takes_photos_and_ends_with_its_dialog(small: Device, photos: Path) -> None:
    running = "window.cameras.filter((track) => track.readyState === 'live').length"
    with opened(small, []) as page:
        page.get_by_role("button", name="Add a class").click()
        page.get_by_role("button", name="Camera: photos of Class 1").click()
        dialog = page.locator("dialog")
        hold = dialog.get_by_role("button", name="Hold to take photos")
        until(page, "document.querySelector('dialog video')?.videoWidth > 0")
        assert page.evaluate(running) == 1
        hold.hover()
        page.mouse.down()
        dialog.get_by_text("Photos taken: 3").wait_for()
        page.mouse.up()
        hold.press("Enter")  # by keyboard: one photo, or more while it is held
        dialog.get_by_role("button", name="Stop the camera").click()
        dialog.wait_for(state="detached")
        assert page.evaluate(running) == 0
        taken = int(page.locator(".teach-count").inner_text().split()[-1])
        assert taken >= 4
        page.get_by_text(f"Photos ready: {taken}. Classes: 1.").wait_for()
        page.get_by_role("button", name="Add a class").click()
        boxes = sorted((photos / "box").iterdir())[:4]
        page.locator(".teach-class").nth(1).locator("input[type=file]").set_input_files(boxes)
        page.get_by_text(f"Photos ready: {taken + 4}. Classes: 2.").wait_for()
        page.get_by_role("button", name="Train").click()
        page.locator(".teach-result").wait_for()
        page.get_by_role("button", name="Try with the camera").click()
        first = dialog.locator(".teach-bar").first
        first.wait_for()
        assert first.get_attribute("data-label") == "Class 1"  # the camera sees what it saw then
        assert page.evaluate(running) == 1
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert page.evaluate(running) == 0
        page.get_by_role("button", name="Try with the camera").click()
        first.wait_for()
        page.evaluate("window.teach.close()")  # as the page does when its panel closes
        dialog.wait_for(state="detached")
        assert page.evaluate(running) == 0


def unrounded(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """Weights that could have been rounded to the given ones, which are of 8 bits.

    The published file's own would lose nothing in the graph for browsers, as others' do.
    """
    random = np.random.default_rng(0)

    def one(array: NDArray) -> NDArray:
        if array.ndim != 4:
            return array
        step = np.abs(array).max((1, 2, 3), keepdims=True) / 127
        return (array + step * random.uniform(-0.5, 0.5, array.shape)).astype(np.float32)

    return {name: one(array) for name, array in arrays.items()}


CLASSES = ("longsleeve", "shirt", "t-shirt")
"""Classes that are easily taken for each other, so that an accuracy says something."""
EACH = 20


def test_clothes_are_told_apart_as_well_as_by_train(
    public_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clothing = public_folder("clothing")
    published = public_folder("published") / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    config, arrays = mn.import_checkpoint(published)
    arrays = unrounded(arrays)
    base = tmp_path / "base"
    store.save(base, config, arrays)
    data, held = tmp_path / "clothes", []
    for name in CLASSES:
        (data / "train" / name).mkdir(parents=True)
        for path in sorted((clothing / "train" / name).iterdir())[:EACH]:
            shutil.copy(path, data / "train" / name)
        shutil.copytree(clothing / "validation" / name, data / "validation" / name)
        held += sorted((data / "validation" / name).iterdir())
    with opened(Device(config, arrays), held) as page:
        said = taught(page, data / "train")
        found = answered(page, len(held))
        model = saved(page, "clothes", tmp_path / "saved")
    wanted = predicted(model, held, list(CLASSES))
    difference = np.abs(wanted - found)
    same = int((wanted.argmax(1) == found.argmax(1)).sum())
    truth = np.asarray([CLASSES.index(path.parent.name) for path in held])
    own = float((found.argmax(1) == truth).mean())
    run = mn.train(data, tmp_path / "run", weights=base, recipe="head-only")
    theirs = run.metrics["validation.top1"]
    with capsys.disabled():
        print(
            f"\n{said}\n{len(held)} held-out photos: taught in the browser {own:.1%}, "
            f"train --recipe head-only {theirs:.1%}; saved and read by predict: {same} same "
            f"answers, probabilities differ by {difference.max():.4f} at most, "
            f"{np.median(difference):.4f} at the median"
        )
    assert 0 < difference.max() < 0.02
    assert same == len(held)
    # Both are measured on the same few photos: two standard errors of an accuracy are chance.
    # (The recipe gives a part of the 60 photos away to select its penalty; the browser does not.)
    assert own >= theirs - 2 * (theirs * (1 - theirs) / len(held)) ** 0.5
