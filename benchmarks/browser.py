"""Measure the page's computation in Chromium against the server's, and beside onnxruntime-web.

    npm install --prefix NPM onnxruntime-web@1.31.1
    python benchmarks/browser.py PHOTOS --model MODEL --npm NPM [--first 7] [--rounds 3]

PHOTOS is a folder with photos at any depth; MODEL is what `serve` takes. It needs `make web`,
Chromium, and the extras serve, litert and clients.

The page comes from the real application, mounted in a small one that also serves onnxruntime-web
and the same network as float32 ONNX. Three things are measured, all on loopback:

- answers: each photo is answered on the device and by the server;
- first answer: in a new browser with nothing stored, from the start of navigation to the answer for
  one photo, and what was transferred until then, the two runtimes in turns;
- time a photo: the same prepared pixels through both runtimes with as many threads, in turns.

Prints the results in Markdown.
"""

import argparse
import base64
import contextlib
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from machine import machine
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

import mobilenetv2 as mn
from mobilenetv2.exporting.export import export

OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}

PREPARE = """
window.bench = (async () => {
  const [server, pixels, resize, outputs, device] = await Promise.all(
    ["server", "pixels", "resize", "outputs", "device"].map(
      (name) => import(new URL(`page/${name}.js`, document.baseURI).href)));
  const connected = server.connect("");
  const model = (await connected.facts()).models[0];
  const fileOf = (text) =>
    new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "photo.jpg");
  const inputOf = async (file) => resize.normalise(
    resize.prepare(await pixels.readPixels(file), model.preprocessing), model.preprocessing);
  const load = () => device.loadDevice(model, {fetchBytes: connected.fetchBytes});
  const best = (logits) => outputs.best(
    outputs.probabilities(logits, model.outputs), model.outputs, model.labels, 1)[0];
  const loadOnnx = async (threads) => {
    const ort = await import(new URL("ort/ort.wasm.min.mjs", document.baseURI).href);
    ort.env.wasm.numThreads = threads;
    const bytes = new Uint8Array(await (await fetch("onnx/model.onnx")).arrayBuffer());
    const session = await ort.InferenceSession.create(bytes, {executionProviders: ["wasm"]});
    const [height, width] = model.size;
    const run = async (input) => {
      const planes = new Float32Array(input.length);
      for (let c = 0; c < 3; c++)
        for (let i = 0; i < height * width; i++) planes[c * height * width + i] = input[3 * i + c];
      const tensor = new ort.Tensor("float32", planes, [1, 3, height, width]);
      const begin = performance.now();
      const found = await session.run({[session.inputNames[0]]: tensor});
      const {data} = found.logits;
      return {logits: data, ms: performance.now() - begin};
    };
    return {run};
  };
  return {connected, model, fileOf, inputOf, load, best, loadOnnx};
})();
"""
ANSWER = """async (text) => {
  const bench = await window.bench;
  window.device ??= await bench.load();
  const file = bench.fileOf(text);
  const {logits} = await window.device.run(await bench.inputOf(file));
  const [answer] = await bench.connected.predict(bench.model.name, [file]);
  return {device: bench.best(logits), server: answer.predictions};
}"""
FIRST = {
    "LiteRT.js, the page's": """async (text) => {
  const bench = await window.bench;
  const device = await bench.load();
  const {logits} = await device.run(await bench.inputOf(bench.fileOf(text)));
  return {best: bench.best(logits), ms: performance.now()};
}""",
    "onnxruntime-web, float32": """async (text) => {
  const bench = await window.bench;
  const session = await bench.loadOnnx(Math.min(4, navigator.hardwareConcurrency));
  const {logits} = await session.run(await bench.inputOf(bench.fileOf(text)));
  return {best: bench.best(logits), ms: performance.now()};
}""",
}
TURNS = """async ([texts, rounds]) => {
  const bench = await window.bench;
  const device = await bench.load();
  const session = await bench.loadOnnx(device.threads);
  const inputs = [];
  for (const text of texts) inputs.push(await bench.inputOf(bench.fileOf(text)));
  const times = {device: [], onnx: []};
  let apart = 0;
  for (const input of inputs.slice(0, 3)) { await device.run(input); await session.run(input); }
  for (let round = 0; round < rounds; round++)
    for (const [i, input] of inputs.entries()) {
      let ours, theirs;
      const first = async () => {
        const begin = performance.now();
        ours = (await device.run(input)).logits;
        times.device.push(performance.now() - begin);
      };
      const second = async () => {
        const found = await session.run(input);
        theirs = found.logits;
        times.onnx.push(found.ms);
      };
      for (const turn of (i + round) % 2 ? [first, second] : [second, first]) await turn();
      ours.forEach((value, k) => { apart = Math.max(apart, Math.abs(value - theirs[k])); });
    }
  return {times, apart, threads: device.threads, backend: device.backend};
}"""


class Isolated(StaticFiles):
    """Files that may be scripts of a worker in a page which shares memory with it."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        return response


@contextlib.contextmanager
def served(model: str, npm: Path, folder: Path) -> Iterator[str]:
    """Serve the page with a model, onnxruntime-web and the ONNX file; give the address."""
    dist = npm / "node_modules" / "onnxruntime-web" / "dist"
    routes = [
        Mount("/ort", Isolated(directory=dist)),
        Mount("/onnx", Isolated(directory=folder)),
        Mount("/", mn.app([model], access_log=False)),
    ]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def opened(browser: Browser, url: str) -> tuple[Page, list[int]]:
    """Open the page with nothing stored; return it and the list of the bytes of each file."""
    page = browser.new_context(bypass_csp=False).new_page()
    received: list[int] = []
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: print(error, file=sys.stderr))
    page.goto(url)
    page.evaluate(PREPARE)
    return page, received


def compare_answers(browser: Browser, url: str, photos: list[str]) -> str:
    page, _ = opened(browser, url)
    same, apart = 0, []
    for text in photos:
        found = page.evaluate(ANSWER, text)
        ours, theirs = found["device"], found["server"]
        same += ours["index"] == theirs[0]["index"]
        of_class = [one["probability"] for one in theirs if one["index"] == ours["index"]]
        apart.append(abs(ours["probability"] - (of_class or [0.0])[0]))
    page.context.close()
    return (
        f"Answers on {len(photos)} photos: the same best class on {same}; its probability differs "
        f"by {np.median(apart):.5f} at the median, {max(apart):.5f} at most."
    )


def compare_first(browser: Browser, url: str, photo: str, times: int) -> str:
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in FIRST}
    for turn in range(times):
        for name in sorted(FIRST, reverse=bool(turn % 2)):
            page, received = opened(browser, url)
            answer = page.evaluate(FIRST[name], photo)
            page.wait_for_timeout(200)  # the sizes of the last files arrive after them
            found[name].append((answer["ms"] / 1000, sum(received)))
            page.context.close()
    rows = ["| runtime | first answer, median and largest, s | transferred, MB |", "|---|---|---|"]
    for name, values in found.items():
        seconds = [value[0] for value in values]
        size = np.median([value[1] for value in values]) / 1e6
        rows.append(f"| {name} | {np.median(seconds):.2f}, {max(seconds):.2f} | {size:.2f} |")
    return "\n".join([f"First answer, n = {times} each, in turns:", "", *rows])


def compare_times(browser: Browser, url: str, photos: list[str], rounds: int) -> str:
    page, _ = opened(browser, url)
    found: dict[str, Any] = page.evaluate(TURNS, [photos, rounds])
    page.context.close()
    ours, theirs = (np.array(found["times"][name]) for name in ("device", "onnx"))
    rows = ["| runtime | median, ms | 90th percentile, ms |", "|---|---|---|"]
    for name, values in zip(FIRST, (ours, theirs), strict=True):
        rows.append(f"| {name} | {np.median(values):.1f} | {np.quantile(values, 0.9):.1f} |")
    low, high = np.quantile(theirs / ours, (0.25, 0.75))
    return "\n".join(
        [
            f"Time a photo, network only, n = {len(ours)} each, in turns, {found['threads']} "
            f"threads, {found['backend']}; logits at most {found['apart']:.4f} apart:",
            "", *rows, "",
            f"onnxruntime-web takes {np.median(theirs / ours):.2f} times as long "
            f"(quartiles {low:.2f} to {high:.2f}).",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--npm", type=Path, required=True)
    parser.add_argument("--first", type=int, default=7, help="first answers of each runtime")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over up to 30 photos")
    options = parser.parse_args()
    places = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    photos = [base64.b64encode(place.read_bytes()).decode() for place in places]
    with tempfile.TemporaryDirectory() as folder:
        # The same weights as the page has, in float32.
        export(options.model, Path(folder) / "model.onnx", format="onnx")
        with served(options.model, options.npm, Path(folder)) as url, sync_playwright() as play:
            chromium = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(OPTIONS)
            )
            print(f"{machine('starlette', 'uvicorn')}, Chromium {chromium.version}")
            print("", compare_answers(chromium, url, photos), sep="\n", flush=True)
            print("", compare_first(chromium, url, photos[0], options.first), sep="\n", flush=True)
            print("", compare_times(chromium, url, photos[:30], options.rounds), sep="\n")
            chromium.close()


if __name__ == "__main__":
    main()
