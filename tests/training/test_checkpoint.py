"""The checkpoint: what was saved comes back bit for bit, and what was changed does not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from mobilenetv2.errors import RunError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.checkpoint import COLUMNS, Checkpoint, read_parts, sealed
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps import State

SPEC = published("small", width=0.1, classes=3)
SAVED = Checkpoint(
    ModelConfig.default(SPEC),
    Recipe().changed({"epochs": 3, "averaging.decay": 0.9}),
    trainer={
        "network/stem.conv.weight": np.random.default_rng(0).normal(size=(2, 3)),
        "optimizer/0/step": np.array(7.0, np.float32),  # no axes at all
        "random": np.arange(9, dtype=np.uint8),
        "count": np.array(2**40, np.int64),
        "nothing": np.zeros((0, 3), np.float32),
    },
    average=random_arrays(SPEC),
    averaged_steps=5,
    rows=[dict.fromkeys(COLUMNS, 1 / 3) | {"epoch": 1, "selection_loss": float("nan")}],
    epoch=1,
    step=2,
    sums=[0.1, 3, 8],
    seconds=1.5,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SAVED.save(tmp_path / "c")
    return tmp_path / "c"


def test_what_was_written_comes_back(path: Path) -> None:
    found = Checkpoint.load(path)
    assert repr(replace(found, trainer={}, average={})) == repr(
        replace(SAVED, trainer={}, average={})  # by repr, for NaN is not NaN
    )
    for part in ("trainer", "average"):
        expected = getattr(SAVED, part)
        assert getattr(found, part).keys() == expected.keys()
        for name, array in getattr(found, part).items():
            assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("kept", [0, 7, 100, -20])
def test_a_damaged_one_is_an_error(kept: int, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match="c: cannot be resumed from"):
        Checkpoint.load(path)


@pytest.mark.parametrize("place", [0.02, 0.5, 0.999])
def test_a_single_other_bit_is_noticed(place: float, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="c: cannot be resumed from"):
        Checkpoint.load(path)


def resealed(path: Path, change: Callable[[dict[str, Any], State], object]) -> None:
    """Change the record and the arrays of a checkpoint, with a checksum that fits again."""
    facts, tensors = read_parts(path)
    del facts["sha256"]
    change(facts, tensors)
    path.write_bytes(sealed(facts, tensors))


def test_a_fitting_checksum_is_all_that_is_needed(path: Path) -> None:
    resealed(path, lambda facts, tensors: facts.update(seconds=2))
    assert Checkpoint.load(path).seconds == 2


NAN = np.full(4, np.nan, np.float32)
Change = Callable[[dict[str, Any], State], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "epoch below 0": (lambda f, t: f.update(epoch=-5), "epoch -5"),
    "epoch beyond the recipe": (lambda f, t: f.update(epoch=10**9), "epoch 1000000000"),
    "epoch a text": (lambda f, t: f.update(epoch="1"), "epoch '1'"),
    "epoch true": (lambda f, t: f.update(epoch=True), "epoch True"),
    "epoch without its row": (lambda f, t: f.update(epoch=2), r"have the epochs \[1\]"),
    "step below 0": (lambda f, t: f.update(step=-1), "step -1"),
    "sums too few": (lambda f, t: f.update(sums=[1.0, 2]), r"sums \[1.0, 2\]"),
    "sums of text": (lambda f, t: f.update(sums="abc"), "sums 'abc'"),
    "sums not finite": (lambda f, t: f.update(sums=[float("inf"), 3, 8]), "sums "),
    "seconds": (lambda f, t: f.update(seconds=None), "seconds None"),
    "averaged_steps below 0": (lambda f, t: f.update(averaged_steps=-3), "averaged_steps -3"),
    "averaged_steps none": (lambda f, t: f.update(averaged_steps=0), "averaged_steps 0"),
    "rows a table": (lambda f, t: f.update(rows={}), "its rows are"),
    "rows of numbers": (lambda f, t: f.update(rows=[3]), "no row of metrics"),
    "rows of text": (lambda f, t: f["rows"][0].update(train_loss="low"), "no row of metrics"),
    "rows of other columns": (lambda f, t: f["rows"][0].pop("seconds"), "no row of metrics"),
    "rows twice": (lambda f, t: f["rows"].append(f["rows"][0]), "have the epochs"),
    "rows many": (lambda f, t: f.update(rows=f["rows"] * 10_000), "have the epochs"),
    "no config": (lambda f, t: f.pop("config"), "has the keys"),
    "another key": (lambda f, t: f.update(more=1), "has the keys"),
    "config a list": (lambda f, t: f.update(config=[]), "its config: expected a table"),
    "config wide": (lambda f, t: f["config"]["spec"].update(width=10**400), "its config"),
    "config of another network": (
        lambda f, t: f["config"]["spec"].update(head_channels=2000), "its average",
    ),
    "recipe no TOML": (lambda f, t: f.update(recipe="="), "its recipe: not a valid TOML"),
    "recipe a number": (lambda f, t: f.update(recipe=3), "it is no checkpoint"),
    "recipe key": (lambda f, t: f.update(recipe="epoks = 3"), "did you mean 'epochs'"),
    "part unknown": (lambda f, t: t.update({"else/x": NAN}), "'else/x' belongs to no part"),
    "weights not finite": (lambda f, t: t.update({"trainer/x": NAN}), "'trainer/x' has values"),
    "average incomplete": (lambda f, t: t.pop("average/head.conv.weight"), "average.*1 missing"),
    "average reshaped": (
        lambda f, t: t.update({"average/classifier.bias": np.zeros(4, np.float32)}), "its average",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_a_state_that_no_run_can_have_is_refused_though_its_checksum_fits(
    change: Change, reason: str, path: Path
) -> None:
    resealed(path, change)
    with pytest.raises(RunError, match=f"^{path}: cannot be resumed from.*{reason}") as caught:
        Checkpoint.load(path)
    message = str(caught.value)
    assert "start the run again with overwrite=True" in message and len(message) < 1000


@pytest.mark.parametrize("change", [c for c, _ in CHANGES.values()], ids=CHANGES)
def test_without_a_fitting_checksum_nothing_else_is_looked_at(change: Change, path: Path) -> None:
    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["checkpoint"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(facts, tensors)
    path.write_bytes(save(tensors, {"checkpoint": json.dumps(facts)}))
    with pytest.raises(RunError, match="changed or damaged since it was written"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"step": 10**9, "sums": [0, 0, 4e9]}, "step 1,000,000,000 of an epoch of 3 steps"),
        ({"step": 1}, r"sums \[0.1, 3, 8\] after 1 steps"),
        ({"sums": [0.1, 9, 8]}, "sums"),
        ({"averaged_steps": 4}, "averaged_steps 4 after 5 steps"),
    ],
    ids=["step", "photos", "right", "averaged"],
)
def test_a_place_that_is_none_of_the_run_is_refused(
    changes: dict[str, Any], reason: str, path: Path
) -> None:
    SAVED.check_place(path, steps=3, batch_size=4)
    with pytest.raises(RunError, match=f"c: cannot be resumed from.*{reason}"):
        replace(SAVED, **changes).check_place(path, steps=3, batch_size=4)


def test_a_checkpoint_of_an_older_version_is_called_that(path: Path) -> None:
    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["checkpoint"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del facts["sha256"]  # as before there was one
    path.write_bytes(save(tensors, {"checkpoint": json.dumps(facts)}))
    with pytest.raises(RunError, match=f"^{path}: written by an older version") as caught:
        Checkpoint.load(path)
    assert "finish the run with that version" in str(caught.value)
    assert "overwrite=True" in str(caught.value)
