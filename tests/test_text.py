import math
from types import SimpleNamespace

import pytest

from mobilenetv2 import text


def test_shares_and_intervals_are_percent() -> None:
    assert [text.percent(value) for value in (0.0228, 1.0, math.nan)] == ["2.3%", "100.0%", "-"]
    assert text.percent(0.926, 0) == "93%"
    assert text.interval((0.849, 0.9123)) == "84.9% to 91.2%"
    assert text.interval((0.0, 1.0), 0) == "0% to 100%"


def test_counts_have_their_nouns() -> None:
    assert [text.counted(n, "photo") for n in (1, 2, 3000)] == [
        "1 photo",
        "2 photos",
        "3,000 photos",
    ]
    assert [text.counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]


def test_a_few_names_stand_for_many() -> None:
    assert text.quoted(["a", "it's"]) == "'a', \"it's\""
    assert text.quoted(list("abcdef")) == "'a', 'b', 'c', 'd', 'e' ..."
    assert [text.listed("abcde"[:n], 3) for n in range(6)] == [
        "", "a", "a and b", "a, b and c", "a, b, c and 1 more", "a, b, c and 2 more",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 seconds"), (768, "12.8 minutes"), (11520, "3.2 hours")]
)
def test_times_are_in_words(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


def test_what_a_terminal_would_obey_is_replaced() -> None:
    assert text.visible("a\x1b[31m\x00b\n\tc") == "a\ufffd[31m\ufffdb\n\tc"
    assert text.visible("\udcffx") == r"\xffx"
    assert text.visible("\ud800x") == "?x" and text.visible("猫 é\u00ad") == "猫 é\u00ad"


def test_only_finite_numbers_are_numbers_of_json() -> None:
    values = (0.5, math.nan, math.inf, -math.inf)
    assert [text.finite(value) for value in values] == [0.5, None, None, None]


def test_fields_of_a_record_are_plain_for_json() -> None:
    record = SimpleNamespace(a=1.5, b=math.nan, c=(0.0, 1.0), d="x", e=3)
    assert text.plain(record, "a", "b", "c", "d") == {
        "a": 1.5,
        "b": None,
        "c": [0.0, 1.0],
        "d": "x",
    }


def test_the_nearest_name_of_a_mistyped_word() -> None:
    assert text.nearest("timmm", ["torchvision", "timm"]) == ["timm"]
    assert text.nearest("qqq", ["torchvision", "timm"]) == []


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"a.jpg", "a.jpg"),
        ("é/猫.jpg".encode(), "é/猫.jpg"),
        (b"\xe9t\xe9.jpg", r"\xe9t\xe9.jpg"),
        (rb"\xe9.jpg", r"\x5cxe9.jpg"),
        (rb"\x5cxe9", r"\x5cx5cxe9"),
        (rb"a\b\xE9\x", r"a\b\xE9\x"),
        (b"\\\xff\\xff", r"\\xff\x5cxff"),
    ],
    ids=["plain", "letters", "bytes", "as if escaped", "as if twice", "backslashes", "both"],
)
def test_a_name_that_is_no_text_is_escaped_and_read_back(name: bytes, written: str) -> None:
    given = name.decode("utf-8", "surrogateescape")
    assert text.escaped(given) == written
    assert text.unescaped(written) == given


def test_json_has_neither_nan_nor_infinity() -> None:
    given = {"a": [1.5, math.nan, {"b": (math.inf, "NaN", None, 2)}]}
    assert text.json_text(given) == '{"a": [1.5, null, {"b": [null, "NaN", null, 2]}]}'
    assert text.json_text({"é": -math.inf}, ensure_ascii=False, indent=1) == '{\n "é": null\n}'
