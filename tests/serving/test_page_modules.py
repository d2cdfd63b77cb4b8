"""The page's own modules in Node: requests, photos and their queues, heat maps, graphs, words."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from page_node import LACKING, PAGE, Run, scripts_in
from PIL import Image, ImageOps

import mobilenetv2 as mn
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluation.gradcam import overlay
from mobilenetv2.images.decode import ORIENTATION, decode
from mobilenetv2.images.display import enlarge_picture, enlarge_smoothly
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.serving.device_files import device_graph
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking")

SERVER = """
import { connect } from "./server.js";
const asked = [];
const waited = [];
const answers = [...given];
globalThis.fetch = async (url, options) => {
  const one = answers.shift();
  asked.push([options.method ?? "GET", url.pathname + url.search,
    options.headers.get("Authorization")]);
  if (one === null) throw new TypeError("fetch failed");
  const { status, headers, body } = one;
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
};
const wait = async (seconds) => { waited.push(seconds); };
let denied = 0;
const base = new URL("http://x/photos/");
const server = connect("abc", { base, wait, onDenied: () => denied++ });
const failure = async (work) => {
  try { await work(); return null; } catch (error) { return [error.status, error.message]; }
};
const done = (found) => console.log(JSON.stringify({ asked, waited, denied, found }));
"""


@pytest.fixture
def node(tmp_path: Path) -> Run:
    return scripts_in(tmp_path)


def refused(status: int, after: str | None = None, error: str | None = None) -> dict[str, object]:
    headers = {} if after is None else {"Retry-After": after}
    body: object = "<html>" if error is None else {"error": error, "status": status}
    return {"status": status, "headers": headers, "body": body}


def test_facts_are_asked_for_until_the_server_is_ready(node: Run) -> None:
    fine = {"status": 200, "body": {"version": "1"}}
    waits = [refused(503, "7"), refused(503, "Wed, 21 Oct"), refused(503, "0"), refused(503, "900")]
    script = "let n = 0; const found = await server.facts(() => n++); done([found, n]);"
    said = node(SERVER + script, [*waits * 3, fine])
    assert said["found"] == [{"version": "1"}, 12]
    assert said["waited"] == [7, 1, 0.1, 20] * 3
    assert said["asked"] == [["GET", "/photos/page.json", "Bearer abc"]] * 13


def test_requests_are_sent_again_a_few_times(node: Run) -> None:
    script = """
    const photo = new File(["x"], "a.jpg");
    done(await server.predict("red hat", [photo, photo]));
    """
    answers = [{"image": "a.jpg", "predictions": []}, refused(422, None, "no photo")["body"]]
    fine = {"status": 200, "body": {"answers": answers}}
    said = node(SERVER + script, [refused(429, "2"), refused(503, "1", "x"), fine])
    assert said["waited"] == [2, 1]
    assert said["asked"][0][:2] == ["POST", "/photos/predict?model=red%20hat"]
    assert said["found"][1]["error"] == "no photo"
    script = "done(await failure(() => server.explain('m', new File([], 'a'), 'red hat')));"
    said = node(SERVER + script, [refused(429, "2", "the queue is full")] * 9)
    assert said["found"] == [429, "the queue is full"] and len(said["asked"]) == 6
    assert said["asked"][0][1] == "/photos/explain?model=m&class=red%20hat"


def test_failures_are_sentences(node: Run) -> None:
    script = """
    const found = [];
    for (let i = 0; i < 4; i++) found.push(await failure(() => server.facts()));
    const [one] = await server.predict("m", [new File(["x"], "a.jpg")]);
    done([...found, one]);
    """
    given = [None, refused(500), refused(401, None, "a token is needed"),
             {"status": 200, "body": "<p>hello"}, refused(415, None, "no photo")]  # fmt: skip
    said = node(SERVER + script, given)
    assert said["found"] == [
        [0, "The server cannot be reached: check the connection, then try again."],
        [500, "The server's answer cannot be read: it has the status 500."],
        [401, "a token is needed"],
        [200, "The server's answer cannot be read: it has the status 200."],
        {"image": "a.jpg", "error": "no photo", "status": 415},
    ]
    assert said["denied"] == 1


def test_files_are_read_with_their_progress(node: Run) -> None:
    script = """
    const steps = [];
    const read = await server.fetchBytes("device/a/b", (...step) => steps.push(step));
    done([new TextDecoder().decode(read), steps.at(-1)]);
    """
    body = "x" * 1000
    headers = {"Content-Length": "1000"}
    said = node(SERVER + script, [{"status": 200, "body": body, "headers": headers}])
    assert said["found"] == [body, [1000, 1000]]
    headers |= {"Content-Encoding": "gzip"}  # the length is that of the packed file
    said = node(SERVER + script, [{"status": 200, "body": body, "headers": headers}])
    assert said["found"] == [body, [1000, None]]


PHOTOS = """
import { Photos, compared } from "./photos.js";
const models = ["a", "b"].map((name) => ({
  name, labels: ["x", "y"], outputs: "softmax", size: [4, 4],
  preprocessing: { size: [4, 4], resize: [4, 4], fit: "stretch", central_fraction: 1,
    interpolation: "bilinear", mean: [0, 0, 0], std: [1, 1, 1] },
}));
const sent = [];
const computed = [];
const server = {
  predict: async (model, files, { signal }) => {
    sent.push([model, ...files.map((file) => file.name)]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    signal.throwIfAborted();
    return files.map((file) => file.name === "bad"
      ? { image: "bad", error: "no photo", status: 422 }
      : { image: file.name, predictions: [{ index: 0, label: "x", probability: 0.75 }] });
  },
};
let lost = false;
const device = async (model) => {
  if (lost) throw new Error("no WebAssembly");
  return { model, run: async () => {
    computed.push(model.name);
    return { logits: Float32Array.of(1, 0) };
  } };
};
const readPixels = async (file) => {
  if (file.name === "bad") throw new Error("cannot read");
  return { width: 4, height: 4, data: new Uint8ClampedArray(64) };
};
const limits = { bytes: 10_000, photos: 2 };
const photos = new Photos({ server, device, readPixels, limits });
const made = (name, size = 10) => new File([new Uint8Array(size)], name);
const settled = async () => {
  do await new Promise((resolve) => setTimeout(resolve, 20)); while (photos.busy.size);
};
const states = (place) => photos.all.map((one) => photos.result(one, place)?.state ?? "none");
const done = (found) => console.log(JSON.stringify({ sent, computed, found }));
"""


def test_photos_go_to_the_server_in_portions(node: Run) -> None:
    script = """
    photos.choose(models[0], ["server"]);
    photos.add(["1", "2", "bad", "3"].map((name) => made(name)).concat(made("large", 20_000)));
    photos.add([made("4", 8_000), made("5", 8_000)]);
    await settled();
    const errors = photos.all.map((one) => photos.result(one, "server"));
    done([states("server"), errors.filter((one) => one.error).map((one) => [one.error, one.again]),
      photos.counts]);
    """
    said = node(PHOTOS + script)
    assert said["sent"] == [["a", "1", "2"], ["a", "bad", "3"], ["a", "4"], ["a", "5"]]
    states, errors, counts = said["found"]
    assert states == ["done", "done", "failed", "done", "failed", "done", "done"]
    assert errors == [
        ["no photo", False], ["large has 0 MB, more than the server's limit of 0 MB.", False],
    ]  # fmt: skip
    assert counts == {"done": 7, "failed": 2, "all": 7} and said["computed"] == []


def test_photos_of_this_device_are_sent_only_when_that_is_allowed(node: Run) -> None:
    script = """
    photos.choose(models[0], ["device"]);
    photos.add(["1", "bad", "2"].map((name) => made(name)));
    await settled();
    const first = states("device");
    photos.choose(models[0], ["server", "device"]);
    await settled();
    const second = [states("server"), photos.counts];
    photos.allow(photos.all[2]);
    photos.add([made("3")]);
    await settled();
    const found = compared(photos.result(photos.all[2], "server"),
      photos.result(photos.all[2], "device"));
    done([first, second, states("server"), found]);
    """
    said = node(PHOTOS + script)
    first, second, third, found = said["found"]
    assert first == ["done", "failed", "done"]
    assert second == [["none"] * 3, {"done": 3, "failed": 1, "all": 3}]
    assert third == ["none", "none", "done", "done"]
    assert sorted(name for _, *names in said["sent"] for name in names) == ["2", "3"]
    assert found["same"] is True
    assert found["difference"] == pytest.approx(0.75 - 1 / (1 + np.exp(-1)))


def test_each_answer_belongs_to_its_model(node: Run) -> None:
    script = """
    photos.choose(models[0], ["server", "device"]);
    photos.add([made("1"), made("2"), made("3")]);
    photos.choose(models[1], ["server", "device"]); // the first request is on its way
    await settled();
    const second = [states("server"), states("device")];
    photos.choose(models[0], ["device"]);
    await settled();
    lost = true;
    const fresh = { ...models[0], name: "c" };
    photos.choose(fresh, ["device"]);
    await settled();
    const failed = photos.result(photos.all[0], "device");
    lost = false;
    photos.again(photos.all[0], "device");
    await settled();
    done([second, failed, states("device")]);
    """
    said = node(PHOTOS + script)
    second, failed, last = said["found"]
    assert second == [["done"] * 3, ["done"] * 3]
    assert said["sent"] == [["a", "1", "2"], ["b", "1", "2"], ["b", "3"]]
    assert said["computed"].count("b") == 3 and said["computed"].count("a") == 3
    assert failed == {"state": "failed", "error": "no WebAssembly", "again": True}
    assert last == ["done", "failed", "failed"]


@pytest.mark.parametrize(("side", "channels"), [(224, 3), (32, 3), (40, 1)])
def test_heat_maps_look_as_those_of_the_server(node: Run, side: int, channels: int) -> None:
    random = np.random.default_rng(side)
    picture = random.integers(0, 256, (side, side - 8, channels), np.uint8)
    values = random.random((7, 6), np.float32)
    script = """
    import { enlarged, overlay } from "./heat.js";
    const data = new Uint8ClampedArray(bytes);
    const [height, width, channels] = given.shape;
    const grid = { data: Float32Array.from(given.heat), height: 7, width: 6 };
    const made = overlay({ width, height, channels, data }, grid);
    const smooth = enlarged(grid, 50, 40);
    console.log(JSON.stringify([made.width, made.height, [...made.data], [...smooth]]));
    """
    given = {"shape": picture.shape, "heat": values.ravel().tolist()}
    width, height, data, smooth = node(script, given, picture.tobytes())
    wanted = overlay(enlarge_picture(picture, 288), values)
    assert (height, width) == wanted.shape[:2]
    found = np.asarray(data).reshape(height, width, 4)
    assert (found[..., 3] == 255).all()
    assert np.abs(found[..., :3] - wanted).max() <= 1
    np.testing.assert_allclose(
        np.asarray(smooth).reshape(50, 40), enlarge_smoothly(values, 50, 40), atol=1e-6
    )


def test_a_graph_for_gpus_has_the_same_results(node: Run, tmp_path: Path) -> None:
    interpreter = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed: pip install it"
    )
    spec = NetworkSpec(width=0.35, size=(32, 32), classes=4)
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(tuple("abcd")))
    graphs = [device_graph(config, random_arrays(spec))]
    graphs.append(device_graph(*store.load(Path(mn.__file__).parent / "embedded")))
    script = """
    import { floatGraph } from "./float_graph.js";
    const before = new Uint8Array(bytes).slice();
    fs.writeFileSync("float.tflite", floatGraph(new Uint8Array(bytes)));
    console.log(before.every((value, i) => value === new Uint8Array(bytes)[i]));
    """
    for graph in graphs:
        assert node(script, data=graph) is True
        outputs, operators = [], []
        for content in (graph, (tmp_path / "float.tflite").read_bytes()):
            made = interpreter.Interpreter(model_content=content, num_threads=1)
            made.allocate_tensors()
            (given,) = made.get_input_details()
            values = np.random.default_rng(1).normal(size=given["shape"]).astype(np.float32)
            made.set_tensor(given["index"], values)
            made.invoke()
            outputs.append(
                {one["name"]: made.get_tensor(one["index"]) for one in made.get_output_details()}
            )
            operators.append({one["op_name"] for one in made._get_ops_details()})
        assert "DEQUANTIZE" in operators[0] and "DEQUANTIZE" not in operators[1]
        assert outputs[0].keys() == outputs[1].keys() and len(outputs[0]) == 3
        for name, array in outputs[0].items():
            np.testing.assert_allclose(outputs[1][name], array, rtol=1e-5, atol=1e-5)


def webp(turn: int, order: str = "MM", mark: bytes = b"", damage: bool = False) -> bytes:
    """A WebP file without loss whose EXIF metadata have an orientation."""
    values = np.random.default_rng(turn).integers(0, 256, (5, 8, 3), np.uint8)
    tag = struct.pack({"MM": ">HHIHH", "II": "<HHIHH"}[order], ORIENTATION, 3, 1, turn, 0)
    head = struct.pack({"MM": ">2sHIH", "II": "<2sHIH"}[order], order.encode(), 42, 8, 1)
    exif = mark + head + (tag[:5] if damage else tag + bytes(4))
    memory = io.BytesIO()
    Image.fromarray(values).save(memory, "WEBP", lossless=True, exif=exif)
    return memory.getvalue()


def test_webp_files_are_turned_as_by_pillow_where_the_browser_does_not(node: Run) -> None:
    files = [webp(turn) for turn in range(1, 9)]
    files += [webp(6, "II"), webp(8, mark=b"Exif\0\0"), webp(9), webp(0), webp(6, damage=True)]
    others = [files[5][:60], b"RIFF", b"", files[5].replace(b"WEBP", b"WAVE")]
    script = """
    import { remainingOrientation, upright } from "./orientation.js";
    let place = 0;
    const blobs = given.sizes.map((size) => new Blob([bytes.slice(place, place += size)]));
    const ask = async () => {
      const found = [];
      for (const blob of blobs) found.push(await remainingOrientation(blob));
      return found;
    };
    let decoded = 0;
    globalThis.createImageBitmap = async (blob) => {
      decoded++;
      if (given.applies) return { width: 1, height: 2, close: () => {} };
      return { width: 2, height: 1, close: () => {} };
    };
    const asked = await ask();
    const data = new Uint8ClampedArray(bytes.slice(place));
    const pictures = given.pictures.map((orientation) => {
      const { width, height, data: found } = upright({ width: 8, height: 5, data }, orientation);
      return [height, width, [...found]];
    });
    console.log(JSON.stringify([asked, decoded, pictures]));
    """
    photo = np.random.default_rng(1).integers(0, 256, (5, 8, 4), np.uint8)
    given = {"sizes": [len(one) for one in files + others], "pictures": [*range(1, 9)]}
    data = b"".join([*files, *others, photo.tobytes()])
    asked, decoded, pictures = node(script, given | {"applies": False}, data)
    assert asked == [*range(1, 9), 6, 8, 1, 1, 1, 1, 1, 1, 1] and decoded == 1
    # A browser that turns them itself leaves nothing to be done.
    asked, decoded, _ = node(script, given | {"applies": True}, data)
    assert set(asked) == {1} and decoded == 1
    for orientation, (height, width, values) in enumerate(pictures, 1):
        image = Image.fromarray(photo)
        image.getexif()[ORIENTATION] = orientation
        wanted = np.asarray(ImageOps.exif_transpose(image))
        assert (height, width) == wanted.shape[:2]
        assert values == wanted.ravel().tolist()
    for turn, file in enumerate(files, 1):  # Pillow reads the same, from the same files
        with Image.open(io.BytesIO(file)) as image:
            tag = 1 if turn == len(files) else image.getexif().get(ORIENTATION)
        assert tag == ([*range(1, 9), 6, 8, 9, 0, 1])[turn - 1]


def test_photos_that_the_server_refuses_as_too_small_are_refused_here(node: Run) -> None:
    script = """
    import { readPixels } from "./pixels.js";
    const said = [];
    for (const languages of [["en"], ["zh"]]) {
      Object.defineProperty(globalThis, "navigator", { value: { languages }, configurable: true });
      for (const [width, height] of given) {
        globalThis.createImageBitmap = async () => ({ width, height, close: () => {} });
        globalThis.OffscreenCanvas = class { getContext() { return null; } };
        const file = new File(["x"], "a.png");
        said.push(await readPixels(file).then(() => "", (error) => error.message));
      }
    }
    console.log(JSON.stringify(said));
    """
    sizes = [(3, 9), (9, 3), (1, 1), (4, 4)]
    *few, enough = (said := node(script, sizes))[:4]
    for (width, height), sentence in zip(sizes, few, strict=False):
        memory = io.BytesIO()
        Image.new("RGB", (width, height)).save(memory, "PNG")
        with pytest.raises(ImageError) as error:
            decode(memory.getvalue(), "a.png")
        assert sentence == str(error.value)
    assert "too few" not in enough
    assert "3 x 9 像素太少" in said[4] and said[4].endswith("至少须为 4 像素")


# Keys that end in a name: of a place, of what computes.
MADE = {f"place.{one}{end}" for one in ("server", "device", "both") for end in ("", "Hint")}
MADE |= {"device.wasm", "device.webgpu"}


@pytest.mark.parametrize("module", ["words_page", "words_teach"])
def test_words_are_in_both_languages_and_used(node: Run, module: str) -> None:
    script = """
    const { WORDS } = await import(`./${given}.js`);
    console.log(JSON.stringify(WORDS));
    """
    words = node(script, module)
    english, chinese = words["en"], words["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", chinese[key])), key
    others = [path for path in PAGE.glob("*.js") if not path.name.startswith("words_")]
    used = "".join(path.read_text("utf-8") for path in [*others, PAGE / "index.html"])
    for key in english.keys() - MADE:
        assert f'"{key}"' in used, key
    for key in re.findall(r'say\("([\w.]+)"', used):
        if key.startswith("teach.") == (module == "words_teach"):
            assert key in english, key


def test_texts_take_values_and_the_language_of_the_browser(node: Run) -> None:
    script = """
    import * as words from "./words.js";
    const { language, megabytes, percent } = words;
    const found = [];
    for (const languages of [["de-DE", "zh-TW", "en"], ["fr"], ["en-US", "zh"]]) {
      Object.defineProperty(globalThis, "navigator", { value: { languages }, configurable: true });
      found.push([language(), words.say("retry"), percent(0.12345), percent(0.5, 0)]);
    }
    const name = "{name}.jpg";
    found.push([words.say("card.remove", { name }), words.say("none.such"), megabytes(3.66e6)]);
    console.log(JSON.stringify(found));
    """
    assert node(script) == [
        ["zh", "重试", "12.3%", "50%"],
        ["en", "Try again", "12.3%", "50%"],
        ["en", "Try again", "12.3%", "50%"],
        ["Remove {name}.jpg", "none.such", "3.7 MB"],
    ]


def test_a_device_computes_what_it_was_asked_for_before_it_is_closed(node: Run) -> None:
    script = """
    import { Device } from "./device.js";
    const steps = [];
    const compiled = { backend: "webgpu", close: () => steps.push("closed"), run: async (input) => {
      steps.push(input[0]);
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (input[0] === 2) throw new Error("the GPU is lost");
      return input[0];
    } };
    const model = { name: "a", size: [1, 1], preprocessing: { mean: [0] } };
    const device = new Device(model, compiled, 1);
    const said = [];
    const ask = (...input) => device.run(Float32Array.from(input)).then(
      (found) => said.push(found), (error) => said.push(error.message));
    const asked = [ask(1), ask(2), ask(3), ask(4, 5)];
    const before = device.lost;
    device.close();
    device.close();
    asked.push(ask(6));
    await Promise.all(asked);
    await new Promise((resolve) => setTimeout(resolve, 5));
    console.log(JSON.stringify({ steps, said: said.sort(), lost: [before, device.lost] }));
    """
    assert node(script) == {
        "steps": [1, 2, 3, "closed"],
        "said": [
            1,
            3,
            "Another model was chosen meanwhile.",
            "The photo was prepared for another model.",
            "the GPU is lost",
        ],
        "lost": [False, True],
    }


def test_a_photo_to_teach_with_stays_when_the_model_changes_meanwhile(node: Run) -> None:
    script = """
    import { Teacher } from "./teach.js";
    const preprocessing = { size: [4, 4], resize: [4, 4], fit: "stretch", central_fraction: 1,
      interpolation: "bilinear", mean: [0, 0, 0], std: [1, 1, 1] };
    const models = ["a", "b"].map((name) => ({ name, preprocessing }));
    let chosen = models[0];
    const device = async () => {
      const model = chosen;
      return { model, run: async () => {
        if (model.name === "a") {
          chosen = models[1]; // while this one computes, which ends it
          throw new Error("Another model was chosen meanwhile.");
        }
        return { features: Float32Array.of(1, 2) };
      } };
    };
    const readPixels = async () => ({ width: 4, height: 4, data: new Uint8ClampedArray(64) });
    const teacher = new Teacher({ device, model: () => chosen, readPixels, say });
    const one = teacher.addClass("hat");
    await teacher.addPhotos(one, [{ name: "1.jpg", blob: new Blob() }]);
    console.log(JSON.stringify([one.photos.length, teacher.problems, teacher.ready]));
    """
    assert node(script) == [1, [], 1]
