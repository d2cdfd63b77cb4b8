"""The article's Keras version: its functions, its layer names, and the same network as a spec."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec import count
from mobilenetv2.spec.published import published

choose("tensorflow")

import keras  # noqa: E402 - after the choice of its backend

from mobilenetv2.editions.article import keras as article  # noqa: E402


@pytest.fixture
def double() -> Iterator[None]:
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)  # of inputs
        keras.config.set_dtype_policy(dtype)  # of layers
        if dtype == "float64":
            yield


def test_the_functions() -> None:
    assert [article.make_divisible(32 * a, 8) for a in (0.35, 0.5, 1.3)] == [16, 16, 40]
    assert article.make_divisible(3, 8) == 8 and article.make_divisible(3, 4, 16) == 16
    x = keras.Input((224, 225, 3))
    assert article.pad_size(x, 3) == ((0, 1), (1, 1))
    assert article.pad_size(keras.Input((None, 8, 3)), (5, 3)) == ((1, 2), (0, 1))
    values = article.relu6(keras.ops.convert_to_tensor([-1.0, 3.0, 9.0]))
    assert keras.ops.convert_to_numpy(values).tolist() == [0, 3, 6]


def test_the_layer_names_of_a_block() -> None:
    inputs = keras.Input((32, 32, 8))
    x = article.depthwise_res_block(inputs, 8, 3, 1, 6, 1.0, residual=True, name="one")
    x = article.depthwise_res_block(x, 16, 3, 2, 6, 0.7, name="two")
    names = [layer.name for layer in keras.Model(inputs, x).layers][1:]
    parts = ["expand", "expand_BN", "expand_relu", "depthwise", "depthwise_BN", "depthwise_relu",
             "project", "project_BN"]  # fmt: skip
    assert names[:9] == [f"one_{part}" for part in (*parts, "add")]
    assert names[9:] == [f"two_{part}" for part in (*parts[:3], "pad", *parts[3:])]
    assert x.shape == (None, 16, 16, 11)  # int(16 * 0.7), not a multiple of 8


def test_both_spellings_of_residual() -> None:
    x = keras.Input((32, 32, 8))

    def ends_with_addition(**options: Any) -> bool:
        y = article.depthwise_res_block(x, 8, 3, 1, 2, 1.0, **options)
        return any(isinstance(layer, keras.layers.Add) for layer in keras.Model(x, y).layers)

    assert ends_with_addition(residual=True) and ends_with_addition(resdiual=True)
    assert ends_with_addition(residual=True, resdiual=True)
    assert not ends_with_addition() and not ends_with_addition(resdiual=False)
    with pytest.raises(TypeError, match="residual and resdiual are one argument"):
        ends_with_addition(residual=True, resdiual=False)


@pytest.mark.parametrize(
    ("size", "alpha"), [((64, 64), 0.35), ((65, 48), 0.35), ((48, 48), 1.0), ((48, 64), 1.3)]
)
def test_the_whole_network_is_the_spec(size: tuple[int, int], alpha: float, double: None) -> None:
    network = article.MobileNetV2((*size, 3), 7, alpha)
    assert network.spec == published("article-keras", width=alpha, classes=7, size=size)
    arrays = random_arrays(network.spec)
    article.load(network, arrays)
    found = article.dump(network)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert len(network.weights) == len(arrays)
    x = np.random.default_rng(0).normal(size=(1, *size, 3))
    reference = plain.MobileNetV2(network.spec, dtype=np.float64)
    plain.load(reference, arrays)
    expected = reference(x.transpose(0, 3, 1, 2))
    logits = keras.ops.convert_to_numpy(network(keras.ops.convert_to_tensor(x, "float64")))
    assert 0.5 < expected.std() < 20
    assert np.abs(logits - expected).max() <= 1e-9 * np.abs(expected).max()


def test_an_unknown_odd_size_is_padded_as_if_it_were_even() -> None:
    """The article's own departure; the Keras edition is right there."""
    unknown = article.MobileNetV2((None, None, 3), 7, 0.35)
    known = article.MobileNetV2((225, 225, 3), 7, 0.35)
    x = np.zeros((1, 225, 225, 3), np.float32)
    sizes = [
        keras.Model(network.input, network.get_layer("conv2_relu").output)(x).shape[1:3]
        for network in (unknown, known)
    ]
    assert [tuple(size) for size in sizes] == [(7, 7), (8, 8)]


def test_it_is_saved_as_keras_and_read_without_this_package(tmp_path: Path) -> None:
    network = article.MobileNetV2((32, 32, 3), 3, 0.35)
    article.load(network, random_arrays(network.spec))
    network.save(tmp_path / "article.keras")
    again = keras.saving.load_model(tmp_path / "article.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(x), network.predict_on_batch(x))
    assert all(type(layer).__module__.startswith("keras") for layer in again.layers)


def test_what_the_departures_cost() -> None:
    spec = published("article-keras")
    assert count.parameters(spec) == article.PARAMETERS
    assert count.multiply_adds(spec) == article.MULTIPLY_ADDS
    network = article.MobileNetV2()
    assert sum(np.prod(w.shape) for w in network.trainable_weights) == article.PARAMETERS
    assert published("article-keras", width=0.35).channels("stem") == 16
    assert network.get_layer("block_16_project").output.shape[1:] == (7, 7, 320)


def test_what_keras_3_lacks() -> None:
    assert not hasattr(keras.backend, "int_shape") and not hasattr(keras.backend, "relu")
