"""Canonical arrays go in and come out bit for bit, or the difference is named."""

import numpy as np
import pytest
import torch

from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=3, head_channels=16)


@pytest.mark.parametrize("spec", [SPEC, published("article-torch", width=0.1, classes=3)])
def test_what_is_loaded_is_dumped_bit_for_bit(spec: NetworkSpec) -> None:
    network, arrays = MobileNetV2(spec), random_arrays(spec)
    load(network.place(torch.device("cpu")), arrays)
    found = dump(network)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, name)


def test_a_dump_is_a_copy_that_training_leaves_alone() -> None:
    network = MobileNetV2(SPEC)
    before = dump(network)
    kept = {name: array.copy() for name, array in before.items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    for name, array in kept.items():
        np.testing.assert_array_equal(before[name], array, name)


def test_what_does_not_fit_is_named_and_nothing_is_loaded() -> None:
    network, arrays = MobileNetV2(SPEC), random_arrays(SPEC)
    before = dump(network)
    arrays["head.bn.men"] = arrays.pop("head.bn.mean")
    arrays["classifier.weight"] = arrays["classifier.weight"].T
    with pytest.raises(WeightsError) as caught:
        load(network, arrays, "shoes.pth")
    assert str(caught.value).splitlines()[1:] == [
        "- head.bn.mean", "+ head.bn.men", "! classifier.weight: expected [3, 16], found [16, 3]",
    ]  # fmt: skip
    assert str(caught.value).startswith("shoes.pth: ")
    for name, array in dump(network).items():
        np.testing.assert_array_equal(array, before[name], name)


def test_the_networks_dtype_stays() -> None:
    network, arrays = MobileNetV2(SPEC).to(torch.bfloat16), random_arrays(SPEC)
    load(network, arrays)
    assert network.stem.conv.weight.dtype == torch.bfloat16
    assert dump(network)["head.conv.weight"].dtype == np.float32
