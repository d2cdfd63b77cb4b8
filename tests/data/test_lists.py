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
from mobilenetv2.data.lists import is_list, listed_photos
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
    assert [*collect(f"@{named}")] == [ball[0], ball[1], photos / "gone.jpg", *box]
    assert list(collect(f"@{named}", ["box"]))[3:] == box
    assert list(collect(f"@{named}", ["00.*"]))[3:] == box[1:]
    named.unlink()
    elsewhere = tmp_path / "list.txt"
    elsewhere.write_text("ball/00.png\n")
    monkeypatch.chdir(photos)  # as `find ball > .../list.txt` names them
    assert [*listed_photos(f"@{elsewhere}")] == [Path("ball/00.png")]


def test_names_that_end_with_a_nul_may_hold_any_other_byte(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"a\nb \xe9.png")
    (tmp_path / "list").write_bytes(os.fsencode(odd) + b"\0" + b"b.png\0")
    assert [*listed_photos(f"@{tmp_path}/list")] == [odd, tmp_path / "b.png"]


def test_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch, ball: list[Path]) -> None:
    given = io.BytesIO("\n".join(map(str, ball)).encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    assert [*collect("@-")] == ball


def test_a_table_is_a_list_whether_labelled_or_not(ball: list[Path], photos: Path) -> None:
    table = photos / "test.csv"
    table.write_text("id,width\n00,40\n01,40\ngone,40\n00,40\n")
    with pytest.raises(DataError, match="no such photo"):
        collect(["missing.png", table])
    assert [*collect(table)] == [*listed_photos(table)]
    found = [*listed_photos(str(table))]
    # 00 is a photo of every class, so that no single one is meant.
    assert found == [photos / "00", photos / "01", photos / "gone"]
    table.write_text("file,label\nball/00.png,x\nball/01,x\n")
    assert [*listed_photos(table)] == ball[:2]
    table.write_text("width\n1\n")
    with pytest.raises(DataError, match=r"test\.csv: no column is called as one of photos"):
        collect(table)


def test_what_is_no_list(ball: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("@home.png").write_bytes(ball[0].read_bytes())
    assert [*collect("@home.png")] == [Path("@home.png")]
    for name in ("@home.png", "a.jpg", "@", tmp_path, "gone.csv"):
        assert not is_list(name)


def test_lists_that_say_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: no such list of photos"):
        [*listed_photos("@gone.txt")]
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


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_list_of_powershell(ball: list[Path], photos: Path, encoding: str) -> None:
    named = photos / "list.txt"
    named.write_bytes("\ufeffball/00.png\r\n\r\nball/01.jpg\r\n".encode(encoding))
    assert [*collect(f"@{named}")] == ball[:2]
    for data in (b"\xff\xfea", "\ufeff\ud800\ud800".encode("utf-16-le", "surrogatepass")):
        named.write_bytes(data)
        with pytest.raises(DataError, match=r"list\.txt: neither UTF-8 nor UTF-16"):
            collect(f"@{named}")
    named.write_bytes("\ufeffa\0b".encode(encoding))
    with pytest.raises(DataError, match=r"list\.txt: a name in the list holds a NUL"):
        collect(f"@{named}")


def test_no_list_names_the_whole_disk(photos: Path) -> None:
    (photos / "list.txt").write_bytes("ball/00.png\r\n".encode("utf-16-le"))  # without its mark
    for name in (f"@{photos}/list.txt", photos.anchor, iter([photos.anchor])):
        with pytest.raises(DataError, match="the folder around everything on this disk"):
            list(collect(name))


def test_a_folder_in_a_list_is_read_as_one_by_itself(
    ball: list[Path], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "ball" / ".hidden.png").write_bytes(b"")
    (photos / "empty").mkdir()
    (photos / "list.txt").write_text("ball\nempty\n")
    assert [*collect(f"@{photos}/list.txt")] == [*ball, photos / "empty"]
    assert "(first: .hidden.png)" in capsys.readouterr().err
    for name in ("config.json", "model.safetensors"):
        (photos / "empty" / name).touch()
    with pytest.raises(DataError, match="a model folder, not photos"):
        list(collect(f"@{photos}/list.txt"))


class Chunks(io.RawIOBase):
    """Stream of pieces, of which None says that nothing is there yet."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces, self.read_ones = [*pieces], 0

    def read(self, size: int = -1) -> bytes | None:
        self.read_ones += 1
        return self.pieces.pop(0) if self.pieces else b""


def test_a_stream_that_does_not_wait_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Chunks(None, b"a.j", None, b"pg\nb.jpg")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(raw=stream)))
    assert [*listed_photos("@-")] == [Path("a.jpg"), Path("b.jpg")]


def test_an_endless_list_in_utf_16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_BYTES", 1000)
    stream = Chunks("a".encode("utf-16"), *[b"a\0" * 100] * 500)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(raw=stream)))
    with pytest.raises(DataError, match="more bytes than the limit"):
        [*listed_photos("@-")]
    assert stream.read_ones < 10
