"""Heads of state dicts, read off their shapes under any names."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.dialects.state_head import read_head
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec


def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Arrays:
    found: Arrays = {f"{name}.weight": np.full((outputs, inputs), 1.0, np.float32)}
    return found | ({f"{name}.bias": np.zeros(outputs, np.float32)} if bias else {})


@pytest.mark.parametrize("name", ["fc", "head", "classifier.1", "classifier.1.1", "a.b.last_fc"])
def test_the_one_matrix_with_as_many_inputs_as_features(name: str) -> None:
    head = read_head(linear(name, 7, 32), 32)
    assert head is not None and (head.spec, head.classes) == (ClassifierSpec(), 7)
    assert head.arrays.keys() == {"classifier.weight", "classifier.bias"} and not head.notes


def test_a_classifier_without_a_bias() -> None:
    head = read_head(linear("fc", 7, 32, bias=False), 32)
    assert head is not None and not head.spec.bias and "classifier.bias" not in head.arrays


def test_layers_run_in_the_order_of_their_numbers() -> None:
    rest = linear("head.10", 3, 32) | linear("head.2", 32, 32) | linear("head.5", 32, 32)
    head = read_head(rest, 32)
    assert head is not None and len(head.spec.hidden) == 2
    assert head.arrays["classifier.weight"] is rest["head.10.weight"]
    assert head.arrays["hidden.0.weight"] is rest["head.2.weight"]
    assert "'head.2', 'head.5'" in " ".join(head.notes) or "head.2" in head.notes[0]


def test_layers_run_in_the_one_order_in_which_they_chain() -> None:
    head = read_head(linear("classifier", 3, 16) | linear("hidden", 16, 32), 32)
    assert head is not None and head.spec.hidden == (HiddenSpec(16),)


def test_neighbours_in_a_sequence_have_no_activation_between_them() -> None:
    head = read_head(linear("head.1", 16, 32) | linear("head.2", 3, 16), 32)
    assert head is not None and head.spec.hidden == (HiddenSpec(16, "none"),)
    assert "No activation" in head.notes[0] and "'head.1'" in head.notes[0]


@pytest.mark.parametrize("names", [("fc1", "fc2"), ("a.linear1", "a.linear2"), ("1.fc1", "1.fc2")])
def test_a_number_within_a_name_is_no_place_in_a_sequence(names: tuple[str, str]) -> None:
    head = read_head(linear(names[0], 16, 32) | linear(names[1], 3, 16), 32)
    assert head is not None and head.spec.hidden == (HiddenSpec(16, "relu"),)
    assert "ReLU is assumed" in head.notes[0] and names[0] in head.notes[0]


@pytest.mark.parametrize("number", ["\u00b2", "1" * 5000], ids=["superscript", "5,000 digits"])
def test_numbers_that_are_none_are_names(number: str) -> None:
    rest = linear(f"a1{number}2.{number}", 16, 32) | linear(f"a1{number}3", 3, 16)
    head = read_head(rest, 32)
    assert head is not None and head.spec.hidden == (HiddenSpec(16, "relu"),)


def test_one_output_is_a_logit() -> None:
    head = read_head(linear("fc", 1, 32), 32)
    assert head is not None and (head.spec.outputs, head.classes) == ("logit", 2)
    assert "two classes" in head.notes[0]


def test_nothing_is_no_head() -> None:
    assert read_head({}, 32) is None


@pytest.mark.parametrize(
    "rest",
    [
        linear("fc", 3, 64),
        linear("one", 3, 32) | linear("two", 4, 32),
        linear("fc", 3, 32) | {"fc.scale": np.ones(3, np.float32)},
        linear("fc", 3, 32) | {"norm.running_mean": np.ones(32, np.float32)},
        {"conv.weight": np.ones((3, 32, 3, 3), np.float32)},
        {"fc.weight": np.ones((3, 32), np.float32), "fc.bias": np.ones(4, np.float32)},
    ],
    ids=lambda rest: "+".join(rest),
)
def test_another_head_is_named_with_the_way_out(rest: Arrays) -> None:
    with pytest.raises(DialectError) as caught:
        read_head(rest, 32)
    assert next(iter(rest)) in str(caught.value) and "body=True" in str(caught.value)


def test_very_many_layers_end_soon() -> None:
    rest: Arrays = {}
    for index in range(200):
        rest |= linear(f"x{index}", 32, 32)
    with pytest.raises(DialectError, match="200 layers"):
        read_head(rest, 32)
    with pytest.raises(DialectError, match="no chain"):
        read_head(rest | linear("x0", 16, 32), 32)
