"""Keras layers behind the body, with their settings and variables."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.graphs.head import Head, HeadBuilder
from mobilenetv2.checkpoints.graphs.keras.config import Layer
from mobilenetv2.checkpoints.graphs.keras.head import activation, add, knows
from mobilenetv2.errors import DialectError

RANDOM = np.random.default_rng(3)


def layer(kind: str, **settings: Any) -> Layer:
    return Layer("x", kind, settings, ())


def dense(units: int, inputs: int, **settings: Any) -> tuple[Layer, dict[str, Any]]:
    variables = {"kernel": RANDOM.normal(size=(inputs, units)), "bias": RANDOM.normal(size=units)}
    return layer("Dense", units=units, **settings), variables


def built(*layers: Layer | tuple[Layer, dict[str, Any]], size: tuple[int, int] = (3, 3)) -> Head:
    head = HeadBuilder(4, size)
    for one in layers:
        add(head, *(one if isinstance(one, tuple) else (one, {})))
    return head.finish()


POOL = layer("GlobalAveragePooling2D")
DENSE = dense(2, 4, activation="softmax")


@pytest.mark.parametrize(
    "front",
    [
        [POOL],
        [layer("GlobalAveragePooling2D", keepdims=True), layer("Flatten")],
        [layer("AveragePooling2D", pool_size=[3, 3]), layer("Flatten")],
        [layer("AveragePooling2D", pool_size=3), layer("Reshape", target_shape=[4])],
        [layer("Reshape", target_shape=[-1, 4]), layer("GlobalAveragePooling1D")],
        [layer("SpatialDropout2D", rate=0.5), POOL, layer("GaussianNoise", stddev=1.0)],
        [layer("ActivityRegularization"), POOL, layer("ReLU"), layer("Activation")],
    ],
)  # fmt: skip
def test_spellings_of_average_pooling(front: list[Layer]) -> None:
    head = built(*front, DENSE)
    assert head.classifier.pooling == "average" and head.classes == 2
    np.testing.assert_allclose(head.linears[0].weight, DENSE[1]["kernel"].T, rtol=1e-6)


def test_a_1_x_1_convolution_is_a_linear_layer() -> None:
    kernel = RANDOM.normal(size=(1, 1, 4, 5)).astype(np.float32)
    convolution = layer("Conv2D", filters=5, kernel_size=[1, 1], use_bias=False)
    head = built(layer("GlobalAveragePooling2D", keepdims=True), (convolution, {"kernel": kernel}),
                 layer("Flatten"), layer("Softmax"))  # fmt: skip
    np.testing.assert_array_equal(head.linears[0].weight, kernel[0, 0].T)
    assert not head.classifier.bias and head.classifier.outputs == "softmax"


@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
def test_a_batch_norm_behind_the_pooling_is_folded(scale: bool, center: bool) -> None:
    parts = {name: RANDOM.normal(size=4) for name in ("gamma", "beta", "moving_mean")}
    parts["moving_variance"] = 1 + RANDOM.random(4)
    norm = layer("BatchNormalization", epsilon=0.01, axis=[1], scale=scale, center=center)
    kept = {n: x for n, x in parts.items() if (scale or n != "gamma") and (center or n != "beta")}
    head = built(POOL, (norm, kept), DENSE)
    x = RANDOM.normal(size=(5, 4))
    y = (x - parts["moving_mean"]) / np.sqrt(parts["moving_variance"] + 0.01)
    y = y * (parts["gamma"] if scale else 1) + (parts["beta"] if center else 0)
    expected = y @ DENSE[1]["kernel"] + DENSE[1]["bias"]
    [last] = head.linears
    np.testing.assert_allclose(x @ last.weight.T + last.bias, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, ""), ("ReLU6", "relu6"),
        ({"class_name": "ReLU", "config": {"max_value": 6}}, "relu6"),
        ({"class_name": "ReLU", "config": {}}, "relu"),
        ({"class_name": "function", "config": "relu6"}, "relu6"),
        ({"class_name": "Softmax", "config": {"axis": -1}}, "softmax"),
    ],
)  # fmt: skip
def test_spellings_of_activations(value: Any, name: str) -> None:
    assert activation(layer("Dense"), value) == name


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (layer("AveragePooling2D", pool_size=[2, 2]), "2 x 2 of 3 x 3"),
        (layer("AveragePooling2D"), "2 x 2 of 3 x 3"),
        (layer("MaxPooling2D", pool_size="x"), "pool_size"),
        (layer("AveragePooling2D", pool_size=2, padding="same"), "beyond the edge"),
        (layer("GlobalAveragePooling2D", data_format="channels_first"), "data_format"),
        (layer("Reshape", target_shape=None), "target_shape"),
        (layer("BatchNormalization", axis=2), "axis 2"),
        (layer("BatchNormalization", axis=1), "axis 1"),
        (layer("Conv2D", filters=3, kernel_size=3), "3 x 3 behind the body"),
        (layer("Conv2D", filters=3, kernel_size=1, strides=2), "behind the body"),
        (layer("Dense", units=2, activation={"class_name": "Custom", "config": 3}), "custom"),
        (layer("Dense", units=2, activation=7), "activation '7'"),
        (layer("ReLU", max_value=3.0), "bounds 0 and 3"),
        (layer("ReLU", negative_slope=0.1), "negative_slope"),
        (layer("Softmax", axis=2), "axis 2"),
        (layer("LayerNormalization"), r"layer x \(LayerNormalization\) is not known"),
    ],
)
def test_other_layers_offer_the_body(wrong: Layer, said: str) -> None:
    with pytest.raises(DialectError, match=rf"{said}.*body=True"):
        built(wrong)


def test_variables_are_held_against_the_config() -> None:
    for change, said in (({"kernel": np.zeros((3, 2))}, r"\[3, 2\] in the file"),
                         ({"bias": np.zeros(3)}, r"\[3\] in the file")):  # fmt: skip
        with pytest.raises(DialectError, match=said):
            built(POOL, (DENSE[0], DENSE[1] | change))
    with pytest.raises(DialectError, match="bias is not in the file, which has kernel"):
        built(POOL, (DENSE[0], {"kernel": DENSE[1]["kernel"]}))


def test_known_layers() -> None:
    assert knows(layer("Dense")) and knows(layer("GaussianNoise")) and not knows(layer("LSTM"))
