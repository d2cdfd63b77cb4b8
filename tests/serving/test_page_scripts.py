"""The page's scripts, run by Node, against the modules and libraries that they repeat."""

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_node import LACKING, Run, scripts_in
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mobilenetv2.errors import ImageError
from mobilenetv2.evaluation.gradcam import class_weights, colours, heat
from mobilenetv2.images.preprocess import normalise, preprocess
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import answering_classes, probabilities
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Interpolation, Preprocessing

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
