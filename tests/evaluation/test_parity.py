"""Parity: it names what departs, and passes only where nothing does."""

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from short import short
from torch import nn

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.cli.main import main
from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import MobileNetV2Error, OutputError, installing
from mobilenetv2.evaluation import parity as module
from mobilenetv2.evaluation.edition_runs import Case
from mobilenetv2.evaluation.parity import (
    REFERENCE,
    Difference,
    Parity,
    compare_editions,
    compare_tensors,
    comparison_pictures,
    first_departure,
    parity,
    parse_editions,
    usable_editions,
)
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import json_text

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
    assert first_departure(compare_tensors(expected, edition.intermediates(network, x))) is None
    defect(network.get_submodule(layer))
    rows = compare_tensors(expected, edition.intermediates(network, x))
    assert first_departure(rows) == layer
    assert [row.name for row in rows] == list(intermediate_names(SPEC))


def test_differences_are_measured_against_the_larger_of_one_and_the_reference() -> None:
    reference = {"a": np.array([0.5, -0.2]), "b": np.array([10.0, 0.0]), "c": np.array([1.0])}
    found = {"a": np.array([0.5, -0.1]), "b": np.array([9.0, 0.0]), "c": np.array([1.0])}
    rows = compare_tensors(reference, found)
    assert [row.absolute for row in rows] == pytest.approx([0.1, 1.0, 0.0])
    assert [row.relative for row in rows] == pytest.approx([0.1, 0.1, 0.0])
    assert first_departure(rows, 0.05) == "a" and first_departure(rows, 0.2) is None


@pytest.mark.parametrize("value", [None, np.zeros(3), np.array([np.nan, 0.0])])
def test_a_missing_misshapen_or_impossible_tensor_is_a_departure(value: Any) -> None:
    found = {} if value is None else {"a": value}
    assert compare_tensors({"a": np.zeros(2)}, found) == [Difference("a", float("inf"), 0.0)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_never_the_same(value: float) -> None:
    both = np.array([[value, 1.0]])
    rows = compare_tensors({"logits": both}, {"logits": both})
    assert rows[0].relative == np.inf and first_departure(rows) == "logits"
    found = Parity({"torch": rows}, {REFERENCE: np.ones((1, 2)), "torch": both}, 1e-4)
    assert not found.passed and "the same" not in found.verdict("torch")
    assert "NaN" not in json_text(found.to_dict()) and "Infinity" not in json_text(found.to_dict())


def overflowing(folder: Path, most: float) -> Path:
    """A model whose logits are of the size of ``most``: finite in float64, if that has it."""
    arrays = random_arrays(SPEC)
    arrays["classifier.weight"] = np.full_like(arrays["classifier.weight"], most)
    store.save(folder, ModelConfig.default(SPEC), arrays)
    return folder


@pytest.mark.slow
def test_an_edition_that_overflows_where_the_reference_does_not_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = overflowing(tmp_path / "model", 3e38)
    assert main(["parity", str(model), "--editions", "torch,numpy", "--json"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert not found["passed"]
    assert found["first_departure"] == {"torch": "logits", "numpy": "logits"}


def test_a_reference_that_is_not_finite_is_an_error(folder: Path) -> None:
    x = np.full((1, 40, 32, 3), np.inf, np.float32)  # weights that do this are refused
    with pytest.raises(OutputError, match=r"model: .*not finite"):
        compare_editions([Case(folder, x)], ["numpy"])


def test_another_best_class_counts_only_where_it_is_clear() -> None:
    reference = np.array([[1.0, 0.0], [0.5, 0.5 + 1e-5]])
    same = [Difference("logits", 0.0, 1.0)]
    near = Parity(
        {"torch": same}, {REFERENCE: reference, "torch": np.array([[1.0, 0.0], [0.5, 0.4]])}, 1.0
    )
    assert near.disagreements == 0 and near.passed
    clear = Parity({"torch": same}, {REFERENCE: reference, "torch": reference[:, ::-1]}, 9.0)
    assert clear.disagreements == 1 and not clear.passed


def test_the_best_class_of_one_logit_is_the_side_of_0_on_which_it_lies() -> None:
    reference, other = np.array([[1.0], [-2.0], [1e-5]]), np.array([[1.0], [0.5], [-1e-5]])
    found = Parity({"torch": []}, {REFERENCE: reference, "torch": other}, 9.0)
    assert found.disagreements == 1


def test_every_two_editions_are_compared() -> None:
    one, rows = np.ones((1, 2)), [Difference("logits", 0.0, 1.0)]
    logits = {REFERENCE: one, "torch": one + 6e-5, "jax": one - 6e-5}
    found = Parity({"torch": rows, "jax": rows}, logits, 1e-4)
    assert found.pairs["torch", "jax"].absolute == pytest.approx(1.2e-4)
    assert not found.departures and not found.passed  # each near the reference, not each other


def test_json_has_no_number_where_there_is_none() -> None:
    rows = compare_tensors({"logits": np.ones((1, 2))}, {"logits": np.array([[np.nan, 1.0]])})
    wrong = np.array([[np.nan, 1.0]])
    found = Parity({"torch": rows}, {REFERENCE: wrong, "torch": wrong}, 1e-4).to_dict()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text)["editions"]["torch"][0]["absolute"] is None
    assert json.loads(text)["logits_deviation"] is None and not found["passed"]


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), 0.0, -1e-4])
def test_a_tolerance_that_anything_or_nothing_passes_is_an_error(
    folder: Path, tolerance: float
) -> None:
    x = np.zeros((1, 40, 32, 3), np.float32)
    with pytest.raises(MobileNetV2Error, match=r"tolerance .* must be a finite number above 0"):
        compare_editions([Case(folder, x)], ["torch"], tolerance)


def test_bad_editions_are_named(folder: Path) -> None:
    with pytest.raises(MobileNetV2Error, match=r"edition 'pytorch' is unknown; .*torch"):
        parse_editions("torch,pytorch")
    with pytest.raises(MobileNetV2Error, match="no editions given"):
        parse_editions(" , ")
    assert parse_editions("torch, keras:jax,torch") == ["torch", "keras:jax"]
    assert parse_editions(["jax", "torch", "jax"]) == ["jax", "torch"]
    x = np.zeros((1, 16, 16, 3), np.float32)  # too small for the spec
    with pytest.raises(MobileNetV2Error, match="edition: size 16 must be"):
        compare_editions([Case(folder, x, (16, 16))], ["torch"])


def test_grey_pictures_have_one_channel(photos: Path, tmp_path: Path) -> None:
    config = ModelConfig.default(SPEC.replace(input_channels=1))
    Image.new("L", (50, 40), 77).save(tmp_path / "grey.png")
    names = [str(tmp_path / "grey.png"), str(photos / "box" / "00.png")]
    assert comparison_pictures(config, (40, 32), names).shape == (2, 40, 32, 1)
    assert comparison_pictures(config, (41, 33), []).shape == (2, 41, 33, 1)


def test_without_editions_it_takes_those_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name in ("keras", "flax") else name
    )
    assert usable_editions(SPEC) == ["torch", "numpy"]
    err = capsys.readouterr().err
    for name, package in (("keras", "keras"), ("jax", "flax")):
        assert f"the {name} edition is skipped; install it with: {installing([package])}" in err


def test_from_python_it_is_one_call_with_a_short_answer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)
    found = parity(folder, editions=["numpy"], photos=[picture, picture[:, ::-1]])
    assert found.passed and (found.pictures, found.size, found.model) == (2, (40, 32), str(folder))
    assert found.to_dict()["model"] == str(folder) and found.to_dict()["size"] == [40, 32]
    assert repr(found) == (
        f"Parity({folder}, passed: numpy the same at every tensor; tolerance 0.0001)"
    )
    assert "<td>the same at every tensor</td>" in found._repr_html_()
    assert parity(folder, editions="numpy", size=64).size == (64, 64)
    for options, message in (
        ({"size": (64, 16)}, "size 64x16: size 16 must be"),
        ({"editions": ["troch"]}, "edition 'troch' is unknown; did you mean 'torch'?"),
        ({"tolerance": 0}, "tolerance 0 must be a finite number above 0"),
        ({"photos": ["x.jpg"]}, "no such photo or folder"),
    ):
        with pytest.raises(MobileNetV2Error, match=re.escape(message)):
            parity(folder, **{"editions": "numpy", **options})  # type: ignore[arg-type]


def test_a_departure_is_in_the_short_answer_and_the_notebooks_table() -> None:
    rows = [Difference("stem", 0.1, 1.0), Difference("logits", 0.3, 1.0)]
    logits = {REFERENCE: np.ones((2, 2)), "torch": np.ones((2, 2))}
    found = Parity({"torch": rows}, logits, 1e-4, "<b>")
    assert repr(found) == "Parity(<b>, failed: torch differs first at stem; tolerance 0.0001)"
    page = found._repr_html_()
    assert "&lt;b&gt;: failed" in page and "differs first at stem" in page and "3.0e-01" in page


SAME = Numerics("same", 1e-3)
CASES = {
    "width 0.1, same, odd": (SPEC.replace(numerics=SAME), (41, 33)),
    "symmetric, not square": (short(SPEC.replace(numerics=Numerics())), (34, 45)),
    "same, even": (short(NetworkSpec(width=0.35, classes=5, numerics=SAME)), (48, 32)),
    "width 1.4, symmetric": (NetworkSpec(width=1.4, classes=5), (32, 33)),
    "small": (published("small", width=0.35), (32, 32)),
}
EDITIONS = "torch,keras:tensorflow,jax,numpy"
needs_all = pytest.mark.skipif(
    not all(map(find_spec, ("keras", "flax"))),
    reason="keras and flax are not installed (make test-all)",
)


@needs_all
@pytest.mark.slow
def test_all_editions_and_backends_agree(tmp_path: Path) -> None:
    cases = []
    for index, (spec, size) in enumerate(CASES.values()):
        store.save(tmp_path / f"{index}", ModelConfig.default(spec), random_arrays(spec))
        x = np.random.default_rng(index).normal(size=(3, *size, 3)).astype(np.float32)
        cases.append(Case(tmp_path / f"{index}", x, size))
    for name, found in zip(CASES, compare_editions(cases, parse_editions(EDITIONS)), strict=True):
        assert found.passed, (name, found.departures)
        assert 0.5 < found.deviation < 20, name
        assert len(found.pairs) == 6 and all(len(a) == 3 for a in found.logits.values())
    for found in compare_editions(cases[:2], parse_editions("keras:jax,keras:torch")):
        assert found.passed, found.departures


@needs_all
@pytest.mark.slow
def test_published_weights_agree_on_real_photos(
    public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    path = public_folder("published") / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    config, arrays = read_checkpoint(path)
    store.save(tmp_path / "model", config, arrays)
    files = sorted(public_folder("imagenet-samples").glob("*/*"))[::17][:5]
    assert len(files) == 5
    record = config.preprocessing
    photos = np.stack([preprocess(read_photo(file), record, file.name) for file in files])
    x = engine_input(photos, record).transpose(0, 2, 3, 1)
    found = compare_editions(
        [Case(tmp_path / "model", x, detailed=1)], parse_editions("torch,keras:tensorflow,jax")
    )[0]
    assert found.passed, found.departures
    assert 0.5 < found.deviation < 20 and found.disagreements == 0
    assert len(set(found.logits[REFERENCE].argmax(1))) > 3  # photos of several things
