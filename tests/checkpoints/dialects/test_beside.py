"""Labels and sizes beside a state dict, as the container gives them."""

from typing import Any

import pytest

from mobilenetv2.checkpoints.dialects.beside import labels_beside, size_beside
from mobilenetv2.spec.records import Labels


@pytest.mark.parametrize(
    "value",
    [
        ["hat", "shoes"],
        {"pairs": [["shoes", 1], ["hat", 0]]},
        {"pairs": [[0, "hat"], [1, "shoes"]]},
        {"pairs": [["1", "shoes"], ["0", "hat"]]},
    ],
    ids=["list", "index of a name", "name of an index", "as JSON has it"],
)
def test_every_form_of_labels(value: Any) -> None:
    assert labels_beside([["classes", value]], 2) == (Labels(("hat", "shoes")), "")
    assert labels_beside([["classes", value]], None)[0] == Labels(("hat", "shoes"))


def test_imagenets_names_and_a_background_are_recognised() -> None:
    assert labels_beside([["a", [*Labels.imagenet().names]]], 1000)[0] == Labels.imagenet()
    found, _ = labels_beside([["a", ["background", "x"]]], 2)
    assert found is not None and found.background == 0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"pairs": [["a", 0], ["b", 2]]}, "has gaps"),
        ({"pairs": [["a", 0], ["b", 0]]}, "has gaps or doubles"),
        (["a", "a"], "twice"),
        (["a", " "], "an empty name"),
        (["a", "b", "c"], "names 3 classes, and there are 2 outputs"),
    ],
    ids=["gap", "double", "twice", "empty", "count"],
)
def test_labels_that_do_not_fit_are_told(value: Any, told: str) -> None:
    found, why = labels_beside([["a", value]], 2)
    assert found is None and told in why and "not used" in why
    assert labels_beside([["a", value], ["b", ["x", "y"]]], 2) == (Labels(("x", "y")), "")


def test_other_values_say_nothing() -> None:
    odd = [{"pairs": [[index, "a"]]} for index in ("\u00b2", "1" * 5000, 10**5000, 1.0)]
    for value in (3, "a", [1, 2], {"pairs": [["a", "b"]]}, True, *odd):
        assert labels_beside([["names", value]], 2) == (None, "")


def test_a_size_is_a_side_or_two_or_timms_three() -> None:
    assert size_beside([["size", 96]]) == (96, 96)
    assert size_beside([["size", [64, 96]]]) == (64, 96)
    assert size_beside([["size", [3, 64, 96]]]) == (64, 96)
    for value in (7, "96", [96], [1.5, 2], True, [3, 96], 10**6):
        assert size_beside([["size", value]]) is None
    assert size_beside([["size", "large"], ["img_size", 64]]) == (64, 64)
