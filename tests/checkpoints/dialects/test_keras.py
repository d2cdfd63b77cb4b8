"""Keras's names in every age of its files."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.dialects.keras import (
    DIALECT,
    by_layer,
    layer_names,
    named,
    numbered_layers,
)
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published

SPEC = published("keras", width=0.35)
ONE = np.zeros(1, np.float32)


def test_one_form_for_every_age() -> None:
    old = {
        "Conv1/kernel:0": ONE, "expanded_conv_depthwise/depthwise_kernel:0": ONE,
        "block_1_expand_BN/block_1_expand_BN/gamma:0": ONE, "bn_Conv1/bn_Conv1_1/beta:0": ONE,
        "predictions/bias": ONE, "step": ONE,
    }  # fmt: skip
    assert set(layer_names(old)) == {
        "Conv1/kernel", "expanded_conv_depthwise/kernel", "block_1_expand_BN/gamma",
        "bn_Conv1/beta", "predictions/bias", "step",
    }  # fmt: skip


def test_a_model_inside_the_model_is_one_layer_of_the_old_format() -> None:
    old = {
        "mobilenetv2/Conv1/kernel:0": ONE, "mobilenetv2/Conv_1/kernel:0": ONE,
        "mobilenetv2/bn_Conv1/gamma:0": ONE, "mobilenetv2/Conv_1_bn/gamma:0": ONE,
        "dense_4/model/dense_4/bias:0": ONE,
    }  # fmt: skip
    assert set(layer_names(old)) == {
        "Conv1/kernel", "Conv_1/kernel", "bn_Conv1/gamma", "Conv_1_bn/gamma", "dense_4/bias",
    }  # fmt: skip


def test_two_names_that_would_become_one_are_both_kept() -> None:
    old = {"Conv1/kernel:0": ONE, "Conv1/kernel": ONE + 1, "layers/x/vars/0": ONE}
    assert len(layer_names(old)) == 3


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
        "layers/dense/vars/9": ONE, "optimizer/vars/0": ONE, "layers/dense_1/vars/0": ONE,
        "layers/functional/layers/conv2d/vars/0": ONE,
    }  # fmt: skip
    said = {"layers/unbiased_batch_normalization_4/vars": "block_1_depthwise_BN"}
    assert set(named(foreign, said)) == {
        "expanded_conv_project/kernel", "bn_Conv1/moving_variance", "block_1_depthwise_BN/gamma",
        "predictions/bias", "layers/dense/vars/9", "optimizer/vars/0", "dense_1/kernel",
        "Conv1/kernel",
    }  # fmt: skip


def numbered() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Keras 3's names for every array of a network, and a name of its own for every layer."""
    layers = by_layer(DIALECT.encode(SPEC, random_arrays(SPEC)))
    folders = numbered_layers(SPEC)
    names = {f"{folder}/vars": f"my_{layer}" for folder, layer in folders.items()}
    arrays = {
        f"{folder}/vars/{index}": array
        for folder, layer in folders.items()
        for index, array in enumerate(layers[layer].values())
    }
    return dict(sorted(arrays.items())), names  # as HDF5 lists them


@pytest.mark.parametrize("ordered", [True, False])
def test_keras_3s_layers_of_other_names(ordered: bool) -> None:
    """Known by their place where the config says it, else by the number of their class."""
    arrays, names = numbered()
    order = [f"my_{layer}" for layer in by_layer(DIALECT.encode(SPEC, random_arrays(SPEC)))]
    found = layer_names(named(arrays, names, order if ordered else ()))
    expected = DIALECT.encode(SPEC, random_arrays(SPEC))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_arrays_by_layer_keep_the_order_of_the_network() -> None:
    keys = [key.foreign for key in DIALECT.keys(SPEC)]
    found = by_layer(dict.fromkeys(keys, ONE))
    assert list(found)[:4] == [
        "Conv1", "bn_Conv1", "expanded_conv_depthwise", "expanded_conv_depthwise_BN",
    ]  # fmt: skip
    assert list(found["bn_Conv1"]) == ["gamma", "beta", "moving_mean", "moving_variance"]
