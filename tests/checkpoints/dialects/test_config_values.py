"""Values of strangers' config files: of their type, and none passed over."""

import pytest

from mobilenetv2.checkpoints.dialects.config_values import (
    Keys,
    field,
    numbers,
    passed_over,
    sides,
)
from mobilenetv2.errors import DialectError


def test_what_was_not_read_is_named_unless_it_means_nothing() -> None:
    config = Keys({"a": 1, "b": 2, "c": 3, "d": None})
    assert config["a"] == 1 and config.get("z") is None and len(config) == 4
    assert config.unread(frozenset()) == ["b", "c"]
    assert passed_over("config.json", config, frozenset("b")).endswith("in config.json: 'c'.")
    assert passed_over("config.json", config, frozenset("bc")) == ""


def test_a_field_has_its_type_or_its_default() -> None:
    assert field({"a": 3}, "a", int, 0) == 3 and field({"a": None}, "a", int, 7) == 7
    assert field({"a": 3}, "a", float, 0.0) == 3
    for value, kind in (("3", int), (True, float), (1.5, int), ([], dict)):
        with pytest.raises(DialectError, match=r"a = .* is not of the type"):
            field({"a": value}, "a", kind, None)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e999, float("nan")], ids=str)
def test_numbers_without_bounds_are_refused_in_a_short_sentence(value: float) -> None:
    for kind in (type(value), float, (dict, int, float)):
        with pytest.raises(DialectError, match="a = ") as caught:
            field({"a": value}, "a", kind, None)
        assert len(str(caught.value)) < 200
    with pytest.raises(DialectError, match="neither a side"):
        sides([64, value], "size")


def test_sides_are_one_number_or_two() -> None:
    assert sides(96, "size") == (96, 96)
    assert sides([64, 128], "size") == sides({"height": 64, "width": 128}, "size") == (64, 128)
    for value in ("96", [96], [1, 2, 3], {"shortest_edge": 3}, [96.0, 96.0], None, [True, False]):
        with pytest.raises(DialectError, match="neither a side nor a height and a width"):
            sides(value, "size")


def test_numbers_are_one_or_one_a_channel() -> None:
    assert numbers(0.5, "mean") == (0.5,) and numbers([1, 0.5], "mean") == (1.0, 0.5)
    for value in ("0.5", None, ["a"], {"r": 1}, [True], 10**400, [1e999], float("nan")):
        with pytest.raises(DialectError, match=r"mean = .* is not a list of numbers"):
            numbers(value, "mean")
