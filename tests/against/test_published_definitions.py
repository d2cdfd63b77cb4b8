"""Publishers whose code no package installs: against models written from their definitions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_definitions import DLi14, Tonylins, slim_logits, slim_variables

from mobilenetv2.checkpoints.containers import tensorflow as container
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

Fixture = Callable[..., Any]
CASES = [
    (Tonylins, "tonylins", 0.35, (64, 97)),
    (Tonylins, "tonylins", 1.0, (65, 64)),
    (Tonylins, "tonylins", 1.4, (64, 64)),
    (DLi14, "d-li14", 0.1, (64, 65)),
    (DLi14, "d-li14", 0.75, (65, 64)),
    (DLi14, "d-li14", 1.0, (64, 97)),
]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name", "width", "size"), CASES)
def test_pytorch_files_both_ways(
    model: Any, name: str, width: float, size: tuple[int, int], tmp_path: Path, randomise: Fixture,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    theirs, x = model(width, 7).eval(), pictures(size)
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    config, arrays = read_checkpoint(tmp_path / "theirs.pth")
    assert config.origin is not None and config.origin.dialect == name
    assert config.spec.width == width
    expected = theirs(pixels).numpy()
    for found in ours(config.spec.replace(size=size), arrays, x):
        assert_same(found["logits"], expected)
    spec = config.spec.replace(size=size)
    arrays = random_arrays(spec)
    write_checkpoint(ModelConfig.default(spec), arrays, name, tmp_path / "ours.pth")
    theirs.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True), strict=True)
    expected = theirs(pixels).numpy()
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size"), [(0.35, (64, 97)), (1.0, (65, 64)), (1.4, (64, 64))])
def test_tf_slims_checkpoints_both_ways(
    width: float, size: tuple[int, int], tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    tf = pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
    x = pictures(size)
    variables = slim_variables(tf, width, 1001, seed=3)
    # As in training: the weights themselves are worse than their moving averages, and beside them
    # lie the optimiser's slots and the step.
    stored: dict[str, Any] = {"global_step": np.int64(7)}
    for name, value in variables.items():
        if "moving_" in name:
            stored[name] = value.numpy()
        else:
            stored[name] = value.numpy() + 1
            stored[f"{name}/ExponentialMovingAverage"] = value.numpy()
            stored[f"{name}/RMSProp"] = stored[f"{name}/RMSProp_1"] = np.zeros_like(value)
    container.write_tensorflow(stored, tmp_path / "model.ckpt-7")
    config, arrays = read_checkpoint(tmp_path / "model.ckpt-7")
    assert config.spec == published("tf-slim", width=width)
    assert config.labels.names[0] == "background"
    expected = slim_logits(tf, variables, x).numpy()
    for found in ours(config.spec.replace(size=size), arrays, x):
        assert_same(found["logits"], expected)
    spec = published("tf-slim", width=width, size=size)
    arrays = random_arrays(spec)
    write_checkpoint(ModelConfig.default(spec), arrays, "tf-slim", tmp_path / "ours.ckpt")
    reader = tf.train.load_checkpoint(str(tmp_path / "ours.ckpt"))
    shapes = reader.get_variable_to_shape_map()
    assert {name: list(value.shape) for name, value in variables.items()} == shapes
    variables = {name: tf.constant(reader.get_tensor(name)) for name in variables}
    expected = slim_logits(tf, variables, x).numpy()
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], expected)
