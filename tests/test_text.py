import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert text.visible("\ud800x") == r"\ud800x" and text.visible("猫 é\u00ad") == "猫 é\u00ad"


HOSTILE = [
    *map(chr, (*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2060, 0x2070))),
    *"\u061c\u180e\u200b\u200c\u200d\u200e\u200f\ufeff\ufff9\U000e0001\U000e0041",
]


@pytest.mark.parametrize("letter", HOSTILE, ids=lambda letter: f"U+{ord(letter):04X}")
def test_a_line_has_only_characters_that_are_seen(letter: str) -> None:
    assert text.line(f"a{letter}b") == text.message(f"a{letter}b") == "a\ufffdb"
    assert letter in "\n\t" or text.visible(f"a{letter}b") == "a\ufffdb"
    shown = text.json_text({letter: letter}, ensure_ascii=False)
    assert letter not in shown and json.loads(shown) == {letter: letter}


def test_joiners_stay_where_letters_need_them() -> None:
    persian, family = "می\u200cشود", "👩\u200d👧"
    assert text.line(persian) == persian and text.line(family) == family


def test_long_names_are_cut_in_the_middle_and_the_ends_of_the_sentence_stay() -> None:
    path = "/".join(["f" * 255] * 15)
    said = text.line(f"{path}: the operator '{'o' * 10**6}' is unknown; give another")
    assert said.startswith(f"{path}: the operator 'ooo") and said.endswith(
        "' is unknown; give another"
    )
    assert len(said) < len(path) + 400 and said.count("…") == 1
    for name in ("a/" * 10**6, "a " * 10**6, "\x1b" * 10**6):
        said = text.line(f"x: {name!r} is unknown")
        assert len(said) <= text.LONGEST_LINE and said.endswith("is unknown")


def test_only_a_table_of_tensors_follows_the_sentence() -> None:
    said = text.message("a: differs\n- stem\n+ x\nmobilenetv2: error: b\n! y\n... and 3 more")
    assert said.split("\n") == [
        "a: differs", "- stem", "+ x\ufffdmobilenetv2: error: b", "! y", "... and 3 more",
    ]  # fmt: skip
    assert text.message("x" + "\n- y" * 10**5).count("\n") == text.MOST_TABLE_LINES


CELLS = st.one_of(
    st.text(st.sampled_from("'=+-@\t\r\n\uff1da,\"\\x"), max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_cells_come_back_from_csv_and_none_is_a_formula(rows: list[tuple[str, str]]) -> None:
    written = text.csv_text(("split", "photo"), rows)
    assert [tuple(row.values()) for row in text.csv_records(written)] == rows
    for row in csv.reader(io.StringIO(written, newline="")):
        assert not any(cell.startswith(tuple("=+-@\t\r\n\uff0b\uff0d\uff1d\uff20")) for cell in row)


def test_numbers_of_csv_stay_numbers_and_its_text_can_be_encoded() -> None:
    written = text.csv_text(("a", "b"), [(-1.5, "-1.5"), ("=\udcff", 2)])
    assert written == "a,b\n-1.5,'-1.5\n'=\\xff,2\n"
    assert [*text.csv_records("a,b\n1\n\n")] == [{"a": "1"}]


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
        (rb"\ud83d.jpg", r"\x5cud83d.jpg"),
    ],
    ids=[
        "plain",
        "letters",
        "bytes",
        "as if escaped",
        "as if twice",
        "backslashes",
        "both",
        "as a half",
    ],
)
def test_a_name_that_is_no_text_is_escaped_and_read_back(name: bytes, written: str) -> None:
    given = name.decode("utf-8", "surrogateescape")
    assert text.escaped(given) == written
    assert text.unescaped(written) == given


@given(st.text(st.sampled_from("\\xu5cde9f8a\ud83d\udcff\udc80é"), max_size=12))
def test_every_name_is_read_back(name: str) -> None:
    try:
        given_name = os.fsdecode(os.fsencode(name))
    except UnicodeEncodeError:  # half of a pair, as on Windows
        given_name = name
    text.escaped(given_name).encode("utf-8")
    assert text.unescaped(text.escaped(given_name)) == given_name


@pytest.mark.skipif(os.name == "nt", reason="Windows' names are text")
def test_names_are_the_same_letters_in_the_c_locale(tmp_path: Path) -> None:
    name = "\u6f22 e\u0301 \U0001f600 \udce9 \\xe9"
    (tmp_path / name).write_text("found")
    program = (
        "import os, sys\n"
        "from mobilenetv2.text import escaped, unescaped\n"
        "(name,) = os.listdir(sys.argv[1])\n"
        "print(ascii(escaped(name)), unescaped(escaped(name)) == name, sys.getfilesystemencoding())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.stdout == f"{text.escaped(name)!a} True ascii\n"


def test_json_has_neither_nan_nor_infinity() -> None:
    given = {"a": [1.5, math.nan, {"b": (math.inf, "NaN", None, 2)}]}
    assert text.json_text(given) == '{"a": [1.5, null, {"b": [null, "NaN", null, 2]}]}'
    assert text.json_text({"é": -math.inf}, ensure_ascii=False, indent=1) == '{\n "é": null\n}'


@pytest.mark.parametrize("ascii_only", [False, True])
def test_names_in_json_have_one_escape(ascii_only: bool) -> None:
    written = text.json_text({"\udce9": ["caf\udce9", ("\ud83d",)]}, ensure_ascii=ascii_only)
    assert json.loads(written) == {r"\xe9": [r"caf\xe9", [r"\ud83d"]]}
