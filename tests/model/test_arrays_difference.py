"""The whole difference between two sets of tensors, at once and by name."""

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import Difference, compare_shapes, require_same

EXPECTED = {"stem": (8, 3, 3, 3), "head": (24, 8, 1, 1), "bias": (5,), "weight": (5, 24)}
FOUND = {"head": (24, 8), "extra": (1,), "weight": (24, 5), "bias": (5,), "more": (2,)}


def test_every_kind_of_difference_is_found_in_the_order_of_its_table() -> None:
    assert compare_shapes(EXPECTED, FOUND) == Difference(
        missing=("stem",),
        unexpected=("extra", "more"),
        reshaped={"head": ((24, 8, 1, 1), (24, 8)), "weight": ((5, 24), (24, 5))},
    )


def test_equal_tables_have_no_difference_whatever_their_order() -> None:
    shuffled = {name: EXPECTED[name] for name in reversed(EXPECTED)}
    assert not compare_shapes(EXPECTED, shuffled)
    assert str(compare_shapes(EXPECTED, shuffled)) == ""
    require_same(EXPECTED, shuffled, "here")


@pytest.mark.parametrize(
    "difference",
    [
        Difference(("a",), (), {}),
        Difference((), ("a",), {}),
        Difference((), (), {"a": ((1,), (2,))}),
    ],
)
def test_one_difference_of_any_kind_counts(difference: Difference) -> None:
    assert difference


def test_a_difference_is_one_line_for_each_tensor() -> None:
    assert str(compare_shapes(EXPECTED, FOUND)).splitlines() == [
        "- stem",
        "+ extra",
        "+ more",
        "! head: expected [24, 8, 1, 1], found [24, 8]",
        "! weight: expected [5, 24], found [24, 5]",
    ]


def test_the_summary_counts_each_kind_and_names_its_first() -> None:
    assert compare_shapes(EXPECTED, FOUND).summary() == (
        "1 missing (first: stem); 2 unexpected (first: extra); "
        "2 of another shape (first: head, expected [24, 8, 1, 1], found [24, 8])"
    )
    assert compare_shapes(EXPECTED, {}).summary() == "4 missing (first: stem)"


def test_the_error_says_where_then_the_summary_then_everything() -> None:
    with pytest.raises(WeightsError) as caught:
        require_same(EXPECTED, FOUND, "shoes/model.safetensors")
    first, *rest = str(caught.value).splitlines()
    difference = compare_shapes(EXPECTED, FOUND)
    assert first == (
        f"shoes/model.safetensors: the tensors do not fit the network: {difference.summary()}"
    )
    assert rest == str(difference).splitlines()
