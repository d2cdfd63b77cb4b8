"""LiteRT files by TensorFlow's converter, of the heads that people put on Keras' MobileNetV2.

Float files answer as Keras itself; int8 files as LiteRT's interpreter.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litert_converter import converter_of
from numpy.typing import NDArray

from mobilenetv2.checkpoints.graphs.litert.reader import DIALECT
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf: Any = pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
keras: Any = pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
interpreters: Any = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SHAPE = (96, 96, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
L = keras.layers
Tail = Callable[[Any], Any]


def model(tail: Tail, front: Tail | None = None) -> Any:
    """Keras' body of random weights and statistics, between a scaling and a head."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    body = keras.applications.MobileNetV2(SHAPE, alpha=0.35, include_top=False, weights=None)
    for layer in body.layers:
        if isinstance(layer, L.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([
                1 + 0.1 * random.normal(size=size), 0.1 * random.normal(size=size),
                0.1 * random.normal(size=size), 1 + 0.2 * random.random(size),
            ])  # fmt: skip
    given = keras.Input(SHAPE)
    made = keras.Model(given, tail(body(front(given) if front else given, training=False)))
    for layer in made.layers:
        if isinstance(layer, L.Dense) and layer.use_bias:  # a bias of zeros is dropped
            layer.set_weights([layer.get_weights()[0], random.normal(size=layer.units)])
    return made


def head(*layers: Any) -> Tail:
    def tail(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return tail


def dense(units: int, activation: str | None = None, bias: bool = True) -> Any:
    return L.Dense(units, activation=activation, use_bias=bias)


UNIT, BYTES = (127.5, 127.5), (0.0, 255.0)
HUNDRED = (HiddenSpec(100, "relu", bias=False),)
Made = Callable[[], Any]
CASES: dict[str, tuple[Made, ClassifierSpec, tuple[float, float]]] = {
    "teachable machine": (
        lambda: model(head(L.GlobalAveragePooling2D(), dense(100, "relu", False),
                           dense(2, "softmax", False))),
        ClassifierSpec(hidden=HUNDRED, bias=False), UNIT,
    ),
    "mask detector": (
        lambda: model(head(L.AveragePooling2D((3, 3)), L.Flatten(), dense(128, "relu"),
                           L.Dropout(0.5), dense(2, "softmax"))),
        ClassifierSpec(hidden=(HiddenSpec(128, "relu"),)), UNIT,
    ),
    "maximum": (
        lambda: model(head(L.MaxPooling2D((3, 3)), L.Flatten(), dense(3, "softmax"))),
        ClassifierSpec("max"), UNIT,
    ),
    "sigmoid of one": (
        lambda: model(head(L.GlobalAveragePooling2D(), dense(1, "sigmoid")),
                      L.Rescaling(1 / 127.5, offset=-1)),
        ClassifierSpec(outputs="logit"), UNIT,
    ),
    "several labels": (
        lambda: model(head(L.GlobalMaxPooling2D(), dense(3, "sigmoid")),
                      keras.applications.mobilenet_v2.preprocess_input),
        ClassifierSpec("max", outputs="sigmoid"), UNIT,
    ),
    "a softmax layer and a division": (
        lambda: model(head(L.GlobalAveragePooling2D(), dense(3), L.Softmax()),
                      L.Rescaling(1 / 255)),
        ClassifierSpec(), BYTES,
    ),
    "batch norm behind the pooling": (
        lambda: model(head(L.GlobalAveragePooling2D(), L.BatchNormalization(), dense(8, "relu6"),
                           dense(3, "softmax"))),
        ClassifierSpec(hidden=(HiddenSpec(8, "relu6"),)), UNIT,
    ),
}  # fmt: skip


def converted(made: Any, path: Path, kind: Any = None, pixels: bool = False) -> Path:
    """The converter's file: of floats, or of integers throughout."""
    converter = converter_of(made)
    if kind is not None:
        fed = PIXELS.astype(np.float32) if pixels else PIXELS / np.float32(127.5) - 1
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one[None]] for one in fed)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
    path.write_bytes(converter.convert())
    return path


def test_the_converter_makes_the_same_of_the_model_and_of_its_function(tmp_path: Path) -> None:
    """``from_keras_model``, as people write it, takes five times as long."""
    made, files = CASES["teachable machine"][0](), [tmp_path / "0.tflite", tmp_path / "1.tflite"]
    converters = (tf.lite.TFLiteConverter.from_keras_model(made), converter_of(made))
    for file, converter in zip(files, converters, strict=True):
        file.write_bytes(converter.convert())
    (one, answers), (other, same) = map(ours, files)
    assert one.spec == other.spec and one.preprocessing == other.preprocessing
    np.testing.assert_array_equal(answers, same)
    graphs = [[operator.kind for operator in DIALECT.read(file).operators] for file in files]
    assert graphs[0] == graphs[1]


def ours(path: Path) -> tuple[Any, NDArray]:
    """The import, and its answers to the pixels by its own preprocessing."""
    options = ImportOptions()
    config, arrays = read_checkpoint(path, options)
    network = plain.build(config, dtype="float64")
    plain.load(network, arrays)
    record, kind = config.preprocessing, config.spec.classifier.outputs
    x = (PIXELS - np.array(record.mean)) / np.array(record.std)
    answers = probabilities(network(x.transpose(0, 3, 1, 2)), kind)
    return config, answers[:, 1:] if kind == "logit" else answers


@pytest.mark.parametrize("case", CASES)
def test_a_head_answers_as_keras(case: str, tmp_path: Path) -> None:
    build, expected, (mean, std) = CASES[case]
    made = build()
    config, answers = ours(converted(made, tmp_path / "m.tflite"))
    assert config.spec.classifier == expected
    np.testing.assert_allclose(config.preprocessing.mean, mean, atol=1e-4)
    np.testing.assert_allclose(config.preprocessing.std, std, rtol=1e-6)
    scaled = isinstance(made.layers[1], L.Rescaling) or "several" in case
    x = PIXELS.astype(np.float32) if scaled else PIXELS / np.float32(127.5) - 1
    np.testing.assert_allclose(answers, np.asarray(made(x, training=False)), atol=1e-4)


@pytest.mark.parametrize("kind", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("inside", [False, True])
def test_teachable_machines_integers(kind: str, inside: bool, tmp_path: Path) -> None:
    """Its two quantised files; and the scaling in front, which integers do not hide."""
    layers = (L.GlobalAveragePooling2D(), dense(100, "relu", False), dense(3, "softmax", False))
    front = L.Rescaling(1 / 127.5, offset=-1) if inside else None
    path = converted(model(head(*layers), front), tmp_path / "m.tflite", tf.dtypes.as_dtype(kind),
                     inside)  # fmt: skip
    found = DIALECT.open(DIALECT.read(path), path, ImportOptions()).inside
    if inside:
        assert found.normalisation is not None and "MUL" in found.preprocessing_from
        np.testing.assert_allclose(found.normalisation, 127.5, rtol=1e-3)
    else:
        assert found.normalisation is None and found.input_range is not None
        np.testing.assert_allclose(found.input_range, (-1, 1), atol=0.02)
    interpreter = interpreters.Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    expected = []
    for one in PIXELS if inside else PIXELS / np.float32(127.5) - 1:
        scale, zero = given["quantization"]
        levels = one.astype(np.float32)
        if scale:
            limits = np.iinfo(given["dtype"])
            levels = np.clip(np.rint(levels / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(given["index"], levels.astype(given["dtype"])[None])
        interpreter.invoke()
        scale, zero = end["quantization"]
        values = interpreter.get_tensor(end["index"])[0].astype(np.float64)
        expected.append((values - zero) * scale if scale else values)
    config, answers = ours(path)
    assert config.spec.classifier == ClassifierSpec(hidden=HUNDRED, bias=False)
    np.testing.assert_allclose(answers, np.array(expected), atol=0.03)
    np.testing.assert_array_equal(answers.argmax(1), np.array(expected).argmax(1))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((L.Flatten(), dense(3, "softmax")), "3 x 3 positions"),
        ((dense(16, "relu"), L.Flatten(), dense(3, "softmax")), "positions"),
        ((L.GlobalAveragePooling2D(), dense(1, "softmax")), "100% for every photo"),
    ],
    ids=["flatten", "linear layer at every position", "softmax of one"],
)
def test_another_head_is_refused_and_the_body_alone_comes(
    layers: tuple[Any, ...], message: str, tmp_path: Path
) -> None:
    path = converted(model(head(*layers)), tmp_path / "m.tflite")
    with pytest.raises(DialectError, match=rf"m\.tflite: its head .*{message}.*body=True"):
        read_checkpoint(path)
    config, _ = read_checkpoint(path, ImportOptions(body=True))
    assert config.origin is not None and config.origin.untrained_classifier
