"""The record of a foreign file, there and back as JSON."""

import dataclasses
import json

import pytest

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.foreign import ForeignConfig, Given, config_from_mapping
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

CONFIG = ForeignConfig(
    "onnx", Preprocessing((24, 32), (24, 32), "stretch"), Labels(("a", "b")), 1, outputs="logit",
    layout="NCHW", bgr=True, batch=3, origin=Origin("net.onnx", "0" * 64), notes=("assumed",),
)  # fmt: skip


@pytest.mark.parametrize("config", [CONFIG, ModelConfig.default(NetworkSpec(classes=3))])
def test_either_kind_of_config_comes_back(config: ForeignConfig | ModelConfig) -> None:
    assert config_from_mapping(json.loads(json.dumps(to_mapping(config))), "here") == config


def test_both_kinds_say_what_a_predictor_needs() -> None:
    ours = ModelConfig.default(NetworkSpec(size=(64, 96), classes=3))
    assert (ours.size, ours.channels, ours.classes, ours.outputs) == ((64, 96), 3, 3, "softmax")
    assert (CONFIG.size, CONFIG.channels, CONFIG.classes, CONFIG.outputs) == (
        (24, 32), 3, 2, "logit",
    )  # fmt: skip
    assert CONFIG.ending == ".onnx" and "notes" not in repr(CONFIG)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="2 labels for 5 classes"):
        dataclasses.replace(CONFIG, outputs="softmax", logits=5)


def test_nothing_given_is_nothing() -> None:
    assert not Given()
    assert Given(labels=Labels(("a",))) and Given(resize="none")
