"""Records from foreign mappings: everything that is not right is named with its place."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import RecipeError, SpecError
from mobilenetv2.spec.mapping import (
    STORED_IF_SET,
    from_mapping,
    short_repr,
    suggestion,
    to_mapping,
)
from mobilenetv2.spec.network import NetworkSpec


@dataclass(frozen=True)
class Inner:
    number: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    ratio: float = 0.5
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] | None = None
    many: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=Inner)
    table: dict[str, float] = field(default_factory=dict)
    flag: bool = False


def test_one_number_is_a_pair_of_it() -> None:
    assert from_mapping(Outer, {"name": "x", "pair": 3}, "here").pair == (3, 3)


def test_a_record_comes_back_equal() -> None:
    record = Outer("x", 2.0, "b", (1, 2), (Inner(3), Inner(4)), Inner(5), {"k": 1.0}, True)
    assert from_mapping(Outer, to_mapping(record), "here") == record


@dataclass(frozen=True)
class Grown:
    old: int = 1
    new: str = field(default="plain", metadata=STORED_IF_SET)


def test_a_field_that_is_stored_if_it_is_set_leaves_older_files_as_they_are() -> None:
    assert to_mapping(Grown(2)) == {"old": 2}
    assert from_mapping(Grown, {"old": 2}, "here") == Grown(2)
    assert to_mapping(Grown(2, "other")) == {"old": 2, "new": "other"}
    assert from_mapping(Grown, {"old": 2, "new": "other"}, "here") == Grown(2, "other")
    assert from_mapping(Grown, {"new": "plain"}, "here") == Grown()
    with pytest.raises(SpecError, match="new: expected a text, found 1"):
        from_mapping(Grown, {"new": 1}, "here")


def test_whole_numbers_serve_as_numbers_and_absent_keys_keep_their_defaults() -> None:
    assert from_mapping(Outer, {"name": "x", "ratio": 2}, "here") == Outer("x", 2.0)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "here: the key 'name' is missing"),
        ({"name": 1}, "here, name: expected a text, found 1"),
        ({"name": "x", "ratio": "much"}, "here, ratio: expected a number, found 'much'"),
        ({"name": "x", "ratio": True}, "here, ratio: expected a number, found True"),
        ({"name": "x", "kind": "c"}, "here, kind: expected one of 'a', 'b', found 'c'"),
        ({"name": "x", "pair": [1]}, "here, pair: expected 2 values, found 1"),
        ({"name": "x", "inner": {"number": True}}, "number: expected a whole number, found True"),
        ({"name": "x", "pair": "3"}, "here, pair: expected a list, found '3'"),
        ({"name": "x", "many": [{"number": 1.5}]}, r"many\[0\], number: expected a whole number"),
        ({"name": "x", "inner": []}, "inner: expected a table of Inner"),
        ({"name": "x", "table": {"k": "v"}}, "here, table, k: expected a number"),
        ({"name": "x", "table": 1}, "here, table: expected a table, found 1"),
        ({"name": "x", "flag": 1}, "here, flag: expected true or false, found 1"),
        ({"name": "x", "falg": True}, "unknown key 'falg'; did you mean 'flag'"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz'; known are: flag, inner"),
        ("text", "here: expected a table of Outer, found 'text'"),
    ],
)
def test_what_is_wrong_is_named(mapping: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_mapping(Outer, mapping, "here")


def test_the_error_is_of_the_kind_asked_for() -> None:
    with pytest.raises(RecipeError):
        from_mapping(Outer, {}, "here", RecipeError)


def test_a_word_that_is_like_none_is_met_with_all() -> None:
    assert suggestion("heigth", ["height", "width"]) == "did you mean 'height'?"
    assert suggestion("zzz", ["b", "a"]) == "known are: a, b"


RECORDS = st.builds(
    Outer,
    name=st.text(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["a", "b"]),
    pair=st.none() | st.tuples(st.integers(), st.integers()),
    many=st.lists(st.builds(Inner, st.integers())).map(tuple),
    inner=st.builds(Inner, st.integers()),
    table=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    flag=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(RECORDS)
def test_any_record_survives_json(record: Outer) -> None:
    assert from_mapping(Outer, json.loads(json.dumps(to_mapping(record))), "here") == record


@dataclass(frozen=True)
class Either:
    value: int | str | None = None
    record: Inner = field(default_factory=Inner)
    anything: Any = None


def test_one_of_several_types_is_taken_and_the_last_one_reports() -> None:
    for value in (1, "x", None):
        assert from_mapping(Either, {"value": value, "anything": [1]}, "here").value == value
    with pytest.raises(SpecError, match=r"here, value: expected a text, found 1\.5"):
        from_mapping(Either, {"value": 1.5}, "here")


def test_a_record_that_is_one_already_is_kept() -> None:
    inner = Inner(7)
    assert from_mapping(Either, {"record": inner}, "here").record is inner


def test_a_records_own_complaint_says_where() -> None:
    with pytest.raises(SpecError, match=r"^spec in config\.json: width 0\.0 must be above 0"):
        NetworkSpec.from_dict({"width": 0}, "spec in config.json")


def test_a_records_own_complaint_is_of_the_kind_asked_for() -> None:
    with pytest.raises(RecipeError):
        from_mapping(NetworkSpec, {"width": 0}, "here", RecipeError)


@dataclass(frozen=True)
class Shown:
    text: str = "usual"
    number: int = 3
    many: tuple[int, ...] = field(default_factory=tuple)


@pytest.mark.parametrize(
    ("record", "always", "shown", "expected"),
    [
        (Shown(), (), {}, "Shown()"),
        (Shown(), ("number",), {}, "Shown(number=3)"),
        (Shown(many=(1, 2)), (), {}, "Shown(many=(1, 2))"),
        (Shown("x" * 100), (), {}, f"Shown(text='{'x' * 60}'...)"),
        (Shown("y", 4), (), {"text": "<y>", "number": ""}, "Shown(text=<y>)"),
    ],
)
def test_a_short_repr_leaves_out_what_is_usual(
    record: Shown, always: tuple[str, ...], shown: dict[str, str], expected: str
) -> None:
    assert short_repr(record, *always, **shown) == expected


def test_names_that_are_near_are_suggested_though_they_are_not_listed() -> None:
    assert suggestion("mobilenet", ["paper"], near=["mobilenets"]) == "did you mean 'mobilenets'?"
    assert suggestion("other", ["paper", "keras"], near=["xyz"]) == "known are: keras, paper"
