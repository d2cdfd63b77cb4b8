"""Networks that compute something else than their config and weights say."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mobilenetv2 as mn

OTHER = "this network computes something else than the MobileNetV2 of its config"


def activation(network: Any) -> None:
    network.stem.activation = nn.SiLU()


def bound(network: Any) -> None:
    network.stem.activation = nn.ReLU()


def stride(network: Any) -> None:
    network.stem.conv.stride = (2, 2)


def late_stride(network: Any) -> None:
    network.blocks[-1].depthwise.conv.stride = (2, 2)


def epsilon(network: Any) -> None:
    network.stem.bn.eps = 1


def hook(network: Any) -> None:
    network.head.register_forward_hook(lambda _module, _inputs, output: output * 1.1)


def shape(network: Any) -> None:
    network.register_forward_hook(lambda _module, _inputs, output: output[:, :2])


@pytest.mark.parametrize("change", [activation, bound, stride, late_stride, epsilon, hook, shape])
def test_another_function_is_neither_saved_nor_converted(change: Any, tmp_path: Path) -> None:
    network = mn.load("embedded")
    change(network)
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.save(network, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(mn.MobileNetV2Error, match="Rescaling"):
        mn.convert(network, "numpy")


def test_a_fresh_network_is_compared_although_its_outputs_are_almost_0() -> None:
    network = mn.build(mn.NetworkSpec(width=0.35), seed=0)
    mn.convert(network, "numpy")
    activation(network)
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.convert(network, "numpy")


def test_a_network_that_fails_is_named() -> None:
    network: Any = mn.load("embedded")
    network.stem.conv.forward = None
    with pytest.raises(mn.MobileNetV2Error, match="this network fails on random images: 'NoneType"):
        mn.convert(network, "numpy")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_of_other_types_is_no_other_function(dtype: torch.dtype) -> None:
    mn.convert(mn.load("embedded").to(dtype), "numpy")


def test_the_network_and_the_random_states_stay_as_they_are() -> None:
    network = mn.load("embedded").train()
    network.blocks[2].eval()
    seen: list[bool] = []
    network.stem.register_forward_hook(lambda module, *_: seen.append(module.training))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    states = torch.get_rng_state(), random.getstate()
    mn.convert(network, "numpy")
    assert seen == [False]
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_changed_jax_network_is_refused_and_stays_in_training_mode(tmp_path: Path) -> None:
    pytest.importorskip("flax")
    network = mn.load("embedded", "jax")
    network.train()
    mn.save(network, tmp_path / "m")
    assert not network.stem.bn.use_running_average and not network.dropout.deterministic
    network.stem.stride = 2
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.save(network, tmp_path / "m")


@pytest.mark.parametrize("ending", [None, "softmax", "sigmoid"])
def test_layers_before_a_keras_body_are_not_dropped(ending: str | None, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    body = mn.load("embedded", "keras", include_top=False, pooling="avg")
    top = [keras.layers.Dropout(0.2), keras.layers.Dense(3, activation=ending)]
    start = keras.Input(body.input_shape[1:])
    for front in (keras.layers.Rescaling(1 / 255), keras.layers.Rescaling(1 / 127.5, offset=-1)):
        with pytest.raises(mn.MobileNetV2Error, match=OTHER):
            mn.save(keras.Sequential([start, front, body, *top]), tmp_path / "m")
    augmented = keras.Sequential([start, keras.layers.RandomFlip(), body, *top])
    mn.save(augmented, tmp_path / "m")  # an identity in evaluation mode
    assert mn.load(tmp_path / "m", "numpy").config.spec.dropout == 0.2


def test_a_whole_keras_network_inside_a_model_is_saved(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    whole = mn.load("embedded", "keras")
    start = keras.Input(whole.input_shape[1:])
    nested = keras.Sequential([start, keras.layers.RandomFlip(), keras.Sequential([whole])])
    mn.save(nested, tmp_path / "m")
    again = mn.load(tmp_path / "m", "numpy")
    assert again.config.labels == whole.config.labels
    kernel = keras.ops.convert_to_numpy(whole.get_layer("predictions").kernel)
    np.testing.assert_array_equal(again.arrays["classifier.weight"], kernel.T)
    mn.save(keras.Sequential([start, whole, keras.layers.Softmax()]), tmp_path / "m")
    unbuilt = keras.Sequential([keras.layers.RandomFlip(), whole])
    with pytest.raises(mn.MobileNetV2Error, match="is not built yet"):
        mn.save(unbuilt, tmp_path / "m")
