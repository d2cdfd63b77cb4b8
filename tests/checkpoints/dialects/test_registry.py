"""Dialects by name, and which one a file is in; TF-slim's against TensorFlow 1's optimisers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.registry import AVERAGE, TF_SLIM, averaged
from mobilenetv2.cli.parser import DIALECTS
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.formats import GRAPHS
from mobilenetv2.model.arrays import random_arrays


def test_names_are_the_command_lines() -> None:
    assert set(DIALECTS) == set(registry.DIALECTS)
    assert {*GRAPHS, "tfjs"} == set(registry.GRAPHS)
    assert all(registry.find(name).name == name for name in DIALECTS)
    with pytest.raises(DialectError, match="did you mean 'torchvision'"):
        registry.find("torchvison")


def test_a_graph_is_known_by_its_name_its_content_or_by_what_was_asked_for(tmp_path: Path) -> None:
    assert registry.find_graph(Path("x.ONNX"), "auto") is registry.GRAPHS["onnx"]
    assert registry.find_graph(tmp_path / "nothing.pth", "auto") is None
    assert registry.find_graph(tmp_path / "x.pb", "onnx") is registry.GRAPHS["onnx"]
    (tmp_path / "renamed").write_bytes(b"\0\0\0\0TFL3")
    assert registry.find_graph(tmp_path / "renamed", "auto") is registry.GRAPHS["litert"]
    with pytest.raises(DialectError, match="in the dialect litert, not timm"):
        registry.find_graph(tmp_path / "renamed", "timm")
    (tmp_path / "text").write_bytes(b"words")
    with pytest.raises(WeightsError, match="text: not a weights file"):
        registry.find_graph(tmp_path / "text", "auto")


def test_tensors_of_another_dialect_or_of_none() -> None:
    timm = registry.TENSORS["timm"]
    spec = timm.bases[0].replace(width=0.35)
    container = Container(timm.encode(spec, random_arrays(spec)), {"format": "pytorch"})
    assert registry.identify(container, "timm").dialect is timm
    with pytest.raises(DialectError, match="not in the dialect keras; its names are timm's"):
        registry.identify(container, "keras")
    other = Container({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(DialectError, match=r"begin with 'conv1\.weight'.* Known dialects: .*onnx"):
        registry.identify(other, "auto")
    with pytest.raises(DialectError, match=r"not in the dialect keras$"):
        registry.identify(other, "keras")
    with pytest.raises(DialectError, match="begin with nothing"):
        registry.identify(Container({}), "auto")
    numbered = Container(
        {"layers/conv2d/vars/0": np.zeros((3, 3, 3, 8), np.float32)},
        {"format": "keras-3", "names": {"layers/conv2d/vars": "block1", "x/vars": "predictions"}},
    )
    with pytest.raises(DialectError, match="begin with 'block1/kernel'"):
        registry.identify(numbered, "auto")


OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "RMSProp": lambda train: train.RMSPropOptimizer(0.1, momentum=0.9),
    "centred RMSProp": lambda train: train.RMSPropOptimizer(0.1, centered=True),
    "Momentum": lambda train: train.MomentumOptimizer(0.1, 0.9),
    "Adam": lambda train: train.AdamOptimizer(),
    "Adagrad": lambda train: train.AdagradOptimizer(0.1),
    "AdagradDA": lambda train: train.AdagradDAOptimizer(0.1, train.get_or_create_global_step()),
    "proximal Adagrad": lambda train: train.ProximalAdagradOptimizer(0.1),
    "Adadelta": lambda train: train.AdadeltaOptimizer(),
    "Ftrl": lambda train: train.FtrlOptimizer(0.1),
    "descent": lambda train: train.GradientDescentOptimizer(0.1),
}
NETWORK = {"MobilenetV2/Conv/weights", "MobilenetV2/Conv/BatchNorm/moving_mean"}


@pytest.mark.slow  # TensorFlow's import
@pytest.mark.parametrize("scope", ["", "training"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_whatever_an_optimiser_keeps_is_no_part_of_the_network(name: str, scope: str) -> None:
    tf: Any = pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
    train = tf.compat.v1.train
    with tf.Graph().as_default():
        with tf.compat.v1.variable_scope("MobilenetV2/Conv"):
            weights = tf.compat.v1.get_variable("weights", (2, 3))
            mean = tf.compat.v1.get_variable("BatchNorm/moving_mean", (2,), trainable=False)
        with tf.compat.v1.variable_scope(scope or tf.compat.v1.get_variable_scope()):
            step = train.get_or_create_global_step()
            made = OPTIMISERS[name](train).minimize(tf.reduce_sum(weights**2), global_step=step)
            with tf.control_dependencies([made]):
                train.ExponentialMovingAverage(0.99, step).apply([weights, mean])
        names = [variable.op.name for variable in tf.compat.v1.global_variables()]
    assert {name for name in names if not TF_SLIM.ignores(name)} == NETWORK


@pytest.mark.parametrize("name", [
    "global_step", "beta1_power", "beta2_power", "beta2_power_1", "training/beta1_power",
    "MobilenetV2/Conv/weights/Adam", "MobilenetV2/Conv/weights/Adam_1",
    "MobilenetV2/Conv/weights/RMSProp_2", "MobilenetV2/Conv/weights/Adadelta_1",
    "MobilenetV2/Conv/weights/ExponentialMovingAverage/biased",
])  # fmt: skip
def test_training_state_is_dropped(name: str) -> None:
    assert TF_SLIM.ignores(name)


def test_no_tensor_of_the_network_is_dropped() -> None:
    spec = TF_SLIM.bases[0]
    assert not [key.foreign for key in TF_SLIM.keys(spec) if TF_SLIM.ignores(key.foreign)]
    for name in ("MobilenetV2/Adam/weights", "my_beta1_power", "global_step/weights"):
        assert not TF_SLIM.ignores(name)


def test_the_average_takes_the_place_of_what_it_averages() -> None:
    spec = TF_SLIM.bases[0].replace(width=0.35)
    arrays, averages = random_arrays(spec, 0), random_arrays(spec, 1)
    foreign = TF_SLIM.encode(spec, arrays)
    name = "MobilenetV2/Conv/weights"
    foreign[name + AVERAGE] = TF_SLIM.encode(spec, averages)[name]
    decoded = TF_SLIM.decode(spec, TF_SLIM.prepare(foreign))
    np.testing.assert_array_equal(decoded["stem.conv.weight"], averages["stem.conv.weight"])
    np.testing.assert_array_equal(decoded["head.conv.weight"], arrays["head.conv.weight"])


def test_slims_averages_take_the_place_of_what_they_average() -> None:
    name = "MobilenetV2/Conv/weights"
    found = averaged({name: np.ones(1), name + AVERAGE: np.zeros(1), "other": np.ones(1)})
    assert found[name] == 0 and found["other"] == 1
    dropped = ("global_step", name + AVERAGE, f"{name}/RMSProp", f"{name}/RMSProp_1")
    assert all(TF_SLIM.ignores(key) for key in dropped) and not TF_SLIM.ignores(name)
