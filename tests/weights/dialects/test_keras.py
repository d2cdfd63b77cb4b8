"""Keras's names in every age of its files, and what a model's own config says."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.published import published
from mobilenetv2.weights.dialects import keras_config
from mobilenetv2.weights.dialects.keras import (
    DIALECT,
    by_layer,
    layer_names,
    named,
    numbered_layers,
)

SPEC = published("keras", width=0.35)
ONE = np.zeros(1, np.float32)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=5,
)

SETTINGS = ("strides", "padding", "epsilon", "momentum", "max_value", "rate", "batch_shape", "name")


def test_one_form_for_every_age() -> None:
    old = {
        "Conv1/kernel:0": ONE, "expanded_conv_depthwise/depthwise_kernel:0": ONE,
        "block_1_expand_BN/block_1_expand_BN/gamma:0": ONE, "predictions/bias": ONE, "step": ONE,
    }  # fmt: skip
    assert set(layer_names(old)) == {
        "Conv1/kernel", "expanded_conv_depthwise/kernel", "block_1_expand_BN/gamma",
        "predictions/bias", "step",
    }  # fmt: skip


def test_keras_3_counts_layers_by_their_class() -> None:
    layers = numbered_layers(SPEC)
    assert layers["layers/conv2d"] == "Conv1"
    assert layers["layers/depthwise_conv2d"] == "expanded_conv_depthwise"
    assert layers["layers/conv2d_1"] == "expanded_conv_project"
    assert layers["layers/batch_normalization_51"] == "Conv_1_bn"
    assert layers["layers/dense"] == "predictions"
    assert len(layers) == 52 + 52 + 1


def test_numbered_variables_get_their_names() -> None:
    foreign = {
        "layers/conv2d_1/vars/0": ONE, "layers/batch_normalization/vars/3": ONE,
        "layers/unbiased_batch_normalization_4/vars/0": ONE, "layers/dense/vars/1": ONE,
        "layers/dense/vars/9": ONE, "optimizer/vars/0": ONE,
    }  # fmt: skip
    said = {"layers/unbiased_batch_normalization_4/vars": "block_1_depthwise_BN"}
    assert set(named(foreign, said)) == {
        "expanded_conv_project/kernel", "bn_Conv1/moving_variance", "block_1_depthwise_BN/gamma",
        "predictions/bias", "layers/dense/vars/9", "optimizer/vars/0",
    }  # fmt: skip


def test_arrays_by_layer_keep_the_order_of_the_network() -> None:
    keys = [key.foreign for key in DIALECT.keys(SPEC)]
    found = by_layer(dict.fromkeys(keys, ONE))
    assert list(found)[:4] == [
        "Conv1", "bn_Conv1", "expanded_conv_depthwise", "expanded_conv_depthwise_BN",
    ]  # fmt: skip
    assert list(found["bn_Conv1"]) == ["gamma", "beta", "moving_mean", "moving_variance"]


def config() -> dict[str, Any]:
    """As Keras writes it, with what is read of it."""
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("InputLayer", "input_layer", {"batch_shape": [None, 96, 64, 3]}),
        ("Conv2D", "Conv1", {"strides": [2, 2], "padding": "same"}),
    ]
    for layer in numbered_layers(SPEC).values():
        if layer.endswith(("_BN", "_bn")) or layer.startswith("bn_"):
            rows.append(("BatchNormalization", layer, {"epsilon": 1e-3, "momentum": 0.999}))
        elif layer.endswith("_depthwise"):
            stride = 2 if layer in {f"block_{n}_depthwise" for n in (1, 3, 6, 13)} else 1
            rows.append(("DepthwiseConv2D", layer, {"strides": [stride, stride]}))
    rows += [("ReLU", "out_relu", {"max_value": 6.0}), ("Dropout", "dropout", {"rate": 0.3})]
    layers = [{"class_name": kind, "config": {"name": name, **more}} for kind, name, more in rows]
    return {"config": {"layers": layers}}


def change(kind: str, **settings: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config())
    row = next(row for row in changed["config"]["layers"] if row["class_name"] == kind)
    row["config"].update(settings)
    return changed


def test_a_config_says_numerics_size_dropout_and_strides() -> None:
    layers = keras_config.layers(config())
    numerics, dropout = keras_config.numerics(layers, DIALECT.numerics)
    assert (numerics, dropout) == (published("keras").numerics, 0.3)
    assert keras_config.size(layers) == (96, 64)
    assert keras_config.with_strides(SPEC, layers) == SPEC
    assert keras_config.size(keras_config.layers(change("InputLayer", batch_shape=[None] * 4))) is (
        None
    )


def test_strides_of_its_own_are_taken_over() -> None:
    spec = keras_config.with_strides(SPEC, keras_config.layers(change("Conv2D", strides=[1, 1])))
    assert spec.stem_stride == 1 and spec.stages == SPEC.stages
    kind = change("DepthwiseConv2D", strides=2)  # one number, as old files have it
    assert keras_config.with_strides(SPEC, keras_config.layers(kind)).stages[0].stride == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (change("BatchNormalization", epsilon=1e-5), "different epsilons"),
        (change("ReLU", max_value=3.0), "bounded by .*3.0.*, not by 6"),
        (change("Conv2D", name="other"), "not keras.applications"),
        (change("Conv2D", strides=[1, 2]), r"Conv1 has strides \[1, 2\]"),
        ({"config": {}}, "not that of a functional Keras model"),
        ({"config": {"layers": [3]}}, "not that of a functional Keras model"),
        ({}, "not that of a functional Keras model"),
    ],
)
def test_another_networks_config(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DialectError, match=message):
        layers = keras_config.layers(changed)
        keras_config.numerics(layers, DIALECT.numerics)
        keras_config.with_strides(SPEC, layers)


@given(data=st.data())
def test_any_settings_are_read_or_refused(data: st.DataObject) -> None:
    changed = config()
    rows = changed["config"]["layers"]
    for _ in range(3):
        row = data.draw(st.sampled_from(rows))
        name = data.draw(st.sampled_from(SETTINGS))
        row["config"][name] = data.draw(ANYTHING)
    try:
        layers = keras_config.layers(changed)
        numerics, dropout = keras_config.numerics(layers, DIALECT.numerics)
        spec = SPEC.replace(size=keras_config.size(layers) or SPEC.size, dropout=dropout)
        assert keras_config.with_strides(spec.replace(numerics=numerics), layers).stages
    except (DialectError, SpecError) as error:
        assert str(error)


def test_a_stride_inside_a_stage_is_no_stage_table() -> None:
    changed = config()
    for row in changed["config"]["layers"]:
        if row["config"]["name"] == "block_2_depthwise":
            row["config"]["strides"] = [2, 2]
    with pytest.raises(DialectError, match="block 2 has stride 2 inside a stage"):
        keras_config.with_strides(SPEC, keras_config.layers(changed))
