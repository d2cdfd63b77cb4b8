"""Parity: it names what departs, and passes only where nothing does."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from mobilenetv2.cli.main import main
from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.evaluate.parity import (
    REFERENCE,
    Difference,
    Parity,
    check,
    compare,
    first_departure,
    parse,
)
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights import store
from mobilenetv2.weights.canonical import random_arrays

SPEC = NetworkSpec(
    width=0.1, size=(40, 32), classes=5, head_channels=24, numerics=Numerics("same", 1e-3)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path / "model", ModelConfig.default(SPEC), random_arrays(SPEC))
    return tmp_path / "model"


def symmetric(conv_bn: Any) -> None:
    """The commonest bug in ports: one pixel on every side where 'same' gives none and one."""
    assert conv_bn.pad_same
    conv_bn.pad_same, conv_bn.conv.padding = False, (1, 1)


def swap_statistics(conv_bn: Any) -> None:
    norm: nn.BatchNorm2d = conv_bn.bn
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean, norm.running_var = norm.running_var, norm.running_mean.abs()


def other_epsilon(conv_bn: Any) -> None:
    conv_bn.bn.eps = 2e-3


@pytest.mark.parametrize(
    ("layer", "defect"),
    [
        ("stem", symmetric),
        ("blocks.3.depthwise", symmetric),
        ("blocks.13.depthwise", symmetric),
        ("blocks.5.project", swap_statistics),
        ("head", other_epsilon),
    ],
)
def test_a_defect_in_one_edition_is_found_at_its_layer(layer: str, defect: Any) -> None:
    arrays = random_arrays(SPEC)
    reference, network = plain.MobileNetV2(SPEC, dtype=np.float64), edition.MobileNetV2(SPEC)
    plain.load(reference, arrays)
    edition.load(network, arrays)
    x = np.random.default_rng(0).normal(size=(2, 40, 32, 3)).astype(np.float32)
    expected = plain.intermediates(reference, x)
    assert first_departure(compare(expected, edition.intermediates(network, x))) is None
    defect(network.get_submodule(layer))
    rows = compare(expected, edition.intermediates(network, x))
    assert first_departure(rows) == layer
    assert [row.name for row in rows] == list(intermediate_names(SPEC))


def test_differences_are_measured_against_the_larger_of_one_and_the_reference() -> None:
    reference = {"a": np.array([0.5, -0.2]), "b": np.array([10.0, 0.0]), "c": np.array([1.0])}
    found = {"a": np.array([0.5, -0.1]), "b": np.array([9.0, 0.0]), "c": np.array([1.0])}
    rows = compare(reference, found)
    assert [row.absolute for row in rows] == pytest.approx([0.1, 1.0, 0.0])
    assert [row.relative for row in rows] == pytest.approx([0.1, 0.1, 0.0])
    assert first_departure(rows, 0.05) == "a" and first_departure(rows, 0.2) is None


@pytest.mark.parametrize("value", [None, np.zeros(3), np.array([np.nan, 0.0])])
def test_a_missing_misshapen_or_impossible_tensor_is_a_departure(value: Any) -> None:
    found = {} if value is None else {"a": value}
    assert compare({"a": np.zeros(2)}, found) == [Difference("a", float("inf"), 0.0)]


def test_another_best_class_counts_only_where_it_is_clear() -> None:
    reference = np.array([[1.0, 0.0], [0.5, 0.5 + 1e-5]])
    same = [Difference("logits", 0.0, 1.0)]
    near = Parity(
        {"torch": same}, {REFERENCE: reference, "torch": np.array([[1.0, 0.0], [0.5, 0.4]])}, 1.0
    )
    assert near.disagreements == 0 and near.passed
    clear = Parity({"torch": same}, {REFERENCE: reference, "torch": reference[:, ::-1]}, 9.0)
    assert clear.disagreements == 1 and not clear.passed


def test_every_two_editions_are_compared() -> None:
    one, rows = np.ones((1, 2)), [Difference("logits", 0.0, 1.0)]
    logits = {REFERENCE: one, "torch": one + 6e-5, "jax": one - 6e-5}
    found = Parity({"torch": rows, "jax": rows}, logits, 1e-4)
    assert found.pairs["torch", "jax"].absolute == pytest.approx(1.2e-4)
    assert not found.departures and not found.passed  # each near the reference, not each other


def test_the_verb_prints_a_table_and_a_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", str(folder), "--editions", "torch,numpy"]) == 0
    out = capsys.readouterr().out
    assert "blocks.16.project" in out and "torch - numpy" in out
    assert "torch: the same at every tensor" in out
    # Float32 is not float64: nothing is within a tolerance of 1e-12.
    assert main(["parity", str(folder), "--editions", "torch", "--tolerance", "1e-12"]) == 1
    assert "torch: departs first at stem" in capsys.readouterr().out


def test_json_other_sizes_and_photos(
    folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["parity", str(folder), "--editions", "torch", "--size", "65x33", "--json"]
    assert main([*command, "--photos", str(photos / "ball")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] and found["size"] == [65, 33] and found["pictures"] == 12
    assert [row["name"] for row in found["editions"]["torch"]] == list(intermediate_names(SPEC))
    assert found["first_departure"] == {"torch": None}
    assert found["logits_deviation"] > 0.05


def test_bad_editions_are_named(folder: Path) -> None:
    with pytest.raises(MobileNetV2Error, match=r"--editions pytorch: unknown; .*torch"):
        parse("torch,pytorch")
    with pytest.raises(MobileNetV2Error, match="none given"):
        parse(" , ")
    assert parse("torch, keras:jax,torch") == ["torch", "keras:jax"]
    x = np.zeros((1, 16, 16, 3), np.float32)  # too small for the spec
    with pytest.raises(MobileNetV2Error, match="edition: size 16 must be"):
        check(folder, x, ["torch"], (16, 16))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("keras", "flax"))), reason="keras and flax are not installed"
)
@pytest.mark.parametrize("rule", ["same", "symmetric"])
def test_all_editions_and_backends_agree(rule: Any, tmp_path: Path) -> None:
    spec = SPEC.replace(numerics=Numerics(rule))
    store.save(tmp_path / "model", ModelConfig.default(spec), random_arrays(spec))
    x = np.random.default_rng(0).normal(size=(3, 41, 34, 3)).astype(np.float32)
    editions = parse("torch,keras:tensorflow,keras:jax,keras:torch,jax,numpy")
    found = check(tmp_path / "model", x, editions, (41, 34))
    assert found.passed, found.departures
    assert 0.5 < found.deviation < 20
    assert len(found.pairs) == 15
