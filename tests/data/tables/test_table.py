"""Tables: delimiters, quotes, encodings, JSON Lines, Parquet, and what is refused."""

import base64
import csv
import importlib.util
import io
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.tables import table as tables
from mobilenetv2.data.tables.table import parse, unpacked_parquet
from mobilenetv2.errors import DataError, MissingExtra

ROWS = [("a b.jpg", "hat, small"), ("b.jpg", 'a "good" one'), ("ü.jpg", "鞋")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_delimiter_encoding_and_line_end(delimiter: str, encoding: str, end: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([("file", "label"), *ROWS])
    table = parse(file.getvalue().encode(encoding), "t.csv")
    assert table.columns == ("file", "label") and table.rows == ROWS and table.notes == ()


def test_what_spreadsheets_leave() -> None:
    data = b"sep=;\r\nfilename;label;;\r\n a.jpg ;Hut;;\r\n;;;\r\nb.jpg;Schuh;;\r\n\r\n"
    table = parse(data, "t.csv")
    assert table.columns == ("filename", "label")
    assert table.rows == [("a.jpg", "Hut"), ("b.jpg", "Schuh")]


def test_an_older_encoding_is_read_and_noted() -> None:
    table = parse("file,label\na.jpg,Mütze\n".encode("cp1252"), "t.csv")
    assert table.rows == [("a.jpg", "Mütze")]
    (note,) = table.notes
    assert "not UTF-8" in note and "Windows-1252" in note


def test_json_lines() -> None:
    lines = [
        {"file_name": "a.jpg", "label": 3},
        {"file_name": "b.jpg", "tags": ["x", 1], "label": None},
        {"file_name": "c.jpg", "label": 2.0, "extra": True},
    ]
    data = "\n\n".join(map(json.dumps, lines)).encode()
    table = parse(data, "metadata.jsonl")
    assert table.columns == ("file_name", "label", "tags", "extra")
    assert table.rows == [
        ("a.jpg", "3", "", ""), ("b.jpg", "", ("x", "1"), ""), ("c.jpg", "2", "", "True")
    ]  # fmt: skip


def parquet(columns: dict[str, Any]) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    file = io.BytesIO()
    __import__("pyarrow.parquet").parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def test_parquet() -> None:
    data = parquet({"path": ["a.jpg", "b.jpg"], "label": [0, None], "tags": [["x"], []]})
    table = parse(data, "t.parquet")
    assert table.columns == ("path", "label", "tags")
    assert table.rows == [("a.jpg", "0", ("x",)), ("b.jpg", "", ())]


def test_parquet_with_the_photos_inside_is_named_as_such() -> None:
    for column in ([{"bytes": b"\xff\xd8", "path": "a"}], [b"\xff\xd8"]):
        with pytest.raises(DataError, match=r"t\.parquet: its column 'image' holds the photos"):
            parse(parquet({"image": column, "label": [1]}), "t.parquet")


CRASHING = (
    (
        "c-oay!EVz)5FI;?<w!wtEY|XZE9KByR85m6qEQv4g-"
        "J;wN(yz9wjvkgM6R34iA@sP{s1?`fkXd*f8fL!5Jx_MGbcWQT{}sO%7r=Xj%R1ydo#N}z;=;H<U@jd5n4nepaF"
        "apIvD^6PlIVNDfArQFKpz)k*8G%+%4wMLf6|_11Je=pf0UR!DZ@Eeihh$XQ#3X$!#EX+nkOE&dBrKR87$VGFOD"
        "A-U8XX2Wp995g=KzoMVhCk%?@U;Q^Tu&MOO1qLI0!Bg56HRgtZlASKmO=UibvYoolh)nahGiThcJ#duLdP#y-"
        "CJY$Z`$PHrtMXt=x42jo76zN<{AtoPx6d63NZh|3C`ls&DArg@EvS_4E2EO}h<P6;vXqj9^dPOvnzSDF4Swz>U"
        "NplvMBuzI#R_To*BI=s{L(<<TtlxsA{O=fOjx`O0i38S(2vz-?NM&mA0l-"
        "bhSWv|FNzgwF)~|$hmH2n#w?VrLO#Pj#YnGyamw=i^8r$s`$CY>@#!sQZt&H4kjO`iX1=c)lAbPm#MX_29ai2T"
        "8h)<)y^^UO{d(ry*jDc=3r{1VX!3d;|3p?b&$;;zCzsEoKJ3QaUn$7W>h<$uA16vf?hxVN5S}N1S-"
        "DWrJHIGhu!^X60$LI4>FtVXDe*MOsuJ^-m-5HOAi|n~Oo(zIfwp7k<<cl=NuAJX`fxVpr_H+FKwiLel"
    ),
    (
        "c-oay!EVz)5FI;?<w!wtEY|WCBjrFXs-#I1wNVwNg-"
        "J;wN(yz9wjvkgM6R34iA@sP{s1?`fkXd*f8fL!5Jx_MGbcWQT{~%u%7r=Xj^FOQ_hxs!kDU^c$cF^^BD9G{Km+"
        "(HbTa@Do&>XCTI@T%UtBAMV^6CRxLYcmhOW1r11JkQQ19oY;3D;?umWtpvt3<*<Q5RRWzHr;XYBcIs;=k&nM*="
        "bZ-MMCfm-HV1W1-V$TLNi$V4_P@Q};}7nQ|mqmjAgBg5UPHIa>)ASKmu_e^0qYokIo+l-"
        "DkaW5+|j29&YWj(myI~L4L+#u#(;>u#pka$fbk<P~wV)F4vk<ruI1{m^maN>>}A~9fDG*ZVy-"
        "+eW9M(#4SP3|Ji(4_D5U4M?~8Z~L&0+Xca2FNPCQA9*t(|<_%`-"
        "Jsdu$2Ej2AXG017YTXwIV`I|0YtITKoXurebU;Qu`$6p9Skz!n#cSyYbtky@<2SdwD18nx*L9C7`B}#!lzOQ8h"
        "jh<EK#MQ9&Ly#_<gC9P1u75k1`TBCK9V+~dg(;?oGYo-"
        "t12EE=DmGSW?!G@6YFj7S=I6$c!gzC7CX`}}jS%lF$@w>f_caez<eWLHJ@fxS?=w#xkQwABmyt;6H~s5$G|@%o"
        "|^jBMykUcYf?tAj9HbtaSGJbUI&ro&*IEmsO_g%ZuPE9bXfWN&Am{ak+lxj?@Q"
    ),
)
"""Small tables that end pyarrow 26.0.1, and its process, by an exception in C++.

They are mutations 127 and 993 of the Parquet table in ``benchmarks/fuzz_archives.py``, by zlib in
base 85.
"""


@pytest.mark.parametrize("packed", CRASHING, ids=["histogram", "statistics"])
def test_a_table_that_ends_its_library_is_an_error_of_ours(packed: str) -> None:
    pytest.importorskip("pyarrow")
    data = zlib.decompress(base64.b85decode(packed))
    with pytest.raises(DataError, match=r"^t\.parquet: damaged Parquet file \(.*write it again$"):
        parse(data, "t.parquet")


def test_damaged_parquet_is_refused() -> None:
    data = parquet({"path": ["a.jpg"] * 300, "label": list(range(300))})
    for broken in (data[:-9], data[: len(data) // 2], data[:4] + bytes(40) + data[44:], b"PAR1"):
        with pytest.raises(DataError, match=r"^t\.parquet: "):
            parse(broken, "t.parquet")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"", "the table is empty"),
        ("t.csv", b"file,label\n", "no rows"),
        ("t.csv", b"file,label\na.jpg,hat\nb.jpg,hat,red\n", "line 3 has 3 cells"),
        ("t.csv", b"file,label,label\na,b,c\n", "several columns are called label"),
        ("t.csv", b"PK\3\4\0\0\0", "no table or is damaged"),
        ("t.csv", b'file,label\n"a.jpg,hat\n' + b"x" * 200_000, "line"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("t.jsonl", b"[1, 2]\n", "line 1 is no object"),
        ("t.jsonl", b'{"a": ' + b"[" * 100_000, "line 1: not JSON"),
    ],
    ids=str,
)
def test_what_is_no_table_is_refused_by_name(name: str, data: bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(data, name)
    assert str(caught.value).startswith(f"{name}: ") and words in str(caught.value)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"file,label\n" + b"a.jpg,hat\n" * 5
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    with pytest.raises(DataError, match="more rows than the limit of 4"):
        parse(data, "t.csv")
    monkeypatch.setattr(tables, "MOST_BYTES", 20)
    with pytest.raises(DataError, match="61 bytes are more than the limit of 20"):
        parse(data, "t.csv")


def test_few_bytes_do_not_become_many_cells() -> None:
    data = b"".join(b'{"c%d": 1}\n' % number for number in range(6_000))
    with pytest.raises(DataError, match=r"t\.jsonl: .* more cells than the limit of 20,000,000"):
        parse(data, "t.jsonl")
    one = parse(b'{"path": ["a", [["b"]]]}', "t.jsonl")
    assert one.rows == [(("a", "[['b']]"),)]
    deep = b'{"path": ' + b"[" * 90 + b'"a\'"' + b"]" * 90 + b"}"
    assert len(str(parse(deep, "t.jsonl").rows)) < 2_000  # not twice as long at each depth


def test_parquet_is_bounded_by_what_it_unpacks_to(monkeypatch: pytest.MonkeyPatch) -> None:
    long = parquet({"path": ["a" * 9_000] * 3_000, "label": ["b"] * 3_000})
    lists = parquet({"path": ["a"] * 9, "tags": [["x" * 9_000] * 300] * 9})
    monkeypatch.setattr(tables, "MOST_BYTES", 20_000_000)
    for data in (long, lists):
        assert len(data) < 30_000
        with pytest.raises(DataError, match=r"unpacked, it has [0-9,]+ bytes or more"):
            unpacked_parquet(data, "t.parquet")
    monkeypatch.setattr(tables, "MOST_CELLS", 100)
    for columns in ({"path": ["a"] * 60, "n": [1] * 60}, {"path": ["a"], "tags": [["x"] * 101]}):
        with pytest.raises(DataError, match="than the limit of 100"):
            unpacked_parquet(parquet(columns), "t.parquet")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.jsonl", b'{"file": "a.jpg", "label": "h\\u0000at"}'),
        ("t.jsonl", b'{"file": "a.jpg", "label": ["h\\ud800at"]}'),
        ("t.jsonl", b'{"file": "a.jpg", "l\\ud800": "hat"}'),
        ("t.csv", "file,label\na.jpg,h\0at\n".encode("utf-16")),
    ],
    ids=["nul", "half", "column", "csv"],
)
def test_characters_that_no_file_holds_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(DataError, match="a character that no text has") as caught:
        parse(data, name)
    str(caught.value).encode()


def test_a_cell_has_a_limit() -> None:
    with pytest.raises(DataError, match="longer than the limit of 131,072"):
        parse(b'{"file": "%s"}' % (b"a" * 140_000), "t.jsonl")


cells = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=6)
grids = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=2, max_size=6)
)


@settings(max_examples=300, deadline=None)
@given(grids, st.sampled_from(",;\t"))
def test_any_table_that_is_quoted_comes_back(grid: list[list[str]], delimiter: str) -> None:
    grid = [[f"c{index}" for index in range(len(grid[0]))], *grid]
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(grid)
    table = parse(file.getvalue().encode(), "t.csv")
    assert [list(table.columns), *map(list, table.rows)] == grid


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["t.csv", "t.tsv", "t.jsonl"]))
def test_any_bytes_are_a_table_or_refused_by_name(data: bytes, name: str) -> None:
    try:
        table = parse(data, name)
    except DataError as error:
        assert str(error).startswith(f"{name}: ")
    except MissingExtra:  # Parquet by its first bytes, whatever its name is
        assert data[:4] == b"PAR1" and not importlib.util.find_spec("pyarrow")
    else:
        assert all(len(row) == len(table.columns) for row in table.rows)
