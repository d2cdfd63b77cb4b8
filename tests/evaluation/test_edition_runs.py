"""Editions in processes of their own: what comes back, and how a child fails."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.evaluation.edition_runs import Case, compute, run_edition
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(32, 40), classes=3, head_channels=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path / "model", ModelConfig.default(SPEC), random_arrays(SPEC))
    return tmp_path / "model"


def test_the_tensors_are_those_of_the_edition_and_all_logits_come(
    folder: Path, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(5, 32, 40, 3)).astype(np.float32)
    np.save(tmp_path / "x0.npy", x)
    (found,) = run_edition("numpy:float64", [Case(folder, x, detailed=1)], tmp_path)
    network = plain.MobileNetV2(SPEC, dtype=np.float64)
    plain.load(network, random_arrays(SPEC))
    expected = plain.intermediates(network, x)
    assert found.keys() == {*intermediate_names(SPEC), "all"}
    np.testing.assert_allclose(found["all"], expected["logits"], atol=1e-12)
    np.testing.assert_allclose(found["stem"], expected["stem"][:1], atol=1e-12)


def test_another_size_is_computed_as_such(folder: Path) -> None:
    x = np.zeros((1, 48, 64, 3), np.float32)
    job = {"model": str(folder), "size": [48, 64], "detailed": 1}
    assert compute("numpy", job, x)["stem"].shape[1:3] == (24, 32)


def test_an_error_of_ours_in_the_child_names_the_edition(folder: Path, tmp_path: Path) -> None:
    x = np.zeros((1, 16, 16, 3), np.float32)
    np.save(tmp_path / "x0.npy", x)
    with pytest.raises(MobileNetV2Error, match="numpy edition: size 16 must be"):
        run_edition("numpy", [Case(folder, x, (16, 16))], tmp_path)
