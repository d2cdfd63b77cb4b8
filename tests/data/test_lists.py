"""Lists of photos: in a file, on standard input, in a table."""

import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mobilenetv2.data import lists
from mobilenetv2.data.lists import listed_photos
from mobilenetv2.data.photos import collect
from mobilenetv2.errors import DataError


@pytest.fixture
def photos(photos: Path, tmp_path: Path) -> Path:
    """A copy, in which lists may lie."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


@pytest.fixture
def ball(photos: Path) -> list[Path]:
    return sorted((photos / "ball").iterdir())


def test_a_list_has_a_path_a_line_relative_to_itself(
    ball: list[Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = photos / "list.txt"
    lines = ["\ufeffball/00.png", "", str(ball[1]), "  ", "gone.jpg", "box"]
    named.write_bytes("\r\n".join(lines).encode())
    box = sorted((photos / "box").iterdir())
    assert listed_photos(f"@{named}") == [ball[0], ball[1], photos / "gone.jpg", *box]
    named.unlink()
    elsewhere = tmp_path / "list.txt"
    elsewhere.write_text("ball/00.png\n")
    monkeypatch.chdir(photos)  # as `find ball > .../list.txt` names them
    assert listed_photos(f"@{elsewhere}") == [Path("ball/00.png")]


def test_names_that_end_with_a_nul_may_hold_any_other_byte(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"a\nb \xe9.png")
    (tmp_path / "list").write_bytes(os.fsencode(odd) + b"\0" + b"b.png\0")
    assert listed_photos(f"@{tmp_path}/list") == [odd, tmp_path / "b.png"]


def test_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch, ball: list[Path]) -> None:
    given = io.BytesIO("\n".join(map(str, ball)).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    assert collect("@-") == ball


def test_a_table_is_a_list_whether_labelled_or_not(ball: list[Path], photos: Path) -> None:
    table = photos / "test.csv"
    table.write_text("id,width\n00,40\n01,40\ngone,40\n00,40\n")
    with pytest.raises(DataError, match="no such photo"):
        collect(["missing.png", table])
    assert collect(table) == listed_photos(table)
    found = listed_photos(str(table))
    # 00 is a photo of every class, so that no single one is meant.
    assert found == [photos / "00", photos / "01", photos / "gone"]
    table.write_text("file,label\nball/00.png,x\nball/01,x\n")
    assert listed_photos(table) == ball[:2]
    table.write_text("width\n1\n")
    with pytest.raises(DataError, match=r"test\.csv: no column is called as one of photos"):
        collect(table)


def test_what_is_no_list(ball: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("@home.png").write_bytes(ball[0].read_bytes())
    assert listed_photos("@home.png") is None and collect("@home.png") == [Path("@home.png")]
    assert [listed_photos(name) for name in ("a.jpg", "@", tmp_path, "gone.csv")] == [None] * 4


def test_lists_that_say_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: no such list of photos"):
        listed_photos("@gone.txt")
    named = tmp_path / "list.txt"
    named.write_text("\n \n")
    with pytest.raises(DataError, match=r"list\.txt: the list names no photo; write one path a"):
        collect(f"@{named}")
    monkeypatch.setattr(lists, "MOST_BYTES", 2)
    with pytest.raises(DataError, match="more bytes than the limit of 2"):
        collect(f"@{named}")


def test_an_iterators_lists_come_in_their_turn(ball: list[Path], tmp_path: Path) -> None:
    named = tmp_path / "list.txt"
    named.write_text("\n".join(map(str, ball[:2])))

    def come() -> Iterator[str]:
        yield str(ball[3])
        yield f"@{named}"

    assert list(collect(come())) == [ball[3], *ball[:2]]
