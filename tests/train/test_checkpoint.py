"""A checkpoint comes back as it was written, and a damaged one is an error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import RunError
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.folder import Checkpoint
from mobilenetv2.train.recipe import Recipe

SAVED = Checkpoint(
    ModelConfig.default(published("small", width=0.1, classes=3)),
    Recipe().changed(epochs=3).to_toml(),
    trainer={
        "network/stem.conv.weight": np.random.default_rng(0).normal(size=(2, 3)),
        "optimizer/0/step": np.array(7.0, np.float32),  # no axes at all
        "random": np.arange(9, dtype=np.uint8),
        "count": np.array(2**40, np.int64),
    },
    average={"stem.conv.weight": np.ones(4, np.float32)},
    averaged_steps=5,
    rows=[{"epoch": 1, "train_loss": 1 / 3}],
    epoch=1,
    step=2,
    sums=[0.1, 3, 8],
    seconds=1.5,
)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    SAVED.write(tmp_path / "c")
    found = Checkpoint.read(tmp_path / "c")
    assert replace(found, trainer={}, average={}) == replace(SAVED, trainer={}, average={})
    for part in ("trainer", "average"):
        expected = getattr(SAVED, part)
        assert getattr(found, part).keys() == expected.keys()
        for name, array in getattr(found, part).items():
            assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("kept", [0, 7, 100, -20])
def test_a_damaged_one_is_an_error(kept: int, tmp_path: Path) -> None:
    SAVED.write(tmp_path / "c")
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:kept])
    with pytest.raises(RunError, match="c: cannot be resumed from"):
        Checkpoint.read(tmp_path / "c")
