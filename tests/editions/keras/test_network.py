"""What is particular to the Keras edition, on the backend that KERAS_BACKEND names.

``test_keras_backend`` runs this file once more on every other backend.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from short import short

from mobilenetv2.editions import keras as edition
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import NetworkSpec, Numerics

BACKEND = choose(os.environ.get("KERAS_BACKEND", "tensorflow"))
Case = Callable[[NetworkSpec], Any]
SMALL = short(NetworkSpec(width=0.1, size=(40, 33), classes=5, head_channels=24, dropout=0.0))
SHALLOW = SMALL.replace(stages=SMALL.stages[:2])
KERAS = Numerics("same", 1e-3, 0.99, "old", running_variance="biased")
# Only on TensorFlow does Keras compute in float64.
EXACT = BACKEND == "tensorflow"
DTYPE: Any = "float64" if EXACT else "float32"
TOLERANCE = 1e-9 if EXACT else 1e-4


def built(spec: NetworkSpec, arrays: Any, **options: Any) -> Any:
    network = edition.build(spec, **options)
    edition.load(network, arrays)
    return network


def assert_close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for name, value in found.items():
        error = np.abs(value - expected[name]).max()
        assert error <= tolerance * max(1, np.abs(expected[name]).max()), name


def test_the_layers_have_the_names_of_keras_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    random = np.random.default_rng(0)

    def draw(_: Any, shape: tuple[int, ...], dtype: str) -> Any:
        most = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        return random.uniform(-most, most, shape).astype(dtype)

    # JAX would compile Keras's own draw for every shape.
    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", draw)
    original = keras.applications.MobileNetV2((64, 64, 3), 0.35, weights=None, classes=7)
    spec = NetworkSpec(width=0.35, size=(64, 64), classes=7, dropout=0.0, numerics=KERAS)
    ours = edition.build(spec, classifier_activation="softmax")
    # Keras numbers the pooling of the second network in a process.
    names = [re.sub(r"2d_\d+$", "2d", layer.name) for layer in original.layers]
    names = [name for name in names if "pad" not in name]
    assert [layer.name for layer in ours.layers][1:] == names[1:]  # the input is numbered
    assert ours.get_layer("predictions").activation is keras.activations.softmax
    for layer in original.layers:
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    x = random.normal(size=(2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours.predict_on_batch(x), original.predict_on_batch(x), rtol=1e-3, atol=1e-6
    )


def test_without_the_top_it_ends_with_features(reference: Case) -> None:
    arrays, x, expected = reference(SMALL)
    for pooling, wanted in (
        (None, expected["head"]),
        ("avg", expected["features"]),
        ("max", expected["head"].max((1, 2))),
    ):
        network = edition.build(SMALL, include_top=False, pooling=pooling)
        assert {n for n in arrays if not n.startswith("classifier")} == edition.dump(network).keys()
        edition.load(network, arrays)  # all of them; it has no place for the classifier's
        np.testing.assert_allclose(network.predict_on_batch(x), wanted, rtol=1e-3, atol=1e-4)


def test_shape_and_pooling_are_taken_as_keras_users_write_them_or_refused() -> None:
    assert edition.build(SMALL, input_shape=(64, 48, 3)).input_shape == (None, 64, 48, 3)
    assert edition.build(SMALL, input_shape=(None, 48)).input_shape == (None, None, 48, 3)
    for shape in ((64, 64, 1), (64,), (1, 64, 64, 3)):
        with pytest.raises(SpecError, match=r"input_shape .* must be \(height, width\), or .* 3\)"):
            edition.build(SMALL, input_shape=shape)
    for options in ({"pooling": "average", "include_top": False}, {"pooling": "avg"}):
        with pytest.raises(SpecError, match=r"pooling 'av.*' must be 'avg' or 'max', and only"):
            edition.build(SMALL, **options)


def test_another_default_of_keras_changes_nothing(reference: Case) -> None:
    import keras

    arrays, x, expected = reference(SHALLOW)
    keras.config.set_image_data_format("channels_first")
    try:
        found = edition.intermediates(built(SHALLOW, arrays), x)
        pooled = built(SHALLOW, arrays, include_top=False, pooling="max").predict_on_batch(x)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert_close(found, expected, 1e-4)
    np.testing.assert_allclose(pooled, expected["head"].max((1, 2)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cut", ["size", "rank"])
def test_images_of_another_size_are_refused_in_a_sentence(cut: str, reference: Case) -> None:
    arrays, x, _ = reference(SHALLOW)
    other = x[:, :-1] if cut == "size" else x[0]
    with pytest.raises(MobileNetV2Error, match=r"takes images of shape \d+ x \d+ x 3 .*, not \d"):
        edition.intermediates(built(SHALLOW, arrays), other)


def test_what_gives_no_logits_has_no_predictor_of_them(reference: Case) -> None:
    arrays, x, _ = reference(SHALLOW)
    topless = built(SHALLOW, arrays, include_top=False, pooling="avg")
    softmax = built(SHALLOW, arrays, classifier_activation="softmax")
    for network, message in (
        (topless, "has no logits: .* build it with include_top=True"),
        (softmax, "gives softmax instead of logits; build it without classifier_activation"),
    ):
        for use in (lambda n: edition.predictor(n), lambda n: edition.intermediates(n, x)):
            with pytest.raises(MobileNetV2Error, match=message):
                use(network)
        edition.predictor(network, outputs="features")  # these it has
    with pytest.raises(MobileNetV2Error, match="has no features"):
        edition.predictor(edition.build(SHALLOW, include_top=False), outputs="features")


@pytest.mark.slow
@pytest.mark.parametrize("numerics", [Numerics(), KERAS], ids=["unbiased", "biased"])
def test_saved_as_keras_and_back_it_is_the_same(
    numerics: Numerics, reference: Case, tmp_path: Path
) -> None:
    import keras

    spec = SMALL.replace(numerics=numerics, dropout=0.3)
    arrays, x, _ = reference(spec)
    network = built(spec, arrays)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")  # our own file, not a foreign one
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))
    own = [type(layer).__module__.startswith("keras") for layer in again.layers]
    assert all(own) == (numerics is KERAS)  # then it can be read without this package
    network.save_weights(tmp_path / "network.weights.h5")
    fresh = edition.build(spec)
    fresh.load_weights(tmp_path / "network.weights.h5")
    assert all(np.array_equal(a, arrays[name]) for name, a in edition.dump(fresh).items())


READ = """
import sys, numpy as np
from mobilenetv2.editions import keras as edition
from mobilenetv2.spec.records import ModelConfig
import json
folder = sys.argv[1]
config = ModelConfig.from_mapping(json.load(open(f"{folder}/config.json")), "config")
network = edition.read(f"{folder}/network.keras", config)
np.savez(f"{folder}/found.npz", **edition.intermediates(network, np.load(f"{folder}/x.npy")))
"""


@pytest.mark.slow
def test_a_saved_network_is_read_in_a_fresh_process(reference: Case, tmp_path: Path) -> None:
    arrays, x, expected = reference(SMALL)
    network = built(SMALL, arrays)
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "config.json").write_text(network.config.to_json())
    found = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=False,
        env={**os.environ, "KERAS_BACKEND": BACKEND},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    with np.load(tmp_path / "found.npz") as stored:
        assert_close(dict(stored), expected, 1e-4)


def test_a_file_that_is_no_saved_network_or_another_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing.keras: no such file"):
        edition.read(tmp_path / "nothing.keras")
    (tmp_path / "text.keras").write_text("not a zip")
    with pytest.raises(WeightsError, match=r"text.keras: Keras cannot read it \("):
        edition.read(tmp_path / "text.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(WeightsError, match=r"pipe.keras: is a pipe"):
        edition.read(tmp_path / "pipe.keras")
    path = tmp_path / "network.keras"
    edition.build(SHALLOW).save(path)
    assert edition.read(path, SHALLOW).config.spec == SHALLOW
    assert not hasattr(edition.read(path), "config")
    for other in (SMALL, SHALLOW.replace(classes=6), SHALLOW.replace(stages=SHALLOW.stages[:1])):
        with pytest.raises(WeightsError, match="not that of the given config"):
            edition.read(path, other)


HOSTILE = [
    {"module": "os", "class_name": "system"},
    {"module": "keras.layers", "class_name": "Lambda"},
    {"module": None, "class_name": "__lambda__"},
    {"module": "builtins", "class_name": "function"},
    {"module": ["keras"], "class_name": "Dense"},
    {"module": "keras.layers", "class_name": {"a": 1}},
]


@pytest.mark.parametrize("layer", HOSTILE, ids=str)
def test_keras_never_sees_a_file_with_anything_but_plain_layers(
    layer: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras read it"))
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
    with pytest.raises(WeightsError, match=r"a\.keras: .*which no network of this package has"):
        edition.read(tmp_path / "a.keras")


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["unbiased", "biased"])
def test_compile_and_fit_work_and_the_statistics_move_as_the_numerics_say(rule: Any) -> None:
    import keras

    numerics = Numerics(momentum=0.25, running_variance=rule)
    spec = SHALLOW.replace(numerics=numerics, size=(33, 40))
    network = edition.build(spec, seed=1, dtype=DTYPE)
    before = edition.dump(network)
    x = np.random.default_rng(2).normal(size=(4, 33, 40, 3)).astype(DTYPE)
    stem = network.get_layer("Conv1")
    output = stem(network.get_layer("Conv1_pad")(x))  # (4, 17, 20, 8)
    batch = keras.ops.convert_to_numpy(output)
    network.compile("sgd", "mse", metrics=["mae"])
    network.fit(x, np.zeros((4, 5), DTYPE), batch_size=4, epochs=1, verbose=0)
    mean, variance = batch.mean((0, 1, 2)), batch.var((0, 1, 2), ddof=rule == "unbiased")
    after = edition.dump(network)
    np.testing.assert_allclose(after["stem.bn.mean"], 0.25 * mean, atol=1e-6)
    np.testing.assert_allclose(after["stem.bn.variance"], 0.75 + 0.25 * variance, rtol=1e-6)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name for name in before if is_statistic(name)} <= moved
    assert "classifier.bias" in moved
    frozen = network.evaluate(x, np.zeros((4, 5), DTYPE), verbose=0, return_dict=True)
    assert set(frozen) == {"loss", "mae"}
    assert all(np.array_equal(after[name], a) for name, a in edition.dump(network).items())


def test_float64_is_refused_where_keras_has_none() -> None:
    if EXACT:
        assert edition.build(SMALL, dtype="float64").get_layer("Conv1").kernel.dtype == "float64"
    else:
        with pytest.raises(MobileNetV2Error, match="build with backend='tensorflow'"):
            edition.build(SMALL, dtype="float64")
