"""Archives: how they spell names, links, duplicates, passwords, kinds."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mobilenetv2.data import archives
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.opening import open_source
from mobilenetv2.data.passed_over import IN_ARCHIVE, LEADING_OUT, TOO_DEEP, TWICE
from mobilenetv2.errors import DataError

Pack = Callable[[str, Mapping[str, bytes]], Path]


class RawName(zipfile.ZipInfo):
    """A member whose name is any bytes, without the flag of UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("latin-1"), self.flag_bits & ~0x800


def zipped(path: Path, *names: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(RawName(name.decode("latin-1")), b"of " + name)
    return path


def files(place: Path, zip_encoding: str | None = None) -> list[str]:
    source = open_source(place, zip_encoding=zip_encoding)
    return [name for name in source.names() if not name.endswith("/")]


@pytest.mark.parametrize(
    ("raw", "encoding", "name"),
    [
        ("帽子/1.jpg".encode(), None, "帽子/1.jpg"),
        ("帽子/1.jpg".encode("gbk"), "gbk", "帽子/1.jpg"),
        ("帽子/1.jpg".encode("shift_jis"), "shift_jis", "帽子/1.jpg"),
        (b"caf\x82/1.jpg", None, "café/1.jpg"),
        (b"caf\xff\xff/1.jpg", "shift_jis", r"caf\xff\xff/1.jpg"),
    ],
    ids=["utf-8", "gbk", "shift_jis", "cp437", "in no encoding"],
)
def test_a_name_is_utf8_or_in_the_encoding_given_or_cp437(
    tmp_path: Path, raw: bytes, encoding: str | None, name: str
) -> None:
    place = zipped(tmp_path / "a.zip", raw)
    assert files(place, encoding) == [name]
    assert open_source(place, zip_encoding=encoding).read(name) == b"of " + raw


def test_a_name_that_is_marked_as_utf8_is_that(pack: Pack) -> None:
    place = pack("zip", {"帽子/1.jpg": b"1", "é/2.jpg": b"2"})
    assert files(place, "gbk") == ["é/2.jpg", "帽子/1.jpg"]


def test_an_unknown_encoding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="zip_encoding='klingon': no such encoding"):
        files(zipped(tmp_path / "a.zip", b"a/1.jpg"), "klingon")


def test_a_backslash_separates_folders(tmp_path: Path) -> None:
    place = zipped(
        tmp_path / "a.zip", b"D\\hat\\1.jpg", b"D\\shoes\\2.jpg", b"C:\\x\\3.jpg", b"e\\"
    )
    assert files(place) == ["D/hat/1.jpg", "D/shoes/2.jpg", "x/3.jpg"]
    assert "e/" in open_source(place).names()


def test_names_in_code_page_437_come_with_a_note(tmp_path: Path) -> None:
    source = open_source(zipped(tmp_path / "a.zip", b"caf\x82/1.jpg", "é/2.jpg".encode()))
    assert source.names()[:2] == ["café/1.jpg", "├⌐/2.jpg"]
    (note,) = source.notes
    assert "café/1.jpg" in note and "zip_encoding" in note
    assert open_source(zipped(tmp_path / "b.zip", b"a/1.jpg")).notes == []


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_in_a_tar_that_are_no_text_are_escaped_or_read_in_an_encoding(
    tmp_path: Path, kind: int
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", encoding="shift_jis", format=kind) as made:
        made.addfile(tarfile.TarInfo("帽子/1.jpg"))
    old = kind == tarfile.GNU_FORMAT  # the other format has names in UTF-8
    assert files(tmp_path / "a.tar") == [r"\x96X\x8eq/1.jpg" if old else "帽子/1.jpg"]
    assert files(tmp_path / "a.tar", "shift_jis") == ["帽子/1.jpg"]


def test_what_leads_out_or_stands_twice_or_is_too_deep_is_named(tmp_path: Path) -> None:
    deep = "/".join("d" * 70).encode() + b"/1.jpg"
    place = zipped(tmp_path / "a.zip", b"a/1.jpg", b"../2.jpg", b"a/../../3.jpg", deep, b"b/4.jpg")
    with zipfile.ZipFile(place, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/1.jpg", b"the last")
    source = open_source(place)
    assert files(place) == ["a/1.jpg", "b/4.jpg"] and source.read("a/1.jpg") == b"the last"
    assert source.passed.names[LEADING_OUT] == ["../2.jpg", "a/../../3.jpg"]
    assert source.passed.names[TWICE] == ["a/1.jpg"] and source.passed.count(TOO_DEEP) == 1
    assert len(source.passed.notes()) == 3


def member(
    name: str, kind: bytes = tarfile.REGTYPE, to: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, to, size
    return made


def test_links_in_a_tar_lead_to_its_own_files_only(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.addfile(member("a/1.jpg", size=3), io.BytesIO(b"one"))
        made.addfile(member("a/hard.jpg", tarfile.LNKTYPE, "a/1.jpg"))
        made.addfile(member("b/soft.jpg", tarfile.SYMTYPE, "../a/1.jpg"))
        made.addfile(member("b/out.jpg", tarfile.SYMTYPE, "../../a/1.jpg"))
        made.addfile(member("b/etc.jpg", tarfile.SYMTYPE, "/etc/passwd"))
        made.addfile(member("c", tarfile.SYMTYPE, "a"))
    source = open_source(tmp_path / "a.tar")
    assert files(tmp_path / "a.tar") == ["a/1.jpg", "a/hard.jpg", "b/soft.jpg"]
    assert source.read("b/soft.jpg") == source.read("a/hard.jpg") == b"one"
    assert source.passed.names == {IN_ARCHIVE: ["b/out.jpg", "b/etc.jpg", "c"]}


def test_a_link_in_a_zip_is_not_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("a/1.jpg", b"1")
        link = zipfile.ZipInfo("a/link.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        made.writestr(link, "/etc/passwd")
    assert files(tmp_path / "a.zip") == ["a/1.jpg"]
    assert open_source(tmp_path / "a.zip").passed.names == {IN_ARCHIVE: ["a/link.jpg"]}


@pytest.mark.parametrize("suffix", ["tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst", "TAR.GZ"])
def test_a_compressed_tar_is_read_as_an_uncompressed_one(pack: Pack, suffix: str) -> None:
    names = {
        "train/a/1.jpg": b"1",
        "train/b/2.jpg": b"22",
        "test/a/3.jpg": b"",
        "test/b/4.jpg": b"4",
    }
    plain = pack("tar", names)
    packed = plain.with_name(f"photos.{suffix}")
    kind = suffix.lower().rpartition(".")[2]
    ways: dict[str, Callable[[bytes], bytes]] = {"bz2": bz2.compress, "xz": lzma.compress}
    compress = ways.get(kind, gzip.compress)
    if kind == "zst":
        compress = pytest.importorskip("zstandard").ZstdCompressor().compress
    packed.write_bytes(compress(plain.read_bytes()))
    source = open_source(packed)
    assert source.names() == open_source(plain).names()
    assert {name: source.read(name) for name in names} == names
    assert list(open_dataset(packed).splits) == ["train", "test"]


def test_a_compressed_file_that_holds_no_tar_is_named(tmp_path: Path) -> None:
    for data in (b"x" * 2000, b""):
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
        with pytest.raises(DataError, match=r"a\.tar\.gz: a damaged tar archive"):
            open_source(tmp_path / "a.tar.gz")


def header(name: str, size: int) -> bytes:
    """A member's header with any size, also a negative one, as tarfile writes it."""
    made = tarfile.TarInfo(name)
    data = bytearray(made.tobuf(tarfile.USTAR_FORMAT))
    data[124:136] = (b"\xff" * 4 + size.to_bytes(8, "big", signed=True)) if size < 0 else (
        f"{size:011o}\0".encode()
    )  # fmt: skip
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data):06o}\0 ".encode()
    return bytes(data)


@pytest.mark.parametrize("size", [-1, -512, -633, -1024, -(2**40)])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_size_that_leads_back_ends_the_reading(tmp_path: Path, size: int, suffix: str) -> None:
    data = header("a/1.jpg", 0) + header("b/2.jpg", size) + header("b/3.jpg", 0) + bytes(10240)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == "tar.gz" else data)
    with pytest.raises(DataError, match=rf"a\.{suffix}: .*damaged.* byte 512 has .*{size:,} bytes"):
        open_source(path)
    path.write_bytes(gzip.compress(data[512:]) if suffix == "tar.gz" else data[512:])
    with pytest.raises(DataError, match="damaged"):
        open_source(path)


def test_a_long_name_of_a_negative_size_and_endless_ones_are_damage(tmp_path: Path) -> None:
    long = bytearray(header("././@LongLink", -633))
    endless = bytearray(header("././@LongLink", 0))
    for data in (long, endless):
        data[156:157] = b"L"
        data[148:156] = b" " * 8
        data[148:156] = f"{sum(data):06o}\0 ".encode()
    for data in (long, endless * 5000):
        (tmp_path / "a.tar").write_bytes(header("a/1.jpg", 0) + data + bytes(10240))
        with pytest.raises(DataError, match=r"a\.tar: .*damaged"):
            open_source(tmp_path / "a.tar")


def test_the_number_of_members_is_bounded(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    place = pack("tar", {"a/1.jpg": b"1", "b/2.jpg": b"2"})
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    assert len(files(place)) == 2
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    with pytest.raises(DataError, match="more members than the limit of 1"):
        open_source(place)
