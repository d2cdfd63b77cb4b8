"""Keras's layers by their names, and how a canonical array lies in each."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec

choose(os.environ.get("KERAS_BACKEND", "tensorflow"))

from mobilenetv2.editions.keras import names, weights  # noqa: E402
from mobilenetv2.editions.keras.network import MobileNetV2  # noqa: E402

HEAD = ClassifierSpec("max", (HiddenSpec(7), HiddenSpec(6, "none", bias=False)))
SPEC = NetworkSpec(
    width=0.1, size=(32, 32), classes=5, head_channels=24, shortcut="projection", conv_bias=True,
    classifier=HEAD,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name_of", "expected"),
    [
        (names.convolution_name, ("Conv1", "expanded_conv_project", "block_3_expand", "Conv_1")),
        (
            names.batch_norm_name,
            ("bn_Conv1", "expanded_conv_project_BN", "block_3_expand_BN", "Conv_1_bn"),
        ),
        (
            names.activation_name,
            ("Conv1_relu", "expanded_conv_project_relu", "block_3_expand_relu", "out_relu"),
        ),
    ],
)
def test_names_are_those_of_keras_applications(
    name_of: Callable[[str], str], expected: tuple[str, ...]
) -> None:
    canonical = ("stem", "blocks.0.project", "blocks.3.expand", "head")
    assert tuple(map(name_of, canonical)) == expected


def test_every_variable_has_one_canonical_array_and_keeps_its_bits() -> None:
    network, arrays = MobileNetV2(SPEC), random_arrays(SPEC, seed=3)
    weights.load(network, arrays)
    found = weights.dump(network)
    assert found.keys() == arrays.keys() and len(found) == len(network.weights)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    wide: Any = weights.dump(network, "float64")
    assert {array.dtype.name for array in wide.values()} == {"float64"}


def test_kernels_lie_as_keras_has_them() -> None:
    network, arrays = MobileNetV2(SPEC), random_arrays(SPEC)
    weights.load(network, arrays)
    kernel = {
        name: np.asarray(network.get_layer(name).get_weights()[0])
        for name in ("block_3_expand", "block_3_depthwise", "predictions")
    }
    expand = arrays["blocks.3.expand.conv.weight"]
    assert kernel["block_3_expand"][0, 0, 1, 2] == expand[2, 1, 0, 0]
    depthwise = arrays["blocks.3.depthwise.conv.weight"]
    assert kernel["block_3_depthwise"][0, 2, 5, 0] == depthwise[5, 0, 0, 2]
    assert kernel["predictions"][3, 1] == arrays["classifier.weight"][1, 3]


def test_some_arrays_are_assigned_and_all_are_asked_for() -> None:
    network, arrays = MobileNetV2(SPEC), random_arrays(SPEC, seed=3)
    before = weights.dump(network)
    weights.assign(network, {"stem.bn.mean": arrays["stem.bn.mean"]})
    after = weights.dump(network)
    changed = {name for name in after if not np.array_equal(after[name], before[name])}
    assert changed == {"stem.bn.mean"}
    del arrays["stem.bn.mean"]
    with pytest.raises(WeightsError, match=r"1 missing \(first: stem.bn.mean\)"):
        weights.load(network, arrays)


@pytest.mark.parametrize("spec", [SPEC, NetworkSpec(width=0.1, size=(32, 32), shortcut="none")])
def test_intermediates_are_outputs_of_layers_that_are_there(spec: NetworkSpec) -> None:
    found = names.intermediate_layers(spec)
    assert (*found, "logits") == intermediate_names(spec)
    shapes = {layer.name: layer.output.shape for layer in MobileNetV2(spec).layers}
    assert set(found.values()) <= shapes.keys()
    # At stride 1 a projection is added; without shortcuts a block ends with its own projection.
    assert found["blocks.2"] == ("block_2_add" if spec is SPEC else "block_2_project_BN")
    assert found["blocks.1"] == "block_1_project_BN"
