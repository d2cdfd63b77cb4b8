"""The page's scripts, run by Node, against the modules and libraries that they repeat."""

import dataclasses
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_node import LACKING, PAGE, Run, scripts_in
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

import mobilenetv2 as mn
import mobilenetv2.serving
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluation.gradcam import class_weights, colours, heat
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.images.preprocess import normalise, preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import answering_classes, probabilities
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Interpolation, Labels, ModelConfig, Origin, Preprocessing

FILTERS: tuple[Interpolation, ...] = ("nearest", "box", "bilinear", "bicubic", "lanczos")

pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking")


@pytest.fixture
def node(tmp_path: Path) -> Run:
    """Runs a script beside the page's, and returns the JSON that it prints.

    Its arguments lie in ``given`` and its arrays, one after another, in ``bytes``.
    """
    return scripts_in(tmp_path)


def record(random: np.random.Generator, channels: int) -> Preprocessing:
    """A preprocessing of any kind."""
    size = tuple(random.integers(1, 100, 2).tolist())
    margin = tuple(random.integers(0, 60, 2).tolist())
    resize = (size[0] + margin[0], size[1] + margin[1])
    if random.random() < 0.4:  # a square truncates the longer side, other shapes round it
        resize = (max(resize),) * 2
    return Preprocessing(
        size=(size[0], size[1]),
        resize=resize,
        fit=random.choice(["cover", "stretch", "none"], p=[0.5, 0.4, 0.1]),
        central_fraction=float(random.choice([1, 0.875, random.uniform(0.05, 1)])),
        interpolation=FILTERS[random.integers(len(FILTERS))],
        mean=tuple(random.uniform(0, 255, channels).tolist()),
        std=tuple(random.uniform(0.1, 255, channels).tolist()),
    )


def picture(random: np.random.Generator) -> NDArray:
    """A noisy picture with a random last channel, which is to be passed over."""
    height, width = random.integers(1, 400, 2).tolist()
    return random.integers(0, 256, (height, width, 4), np.uint8)


PREPARE = """
import { normalise, prepare } from "./resize.js";
import { createHash } from "node:crypto";
const digest = (data) => createHash("sha256").update(data).digest("hex");
let place = 0;
console.log(JSON.stringify(given.map(({ width, height, record }) => {
  const size = 4 * width * height;
  const data = new Uint8ClampedArray(bytes, place, size);
  place += size;
  try {
    const found = prepare({ width, height, data }, record);
    return [digest(found), digest(new Uint8Array(normalise(found, record).buffer))];
  } catch (error) {
    return error.message;
  }
})));
"""


def prepared(run: Run, cases: list[tuple[NDArray, Preprocessing]]) -> Any:
    given = [
        {"width": image.shape[1], "height": image.shape[0], "record": to_mapping(each)}
        for image, each in cases
    ]
    return run(PREPARE, given, b"".join(image.tobytes() for image, _ in cases))


def test_a_photo_is_prepared_bit_for_bit_as_by_pillow(node: Run) -> None:
    from hashlib import sha256

    random = np.random.default_rng(27)
    cases = [(picture(random), record(random, [1, 3][i % 2])) for i in range(400)]
    found, refused, orders = prepared(node, cases), 0, set()
    for (image, each), answer in zip(cases, found, strict=True):
        try:
            # As in the browser, the last channel is not part of the photo.
            wanted = preprocess(Image.fromarray(image[..., :3].copy()), each, "photo")
        except ImageError as error:
            assert isinstance(answer, str), (image.shape, each)
            assert answer.split(" are fewer ")[0] == str(error).split(": ")[1].split(" are few")[0]
            refused += 1
            continue
        digests = [sha256(a.tobytes()).hexdigest() for a in (wanted, normalise(wanted, each))]
        assert answer == digests, (image.shape, each)
        orders.add((image.shape[0] > image.shape[1], each.fit))
    assert 0 < refused < 40  # pictures that are smaller than a network that resizes none
    assert len(orders) >= 5


def test_every_filter_in_both_orders_of_its_passes(node: Run) -> None:
    from hashlib import sha256

    random = np.random.default_rng(3)
    cases = []
    for interpolation in FILTERS:
        # Pillow begins with the height where it shrinks by more than twice what the width does.
        for shape in ((301, 200), (300, 200), (299, 200), (90, 40), (40, 90), (100, 40), (7, 9)):
            image = random.integers(0, 256, (*shape, 4), np.uint8)
            each = Preprocessing((100, 100), (100, 100), "stretch", interpolation=interpolation)
            cases.append((image, dataclasses.replace(each, mean=(0, 0, 0), std=(1, 1, 1))))
    for (image, each), answer in zip(cases, prepared(node, cases), strict=True):
        wanted = preprocess(Image.fromarray(image[..., :3].copy()), each)
        assert answer[0] == sha256(wanted.tobytes()).hexdigest(), (image.shape, each.interpolation)


def test_a_strip_that_would_take_too_much_memory_is_refused_as_on_the_server(node: Run) -> None:
    image = np.zeros((1, 90_000, 4), np.uint8)
    each = Preprocessing((256, 256), (256, 256))
    (found,) = prepared(node, [(image, each)])
    with pytest.raises(ImageError) as error:
        preprocess(Image.fromarray(image[..., :3].copy()), each, "photo")
    # The server groups digits and names the photo.
    assert f"photo: {found}".replace(",", "") == str(error.value).replace(",", "")


def test_halves_are_rounded_as_python_rounds_them(node: Run) -> None:
    values = [0.5, 1.5, 2.5, 3.5, -0.5, -1.5, 0.49999999999999994, 2.4, 2.6, 1e15 + 0.5, 7]
    script = 'import { roundHalfEven } from "./resize.js";'
    found = node(f"{script} console.log(JSON.stringify(given.map(roundHalfEven)))", values)
    assert found == [round(value) for value in values]


def test_probabilities_and_answers_are_those_of_python(node: Run) -> None:
    random = np.random.default_rng(5)
    cases: list[dict[str, Any]] = []
    for outputs in ("softmax", "sigmoid", "logit"):
        for count in (1, 2, 5, None):
            size = 1 if outputs == "logit" else 9
            logits = random.normal(0, random.choice([1, 30, 800]), size).astype(np.float32)
            logits[: size // 2] = np.round(logits[: size // 2])  # equal ones: the first comes first
            cases.append({"outputs": outputs, "logits": logits.tolist(), "count": count})
    script = """
    import { best, probabilities } from "./outputs.js";
    console.log(JSON.stringify(given.map(({ outputs, logits, count }) => {
      const found = probabilities(logits, outputs);
      const labels = Array.from(found, (_, index) => `class ${index}`);
      return { found: [...found], best: best(found, outputs, labels, count ?? undefined) };
    })));
    """
    for case, found in zip(cases, node(script, cases), strict=True):
        wanted = probabilities(np.asarray(case["logits"], np.float32), case["outputs"])
        np.testing.assert_allclose(found["found"], wanted, rtol=1e-12, atol=1e-300)
        order = answering_classes(np.asarray(found["found"]), case["outputs"], case["count"])
        assert [one["index"] for one in found["best"]] == order
        assert [one["label"] for one in found["best"]] == [f"class {i}" for i in order]


def test_outputs_that_are_not_finite_are_a_sentence(node: Run) -> None:
    script = """
    import { probabilities } from "./outputs.js";
    const bad = [[1, NaN], [Infinity, 1]];
    const found = bad.map((each) => message(() => probabilities(each, "softmax")));
    console.log(JSON.stringify(found));
    """
    assert all("outputs are not finite" in sentence for sentence in node(script))


@pytest.mark.parametrize(
    "classifier",
    [
        ClassifierSpec(),
        ClassifierSpec(pooling="max", outputs="sigmoid"),
        ClassifierSpec(outputs="logit", bias=False),
        ClassifierSpec(hidden=(HiddenSpec(7), HiddenSpec(6, "relu6", bias=False))),
        ClassifierSpec(hidden=(HiddenSpec(5, "none"),), outputs="logit"),
    ],
    ids=lambda each: f"{each.pooling}-{each.outputs}-{len(each.hidden)}",
)
def test_heat_maps_are_those_of_gradcam(node: Run, classifier: ClassifierSpec) -> None:
    spec = NetworkSpec(width=0.35, size=(32, 32), classes=2, head="none", classifier=classifier)
    shapes = parameter_shapes(spec)
    names = [name for name in shapes if name.startswith(("hidden", "classifier"))]
    arrays = {name: array for name, array in random_arrays(spec).items() if name in names}
    channels = next(shapes[name][1] for name in names if name.endswith("weight"))
    maps = np.random.default_rng(8).uniform(0, 6, (3, 4, channels)).astype(np.float32)
    script = """
    import { classWeights, heat } from "./outputs.js";
    import { read } from "./safetensors.js";
    const [height, width, channels] = given.shape;
    const map = { data: Float32Array.from(given.map), height, width, channels };
    const { tensors } = read(bytes);
    console.log(JSON.stringify([0, 1].map((index) => {
      const weights = classWeights(tensors, given.classifier, map, index);
      return [[...weights], [...heat(map, weights).data]];
    })));
    """
    given = {
        "shape": maps.shape,
        "map": maps.ravel().tolist(),
        "classifier": to_mapping(classifier),
    }
    for index, (weights, found) in enumerate(node(script, given, save(arrays))):
        wanted = class_weights(spec, arrays, maps, index)
        np.testing.assert_allclose(weights, wanted, rtol=1e-9, atol=1e-12)
        expected = heat(maps, wanted)
        np.testing.assert_allclose(found, expected.ravel(), atol=1e-6)


def test_a_map_without_support_or_that_is_not_finite_has_no_heat(node: Run) -> None:
    script = """
    import { heat } from "./outputs.js";
    const found = [NaN, Infinity, -1].map((value) => {
      const data = Float32Array.of(value, value);
      return [...heat({ data, height: 1, width: 2, channels: 1 }, [1]).data];
    });
    console.log(JSON.stringify(found));
    """
    assert node(script) == [[0, 0]] * 3


def test_colours_are_those_of_gradcam(node: Run) -> None:
    values = [*np.linspace(0, 1, 97).tolist(), -0.5, 1.5]
    script = 'import { colour } from "./outputs.js";'
    found = node(f"{script} console.log(JSON.stringify(given.map(colour)))", values)
    np.testing.assert_allclose(found, colours(np.asarray(values)), atol=1e-4)


def test_safetensors_are_read_and_written_as_by_its_package(node: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    kinds = ("f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?")
    arrays = {
        f"{kind} {i}": (100 * random.random((3, i))).astype(kind)
        for kind in kinds
        for i in range(3)
    }
    arrays |= {"scalar": np.array(3, "f4"), "Ä ö": np.arange(5, dtype="f4")}
    given = save(arrays, {"format_version": "1"})
    script = """
    import { read, write } from "./safetensors.js";
    const { tensors, metadata } = read(bytes);
    const first = tensors.get("f4 2");
    fs.writeFileSync("written", write(tensors, metadata));
    console.log(JSON.stringify([metadata, tensors.size, first.shape, [...first.data]]));
    """
    metadata, count, shape, values = node(script, data=given)
    assert (metadata, count, shape) == ({"format_version": "1"}, len(arrays), [3, 2])
    np.testing.assert_array_equal(values, arrays["f4 2"].ravel())
    assert (tmp_path / "written").read_bytes() == given  # the same tensors give the same bytes


def header(text: str | bytes, tail: bytes = b"") -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data + tail


HOSTILE = {
    "empty": b"",
    "short": b"\x01\0\0",
    "a header without an end": struct.pack("<Q", 2**63) + b"{}",
    "a header that is longer": struct.pack("<Q", 100) + b"{}",
    "no JSON": header("{nothing"),
    "a list": header("[]"),
    "no UTF-8": header(b'{"\xff": 1}'),
    "deep": header('{"a":' * 100_000),
    "an entry that is a number": header('{"a": 5}'),
    "another type": header('{"a": {"dtype": "Q9", "shape": [], "data_offsets": [0, 0]}}'),
    "a type of the language": header(
        '{"a": {"dtype": "constructor", "shape": [0], "data_offsets": [0, 0]}}'
    ),
    "a negative side": header(
        '{"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}', b"x"
    ),
    "half a side": header('{"a": {"dtype": "U8", "shape": [0.5], "data_offsets": [0, 1]}}', b"x"),
    "a side that overflows": header(
        '{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}'
    ),
    "outside": header('{"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}', b"x"),
    "backwards": header('{"a": {"dtype": "U8", "shape": [1], "data_offsets": [2, 1]}}', b"xx"),
    "another size": header(
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"four"
    ),
    "a gap": header('{"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}', b"xx"),
    "an overlap": header(
        '{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},'
        ' "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}',
        b"xxx",
    ),
    "more bytes": header('{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"xx"),
    "metadata that are no texts": header('{"__metadata__": {"a": 1}}'),
}


def test_hostile_safetensors_are_refused_where_the_package_refuses_them(node: Run) -> None:
    script = """
    import { read } from "./safetensors.js";
    let place = 0;
    console.log(JSON.stringify(given.map((size) => {
      const part = bytes.slice(place, (place += size));
      return message(() => read(part));
    })));
    """
    found = node(script, [len(data) for data in HOSTILE.values()], b"".join(HOSTILE.values()))
    for (name, data), sentence in zip(HOSTILE.items(), found, strict=True):
        with pytest.raises(SafetensorError):
            load(data)
        assert "damaged safetensors file" in sentence or "is not read" in sentence, name
        assert "\n" not in sentence and len(sentence) < 300, name


REGRESSION = """
import { fit, foldsOf, logitsOf, tableOf, teach, wilson } from "./regression.js";
const table = tableOf(given.rows);
"""


def problem(photos: int, features: int, classes: int, seed: int) -> tuple[NDArray, NDArray]:
    random = np.random.default_rng(seed)
    labels = np.arange(photos) % classes
    centres = random.normal(size=(classes, features))
    return (random.normal(0, 3, (photos, features)) + centres[labels]).astype(np.float32), labels


@pytest.mark.parametrize(
    ("shape", "inverse"), [((60, 20, 3), 0.1), ((40, 30, 2), 0.3), ((50, 300, 5), 0.01)]
)
def test_the_fit_is_that_of_scikit_learn(
    node: Run, shape: tuple[int, int, int], inverse: float
) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    rows, labels = problem(*shape, seed=1)
    classes = shape[2]
    script = """
    const how = { inverse: given.inverse, tolerance: 1e-9, steps: 3000 };
    const layer = await fit(table, given.labels, given.classes, how);
    const logits = logitsOf(table, layer);
    console.log(JSON.stringify([layer.weight, layer.bias, logits].map((each) => [...each])));
    """
    given = {
        "rows": rows.tolist(), "labels": labels.tolist(), "classes": classes, "inverse": inverse,
    }  # fmt: skip
    weight, bias, logits = map(np.asarray, node(REGRESSION + script, given))
    # Of two classes scikit-learn fits one row. Two rows with opposite signs have half the penalty.
    model = linear.LogisticRegression(
        C=inverse * (2 if classes == 2 else 1), tol=1e-7, max_iter=9999
    )
    model.fit(rows.astype(np.float64), labels)
    coefficients, intercept = model.coef_, model.intercept_
    if classes == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    np.testing.assert_allclose(weight.reshape(coefficients.shape), coefficients, atol=1e-5)
    np.testing.assert_allclose(bias - bias.mean(), intercept - intercept.mean(), atol=1e-4)
    answers = logits.reshape(-1, classes)
    np.testing.assert_array_equal(answers.argmax(1), model.predict(rows.astype(np.float64)))


def test_the_penalty_is_chosen_by_the_loss_of_photos_that_were_left_out(node: Run) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, labels = problem(45, 60, 3, seed=4)
    script = """
    const shares = [];
    const onProgress = (share) => shares.push(share);
    const found = await teach(table, given.labels, 3, { onProgress });
    const folds = [...foldsOf(given.labels, 3)];
    const { layer, ...rest } = found;
    console.log(JSON.stringify({ ...rest, folds, parts: rest.folds, shares,
      layer: { weight: [...layer.weight], bias: [...layer.bias] } }));
    """
    found = node(REGRESSION + script, {"rows": rows.tolist(), "labels": labels.tolist()})
    folds, classes = np.asarray(found["folds"]), range(3)
    assert found["parts"] == 5
    for index in classes:  # each class in equal parts, and neighbours in the same one
        own = folds[labels == index]
        assert np.bincount(own).tolist() == [3] * 5 and (np.diff(own) >= 0).all()
    losses, answers = {}, {}
    for inverse in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3):
        loss, answer = 0.0, np.zeros(45, int)
        for fold in range(5):
            train, test = folds != fold, folds == fold
            mean, std = rows[train].mean(0), rows[train].std(0)
            model = LogisticRegression(C=inverse, tol=1e-8, max_iter=5000)
            model.fit((rows[train] - mean) / std, labels[train])
            logarithms = model.predict_log_proba((rows[test] - mean) / std)
            loss -= logarithms[np.arange(test.sum()), labels[test]].sum()
            answer[test] = logarithms.argmax(1)
        losses[inverse], answers[inverse] = loss / 45, answer
    chosen = min(losses, key=losses.__getitem__)
    assert found["inverse"] == chosen
    assert found["loss"] == pytest.approx(losses[chosen], rel=1e-3)
    wrong = np.flatnonzero(answers[chosen] != labels)
    assert [one["place"] for one in found["wrong"]] == wrong.tolist()
    assert [one["answer"] for one in found["wrong"]] == answers[chosen][wrong].tolist()
    assert (found["right"], found["images"]) == (45 - len(wrong), 45)
    assert 0 < len(wrong) < 45  # else the comparison would say little
    assert found["interval"] == pytest.approx(wilson(45 - len(wrong), 45), abs=1e-12)
    assert found["shares"] == sorted(found["shares"]) and found["shares"][-1] == 1
    # The layer applies to the features as they are.
    model = LogisticRegression(C=chosen, tol=1e-8, max_iter=5000)
    model.fit((rows - rows.mean(0)) / rows.std(0), labels)
    logits = rows @ np.reshape(found["layer"]["weight"], (3, -1)).T + found["layer"]["bias"]
    wanted = model.decision_function((rows - rows.mean(0)) / rows.std(0))
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), atol=0.01
    )


def test_two_photos_of_each_class_can_be_taught(node: Run) -> None:
    script = """
    const found = await teach(table, [0, 0, 1, 1], 2);
    const finite = found.layer.weight.every(Number.isFinite);
    console.log(JSON.stringify([found.folds, found.right, finite]));
    """
    # The second feature never changes: its spread is 0.
    rows = [[0.0, 5.0], [0.1, 5.0], [9.0, 5.0], [9.1, 5.0]]
    assert node(REGRESSION + script, {"rows": rows}) == [2, 4, True]


def test_folders_are_classes(node: Run) -> None:
    paths = [
        "clothes/train/hat/2.jpg", "clothes/train/hat/10.JPG", "clothes/test/hat/3.png",
        "clothes/train/shoes/1.webp", "clothes/notes.txt", "clothes/.DS_Store",
        "clothes/__MACOSX/hat/1.jpg", ".hidden/1.jpg", "loose.heic", "picture",
    ]  # fmt: skip
    script = """
    import { byFolder } from "./dropped.js";
    const type = (path) => (path === "picture" ? "image/png" : "");
    const found = byFolder(given.map((path) => ({ path, file: { name: path, type: type(path) } })));
    const classes = [...found.classes].map(([name, files]) => [name, files.map((f) => f.name)]);
    console.log(JSON.stringify({ passed: found.passed, classes }));
    """
    found = node(script, paths)
    assert found["passed"] == 1  # the notes; hidden files are not worth a word
    assert dict(map(tuple, found["classes"])) == {
        "hat": ["clothes/test/hat/3.png", "clothes/train/hat/10.JPG", "clothes/train/hat/2.jpg"],
        "shoes": ["clothes/train/shoes/1.webp"],
        "": ["loose.heic", "picture"],
    }


def test_a_dropped_folder_that_cannot_be_read_is_a_sentence(node: Run) -> None:
    script = """
    import { receive } from "./dropped.js";
    const gone = (resolve, reject) => reject(new DOMException("it is gone", "NotFoundError"));
    const one = { isDirectory: false, name: "1.jpg", file: gone };
    const folder = (name, readEntries) => {
      const entry = { isDirectory: true, name, createReader: () => ({ readEntries }) };
      return { kind: "file", getAsFile: () => null, webkitGetAsEntry: () => entry };
    };
    const said = [];
    let stopped = 0;
    const drop = (...items) => receive({ dataTransfer: { items }, preventDefault: () => stopped++ },
      (found) => said.push(found.length), (error) => said.push(error.message));
    await drop(folder("hat", gone));
    await drop(folder("hat", (resolve) => resolve([one])));
    await drop(folder("empty", (resolve) => resolve([])));
    console.log(JSON.stringify([stopped, said]));
    """
    stopped, (folder, file, empty) = node(script)
    assert (stopped, empty) == (3, 0)
    assert folder.startswith("hat/ cannot be read (it is gone): check")
    assert file.startswith("hat/1.jpg cannot be read (it is gone): check")


TEACHER = """
import { Teacher } from "./teach.js";
const record = { size: [4, 4], resize: [4, 4], fit: "stretch", central_fraction: 1,
  interpolation: "box", mean: [0, 0, 0], std: [1, 1, 1] };
const entry = (name) => ({ name, preprocessing: record });
const entries = { one: entry("one"), two: entry("two") };
let chosen = entries.one;
const runs = [];
const device = async () => {
  const model = chosen;
  await new Promise((resolve) => setTimeout(resolve, 1));
  const sign = model.name === "one" ? 1 : -1;
  const run = async (input) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    runs.push(model.name);
    return { features: Float32Array.of(sign * input[0], input[1], 1) };
  };
  return { model, run };
};
const readPixels = async (blob) => {
  const [red, green] = new Uint8Array(await blob.arrayBuffer());
  if (red === undefined) throw new Error("it is empty");
  const data = new Uint8ClampedArray(5 * 5 * 4).map((_, i) => (i % 4 === 0 ? red : green));
  return { width: 5, height: 5, data };
};
const photo = (...values) => ({ name: `${values}.jpg`, blob: new Blob([Uint8Array.from(values)]) });
const teacher = new Teacher({ device, model: () => chosen, readPixels, say });
const failure = (work) =>
  Promise.resolve().then(work).then(() => "", (error) => error.message);
const a = teacher.addClass(" red\\n hat ");
const b = teacher.addClass("green");
"""


def test_a_teacher_says_what_it_lacks_and_learns(node: Run) -> None:
    script = """
    const few = await failure(() => teacher.train());
    teacher.addPhotos(a, [photo(200, 0), photo(210, 5), photo(), photo(190, 9)]);
    const still = await failure(() => teacher.train());
    teacher.addPhotos(b, [photo(0, 200), photo(5, 210), photo(9, 190)]);
    teacher.rename(b, "red hat");
    const twice = await failure(() => teacher.train());
    teacher.rename(b, "");
    const nameless = await failure(() => teacher.train());
    teacher.rename(b, "green");
    const training = teacher.train();
    const busy = await failure(() => teacher.train());
    const taught = await training;
    const answer = taught.answer(Float32Array.of(205, 3, 1));
    const { labels, result, wrong } = taught;
    const [before, runsBefore] = [teacher.stale, runs.length];
    teacher.removePhoto(a, a.photos[0]);
    const thumbnail = a.photos[0].thumbnail;
    console.log(JSON.stringify({ few, still, twice, nameless, busy, labels, wrong, before,
      problems: teacher.problems, images: result.images, accuracy: result.accuracy,
      probabilities: [...answer.probabilities], stale: teacher.stale, runsBefore,
      thumbnail: [thumbnail.width, thumbnail.height, thumbnail.data[0]] }));
    """
    found = node(TEACHER + script)
    assert [found[name].split()[0] for name in ("few", "still", "twice", "nameless", "busy")] == [
        "teach.few", "teach.few", "teach.twice", "teach.nameless", "teach.busy",
    ]  # fmt: skip
    assert found["labels"] == ["red hat", "green"]
    assert found["problems"] == ['teach.broken {"name":".jpg","why":"it is empty"}']
    assert (found["images"], found["accuracy"], found["wrong"]) == (6, 1, [])
    assert found["probabilities"][0] > 0.6
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert (found["before"], found["stale"]) == (False, True)
    assert found["runsBefore"] == 6  # each photo once; the broken one did not get so far
    assert found["thumbnail"] == [72, 72, 210]


def test_a_class_without_photos_is_left_out_unless_it_was_named(node: Run) -> None:
    script = """
    const empty = teacher.addClass();
    teacher.addPhotos(a, [photo(200, 0), photo(210, 5)]);
    teacher.addPhotos(b, [photo(0, 200)]);
    const one = await failure(() => teacher.train());
    teacher.addPhotos(b, [photo(5, 210)]);
    teacher.rename(empty, "blue");
    const none = await failure(() => teacher.train());
    teacher.rename(empty, "");
    const { labels, result } = await teacher.train();
    console.log(JSON.stringify([one, none, labels, result.images, teacher.filled.length]));
    """
    one, none, *trained = node(TEACHER + script)
    assert one == 'teach.short {"name":"green","n":1}'
    assert none == 'teach.short {"name":"blue","n":0}'
    assert trained == [["red hat", "green"], 4, 2]


def test_features_of_two_models_are_never_mixed(node: Run) -> None:
    script = """
    teacher.addPhotos(a, [photo(200, 0), photo(210, 5), photo(190, 9)]);
    const work = teacher.addPhotos(b, [photo(0, 200), photo(5, 210), photo(9, 190)]);
    await new Promise((resolve) => setTimeout(resolve, 8)); // one photo is under way
    chosen = entries.two;
    await teacher.modelChanged();
    await work;
    const first = (one) => one.photos.map((each) => each.features.get("two")[0]);
    const taught = await teacher.train();
    chosen = entries.one;
    const refused = await failure(async () => teacher.answer(await readPixels(photo(1, 2).blob)));
    await teacher.modelChanged();
    const forgotten = teacher.taught === null;
    teacher.addEventListener("change", () => {
      if (teacher.training > 0) chosen = entries.two; // in the middle of the training
    });
    const changed = await failure(() => teacher.train());
    console.log(JSON.stringify({ first: [...first(a), ...first(b)], model: taught.model, refused,
      forgotten, changed, none: teacher.taught === null, problems: teacher.problems }));
    """
    found = node(TEACHER + script)
    assert found["first"] == [-200, -210, -190, 0, -5, -9]
    assert found["model"] == "two"
    assert found["refused"].startswith("teach.changed")
    assert found["forgotten"] and found["none"]
    assert found["changed"].startswith("teach.changed")
    assert found["problems"] == ['teach.recompute {"model":"one"}']


def test_a_device_that_fails_leaves_the_photos_and_a_sentence(node: Run) -> None:
    script = """
    let broken = true;
    teacher.page.device = () => (broken ? Promise.reject(new Error("no WebAssembly")) : device());
    await teacher.addPhotos(a, [photo(200, 0), photo(210, 5)]);
    const problems = [...teacher.problems];
    const kept = a.photos.length;
    teacher.addPhotos(b, [photo(0, 200), photo(5, 210)]);
    const refused = await failure(() => teacher.train());
    broken = false;
    const taught = await teacher.train();
    console.log(JSON.stringify({ problems, kept, refused, labels: taught.labels }));
    """
    found = node(TEACHER + script)
    assert found["problems"] == ["no WebAssembly"] and found["kept"] == 2
    assert found["refused"] == "no WebAssembly"
    assert found["labels"] == ["red hat", "green"]


@pytest.mark.parametrize("hidden", [(), (HiddenSpec(9),)], ids=["plain", "hidden"])
def test_a_taught_model_is_a_model_folder(
    node: Run, tmp_path: Path, hidden: tuple[HiddenSpec, ...]
) -> None:
    spec = NetworkSpec(
        width=0.35, size=(32, 32), classes=4, background="first",
        classifier=ClassifierSpec("max", hidden, bias=False, outputs="sigmoid"),
    )  # fmt: skip
    labels = Labels(("none", "a", "b", "c"), (None, "n1", "n2", "n3"), 0)
    origin = Origin(
        "weights.pt", "0" * 64, "timm", "Apache-2.0", folded=True, history=("Made.",) * 16
    )
    seen = dataclasses.replace(Preprocessing.default(spec), interpolation="bicubic")
    config, arrays = ModelConfig(spec, seen, labels, origin, {"x": 1.0}), random_arrays(spec)
    store.save(tmp_path / "base", config, arrays)
    width = arrays["hidden.0.weight" if hidden else "classifier.weight"].shape[1]
    layer = np.random.default_rng(1).normal(size=(3, width)).astype(np.float32)
    script = """
    import { Taught } from "./teach.js";
    import { folderName, modelFolder } from "./taught_model.js";
    const weight = Float32Array.from(given.layer);
    const result = { layer: { weight, bias: Float32Array.of(1, 2, 3) }, images: 20, right: 17,
      accuracy: 0.85, interval: [0.64, 0.95], loss: 0.4, folds: 5 };
    const taught = new Taught("base", given.labels, result);
    const base = { config: fs.readFileSync("base/config.json"),
      weights: fs.readFileSync("base/model.safetensors") };
    const files = modelFolder("taught", taught, base);
    for (const [path, data] of Object.entries(files)) {
      fs.mkdirSync("taught", { recursive: true });
      fs.writeFileSync(path, data);
    }
    const names = ["../../etc", "Schuhe & Hüte?", "鞋子", "con", "...", "a".repeat(99), "x. "];
    console.log(JSON.stringify({ files: Object.keys(files), names: names.map(folderName) }));
    """
    names = ["hat", "[x](y) <b>", "鞋\ud83d"]
    found = node(script, {"layer": layer.ravel().tolist(), "labels": names})
    assert found["files"] == [
        f"taught/{name}" for name in ("config.json", "model.safetensors", "README.md")
    ]
    assert found["names"] == ["etc", "Schuhe _ Hüte_", "鞋子", "_con", "model", "a" * 64, "x"]
    back, stored = store.load(tmp_path / "taught")
    assert back.spec == spec.replace(
        classes=3, background=None, classifier=ClassifierSpec(pooling="max")
    )
    assert back.preprocessing == seen and back.origin is not None
    assert back.labels.names[:2] == ("hat", "[x](y) <b>") and back.labels.background is None
    assert back.origin == dataclasses.replace(origin.followed_by(back.origin.history[0]))
    assert "weights.pt" in back.origin.history[0] and "20 photos (3 classes)" in str(back.origin)
    assert back.metrics == {
        "cross-validation.top1": 0.85, "cross-validation.loss": 0.4, "cross-validation.images": 20,
    }  # fmt: skip
    np.testing.assert_array_equal(stored["classifier.weight"], layer)
    np.testing.assert_array_equal(stored["classifier.bias"], [1, 2, 3])
    for name, array in arrays.items():
        if not name.startswith(("classifier", "hidden")):
            np.testing.assert_array_equal(stored[name], array, name)
    card = (tmp_path / "taught" / "README.md").read_text("utf-8")
    assert "license: apache-2.0" in card and "\\[x\\](y) &lt;b&gt;" in card
    photo = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(photo, "PNG")
    (answer,) = mn.predict([photo.getvalue()], model=tmp_path / "taught")
    assert len(answer.top(5)) == 3


def test_both_languages_have_the_same_words(node: Run) -> None:
    script = """
    import { WORDS } from "./words_teach.js";
    console.log(JSON.stringify(WORDS));
    """
    import re

    words = node(script)
    english, chinese = words["en"], words["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert sorted(set(re.findall(r"{\w+}", text))) == sorted(
            set(re.findall(r"{\w+}", chinese[key]))
        ), key
    used = "".join(path.read_text("utf-8") for path in PAGE.glob("teach*.js"))
    for key in english:
        assert f'"{key}"' in used, key
    for key in re.findall(r'say\("(teach\.\w+)"', used):
        assert key in english, key
