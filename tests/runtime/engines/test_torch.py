"""PyTorch as a runtime: the edition's own numbers, its device, its threads."""

from pathlib import Path

import numpy as np
import pytest
import torch as framework

import mobilenetv2 as mn
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.runtime.engines import torch
from mobilenetv2.spec.names import intermediate_names

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def test_the_answers_are_the_editions(model: Path) -> None:
    network = mn.load(model)
    for outputs in ("logits", "features"):
        config, predict = torch.load_predictor(model, outputs)
        expected = edition.predictor(network, "cpu", outputs)(PICTURES)
        np.testing.assert_array_equal(predict(PICTURES), expected)
        assert config == network.config


def test_the_map_is_the_tensor_before_the_pooling(model: Path) -> None:
    found = torch.load_feature_map(model)
    logits, maps = found.answer(PICTURES)
    np.testing.assert_allclose(maps.mean((1, 2)), torch.load_predictor(model, "features")[1](
        PICTURES), rtol=0, atol=1e-4)  # fmt: skip
    np.testing.assert_allclose(logits, torch.load_predictor(model)[1](PICTURES), atol=1e-5)
    assert "classifier.weight" in found.arrays and "head" in intermediate_names(found.config.spec)


def test_its_threads_are_set_and_its_device_is_checked(model: Path) -> None:
    before = framework.get_num_threads()
    try:
        torch.load_predictor(model, threads=2)
        assert framework.get_num_threads() == 2
    finally:
        framework.set_num_threads(before)
    with pytest.raises(MobileNetV2Error, match=r"tpu'?: PyTorch cannot use it here"):
        torch.load_predictor(model, device="tpu")
