"""Written HDF5 files, loaded by Keras's own load_weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.container import Container
from mobilenetv2.checkpoints.containers.hdf5_writer import Layers, write_keras3, write_legacy

pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
Open = Callable[[Path], Container]
LAYERS: Layers = [
    ("Conv1", [("Conv1/kernel:0", np.arange(6, dtype="f4").reshape(2, 3))]),
    ("bn", [("bn/gamma:0", np.ones(3, "f4")), ("bn/beta:0", np.zeros((), "f2"))]),
]


def test_what_is_written_is_read_and_is_always_the_same(opened: Open, tmp_path: Path) -> None:
    assert write_legacy(LAYERS) == write_legacy(LAYERS)
    (tmp_path / "a.h5").write_bytes(write_legacy(LAYERS))
    found = opened(tmp_path / "a.h5")
    expected = {name: array for _, weights in LAYERS for name, array in weights}
    assert list(found.arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)

    entries: list[tuple[str, list[NDArray]]] = [
        ("layers/conv2d", [np.ones((2, 3), "f4")]),
        ("layers/dense", [np.ones(3), np.ones(2)]),
    ]
    assert write_keras3(entries) == write_keras3(entries)
    (tmp_path / "a.weights.h5").write_bytes(write_keras3(entries))
    found = opened(tmp_path / "a.weights.h5")
    paths = ["layers/conv2d/vars/0", "layers/dense/vars/0", "layers/dense/vars/1"]
    assert list(found.arrays) == paths


def network(seed: int) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=5
    )
    random = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape).astype(np.float32))
    return model


def same_weights(one: Any, other: Any) -> None:
    assert len(one.weights) == len(other.weights) == 262
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy(), strict=True)


@pytest.mark.slow
def test_keras_loads_what_is_written_and_we_read_what_keras_saves(
    opened: Open, tmp_path: Path
) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    model = network(0)
    path = tmp_path / "a.h5"
    layers = [
        (
            layer.name,
            [(f"{layer.name}/{weight.name}:0", weight.numpy()) for weight in layer.weights],
        )
        for layer in model.layers
        if layer.weights
    ]
    path.write_bytes(write_legacy(layers))
    other = network(1)
    other.load_weights(path)
    same_weights(model, other)

    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    found = opened(path)
    named: dict[tuple[str, str], NDArray] = {}
    for name, array in found.arrays.items():
        folder, _, place = name.rpartition("/")
        named[found.metadata["names"][folder], place] = array
    for layer in model.layers:
        for number, weight in enumerate(layer.weights):
            np.testing.assert_array_equal(
                named[layer.name, str(number)], weight.numpy(), strict=True
            )
    entries: dict[str, list[Any]] = {}
    for name, array in found.arrays.items():
        entries.setdefault(name.rpartition("/vars/")[0], []).append(array)
    path.write_bytes(write_keras3(list(entries.items())))
    other = network(1)
    other.load_weights(path)
    same_weights(model, other)

    for path in (tmp_path / "b.h5", tmp_path / "b.keras"):
        save(model, path)
        found = opened(path)
        key = "model_config" if path.suffix == ".h5" else "config"
        assert found.metadata[key]["class_name"] == "Functional"
        assert found.metadata[key]["config"]["name"] == model.name
        loaded = keras.models.load_model(path, compile=False)
        same_weights(model, loaded)
        assert len(found.arrays) == 262
        if path.suffix == ".h5":
            for weight in model.weights:
                np.testing.assert_array_equal(found.arrays[weight.path], weight.numpy())


def save(model: Any, path: Path) -> None:
    import logging

    logging.disable(logging.WARNING)  # that .h5 is legacy is why it is tested
    try:
        model.save(path)
    finally:
        logging.disable(logging.NOTSET)
