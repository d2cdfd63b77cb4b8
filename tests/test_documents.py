"""JSON and TOML of others: read as they are, or refused within bounds of time and memory."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.documents import (
    DEEPEST,
    LONGEST_KEY,
    LONGEST_NUMBER,
    MOST_POINTS,
    MOST_VALUES,
    parse_json,
    parse_table,
    parse_toml,
    read_json,
    read_table,
    read_toml,
)
from mobilenetv2.errors import SpecError


def json_of(text: str | bytes, **options: Any) -> Any:
    return parse_json(text, "x.json", SpecError, **options)


def toml_of(text: str | bytes) -> Any:
    return parse_toml(text, "x.toml", SpecError)


def test_what_json_says_is_read() -> None:
    text = ' {"a": [1, -2.5, 1e3, true, null, "\\u00fc"], "": {}} '
    expected = {"a": [1, -2.5, 1000.0, True, None, "ü"], "": {}}
    assert json_of(text) == json_of(text.encode()) == expected
    assert json_of(b"\xef\xbb\xbf3") == 3
    assert json_of('{"class_name": 1}', hook=lambda table: list(table)) == ["class_name"]


def test_what_toml_says_is_read() -> None:
    assert toml_of("a.b = 0x1f\n[c]\nd = [1.5, 'x']") == {"a": {"b": 31}, "c": {"d": [1.5, "x"]}}
    assert toml_of(b"\xef\xbb\xbfa = 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "line 1"),
        ("1 2", "Extra data"),
        (b"\xff\xfe", "can't decode"),
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' occurs twice"),
        ("[NaN]", "NaN is no number in JSON"),
        ("-Infinity", "-Infinity is no number"),
        ("1e999", "1e999 is too large"),
        ("9" * (LONGEST_NUMBER + 1), "a whole number of 1,001 digits"),
        ("9" * 100_000, "a whole number of 100,000 digits"),
        ('{"%s": 1}' % ("k" * (LONGEST_KEY + 1)), "a key of 1,025 characters"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested more than 100 deep"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested more than 100 deep"),
        ("[" * 500_000, "nested more than 100 deep"),
        ("[" + "0," * MOST_VALUES + "0]", "more than 1,000,000 values"),
        ("[" * 16_000_000, "more than 1,000,000 values"),
        ('"' + "a" * 17_000_000 + '"', "larger than 16,777,216 bytes"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_json_beyond_a_bound_is_refused_in_one_sentence(text: str | bytes, reason: str) -> None:
    with pytest.raises(SpecError, match=f"^x.json: not JSON .*{reason}") as caught:
        json_of(text)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_what_lies_at_the_bounds_is_read() -> None:
    assert json_of("[" * DEEPEST + "]" * DEEPEST)
    key, digits = "k" * LONGEST_KEY, "9" * LONGEST_NUMBER
    assert json_of(f'{{"{key}": {digits}}}') == {key: int(digits)}
    assert len(json_of("[" + "0," * (MOST_VALUES - 2) + "0]")) == MOST_VALUES - 1


def test_numbers_that_are_none_are_read_where_the_writer_has_them() -> None:
    found = json_of("[NaN, -Infinity, 1e999]", constants=True)
    assert str(found) == "[nan, -inf, inf]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = ", "Invalid value"),
        ("a = 1\na = 2", "Cannot overwrite"),
        (b"\xff", "can't decode"),
        ("a = " + "[" * 100_000, "nested more than 100 deep"),
        ("a = " + "[" * 120 + "]" * 120, "nested more than 100 deep"),
        ("a = " + "{b = " * 50_000, "nested more than 100 deep"),
        (".".join("a" * 120) + " = 1", "nested more than 100 deep"),
        (".".join("a" * (MOST_POINTS + 2)) + " = 1", "more than 1,000 points"),
        ("a = 0x" + "f" * 200_000, "a whole number of 800,000 bits"),
        ("a = [0x" + "f" * 200_000 + "]", "a whole number of 800,000 bits"),
        ('"' + "k" * 2000 + '" = 1', "a key of 2,000 characters"),
        ("#" * 300_000, "larger than 262,144 bytes"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_toml_beyond_a_bound_is_refused_in_one_sentence(text: str | bytes, reason: str) -> None:
    with pytest.raises(SpecError, match=f"^x.toml: not a valid TOML file .*{reason}") as caught:
        toml_of(text)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_memory_that_does_not_suffice_is_an_error_of_the_callers_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(json, "loads", none_left)
    with pytest.raises(SpecError, match=r"x\.json: not JSON \(too large for the memory\)"):
        json_of("{}")


def test_a_table_is_a_table(tmp_path: Path) -> None:
    assert parse_table('{"a": 1}', "x", SpecError) == {"a": 1}
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(SpecError, match=r"a\.json: not a JSON object"):
        read_table(tmp_path / "a.json", SpecError)
    with pytest.raises(SpecError, match="x: not a JSON object"):
        parse_table("null", "x", SpecError)


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_a_file_is_bounded_before_it_is_read(read: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # of no bytes on the disk
    with pytest.raises(SpecError, match=f"^{path}: larger than [0-9,]+ bytes"):
        read(path, SpecError)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing", SpecError)
    with pytest.raises(IsADirectoryError):
        read(tmp_path, SpecError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OSError, match="is a pipe, not a regular file"):
        read_json(tmp_path / "pipe.json", SpecError)
