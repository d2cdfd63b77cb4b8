"""Teaching in the page, run by Node: regression, dropped folders, the teacher, the saved model."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from page_node import LACKING, Run, scripts_in
from PIL import Image

import mobilenetv2 as mn
import mobilenetv2.serving
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking")


@pytest.fixture
def node(tmp_path: Path) -> Run:
    """Runs a script beside the page's, and returns the JSON that it prints.

    Its arguments lie in ``given`` and its arrays, one after another, in ``bytes``.
    """
    return scripts_in(tmp_path)


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
