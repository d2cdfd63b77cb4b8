"""Both ways to start, by the figures that their owners' code gives."""

import math

import numpy as np
import pytest

from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

SHAPES = parameter_shapes(NetworkSpec(width=0.5, conv_bias=True))


def start(name: str, seed: int = 0) -> Arrays:
    return initialise(SHAPES, name, seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["torchvision", "paper"])
def test_batch_norms_are_identities_and_biases_zero(name: str) -> None:
    values = {"bn.scale": 1, "bias": 0, "bn.shift": 0, "bn.mean": 0, "bn.variance": 1}
    checked = 0
    for key, array in start(name).items():
        assert array.shape == SHAPES[key]
        assert array.dtype == np.float32
        for end, value in values.items():
            if key.endswith(end):
                assert (array == value).all(), key
                checked += 1
    assert checked == 52 * 5 + 1  # each convolution has a bias too, and so has the classifier


def test_torchvisions_spread_is_he_by_fan_out() -> None:
    made = start("torchvision")
    for layer, fan_out in (
        ("head", 1280),
        ("blocks.5.expand", 96),
        # PyTorch counts a depthwise kernel's fan-out as all channels, as torchvision does.
        ("blocks.16.depthwise", 480 * 9),
    ):
        weight = made[f"{layer}.conv.weight"]
        assert weight.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
        assert abs(weight.mean()) < 0.05 * weight.std()
    assert made["classifier.weight"].std() == pytest.approx(0.01, rel=0.02)


def test_the_papers_spread_is_a_normal_cut_at_two_deviations() -> None:
    made = start("paper")
    for name in ("head.conv.weight", "blocks.5.expand.conv.weight", "classifier.weight"):
        # What is left of a normal between -2 and 2 has a deviation of 0.8796.
        assert made[name].std() == pytest.approx(0.09 * 0.8796, rel=0.02)
        assert 0.17 < np.abs(made[name]).max() <= 0.18


def test_a_tensor_depends_on_the_seed_and_its_name_alone() -> None:
    some = {name: SHAPES[name] for name in reversed(SHAPES) if "blocks.5" in name}
    for name, array in initialise(some, "paper", 3).items():
        assert np.array_equal(array, start("paper", 3)[name])
    other, same = start("paper", 4), start("paper", 3)
    assert not np.array_equal(other["head.conv.weight"], same["head.conv.weight"])
    assert not np.array_equal(same["blocks.1.depthwise.conv.weight"].ravel()[:9],
                              same["blocks.2.depthwise.conv.weight"].ravel()[:9])  # fmt: skip


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(SpecError, match="'keras' is unknown; known are: torchvision, paper"):
        start("keras")
