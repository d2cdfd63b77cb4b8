"""Variables are found in files of every Keras version: by path, by name, or by their order."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.graphs.keras.config import Layer
from mobilenetv2.checkpoints.graphs.keras.weights import KerasWeights, variable_name


def layer(kind: str, *path: str, stored: str = "", **settings: object) -> Layer:
    return Layer(path[-1], kind, settings, (), path=path, stored=stored)


CONV = layer("Conv2D", "base", "conv", stored="layers/functional/layers/conv2d", use_bias=False)
DEPTHWISE = layer("DepthwiseConv2D", "base", "deep", stored="layers/functional/layers/deep")
NORM = layer("BatchNormalization", "base", "bn", stored="layers/functional/layers/bn")
DENSE = layer("Dense", "dense", stored="layers/dense")
LAYERS = (CONV, DEPTHWISE, NORM, DENSE, layer("ReLU", "relu"))


def arrays(*names: str) -> dict[str, np.ndarray]:
    return {name: np.full(1, place, np.float32) for place, name in enumerate(names)}


def values(weights: KerasWeights, of: Layer) -> dict[str, int]:
    return {name: int(array[0]) for name, array in weights(of).items()}


@pytest.mark.parametrize("folder", ["layers", "_layer_checkpoint_dependencies"])
def test_numbers_of_keras_3(folder: str) -> None:
    found = arrays(
        f"{folder}/functional/{folder}/conv2d/vars/0", f"{folder}/functional/{folder}/bn/vars/0",
        f"{folder}/functional/{folder}/bn/vars/1", f"{folder}/functional/{folder}/bn/vars/2",
        f"{folder}/functional/{folder}/bn/vars/3", f"{folder}/dense/vars/0",
        f"{folder}/dense/vars/1", f"{folder}/dense/vars/9", "optimizer/vars/0",
    )  # fmt: skip
    weights = KerasWeights(Container(found, {"format": "keras-3"}), LAYERS)
    assert values(weights, CONV) == {"kernel": 0}
    assert values(weights, NORM) == {"gamma": 1, "beta": 2, "moving_mean": 3, "moving_variance": 4}
    assert values(weights, DENSE) == {"kernel": 5, "bias": 6}
    assert weights(DEPTHWISE) == {} == weights(LAYERS[-1])


def test_an_absent_bias_or_scale_takes_no_number() -> None:
    norm = layer("BatchNormalization", "bn", stored="layers/bn", scale=False)
    found = arrays("layers/bn/vars/0", "layers/bn/vars/1", "layers/bn/vars/2")
    weights = KerasWeights(Container(found, {"format": "keras-3"}), [norm])
    assert values(weights, norm) == {"beta": 0, "moving_mean": 1, "moving_variance": 2}


def test_names_before_keras_3() -> None:
    found = arrays(
        "base/conv/kernel:0", "base/deep/depthwise_kernel:0", "base/deep/bias:0",
        "dense/model/dense/kernel:0", "dense/model/dense/bias:0",
    )  # fmt: skip
    weights = KerasWeights(Container(found, {"format": "keras-legacy"}), LAYERS)
    assert values(weights, CONV) == {"kernel": 0}
    assert values(weights, DEPTHWISE) == {"kernel": 1, "bias": 2}
    assert values(weights, DENSE) == {"kernel": 3, "bias": 4}


def test_layers_renamed_in_a_session_count_by_their_order() -> None:
    found = arrays("base/conv_1/kernel:0", "base/deep_1/depthwise_kernel:0", "base/deep_1/bias:0",
                   "dense/dense_1/kernel:0")  # fmt: skip
    weights = KerasWeights(Container(found, {"format": "keras-legacy"}), LAYERS)
    assert values(weights, CONV) == {"kernel": 0}
    assert values(weights, DEPTHWISE) == {"kernel": 1, "bias": 2}
    assert values(weights, DENSE) == {"kernel": 3}


@pytest.mark.parametrize("name", ["a/depthwise_kernel:0", "kernel", "b/kernel:0"])
def test_a_variables_own_name(name: str) -> None:
    assert variable_name(name) == "kernel"
