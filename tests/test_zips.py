"""Members of zip archives: bounded before they are listed, and while a member is inflated."""

import bz2
import functools
import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers.reader import in_fork
from mobilenetv2.zips import TABLE, OtherMethod, TooManyMembers, Zip

STORED, DEFLATED, DEFLATE64, BZIP2, LZMA, ZSTANDARD = 0, 8, 9, 12, 14, 93
Member = tuple[str, int, bytes, int]
"""Name, method, packed bytes and declared size."""


def forged(*members: Member, flags: int = 0, before: bytes = b"") -> bytes:
    """An archive whose sizes and methods are what its maker says."""
    body, table = before, b""
    for name, method, data, declared in members:
        sizes = (0, len(data), declared)
        entry = struct.pack("<3H", 20, flags, method) + bytes(4) + struct.pack("<3L", *sizes)
        head = entry + struct.pack("<2H", len(name), 0)
        place = struct.pack("<3H2L", 0, 0, 0, 0, len(body))
        table += b"PK\1\2" + struct.pack("<H", 20) + head + place + name.encode()
        body += b"PK\3\4" + head + name.encode() + data
    count = min(len(members), 0xFFFF)
    end = struct.pack("<4H2LH", 0, 0, count, count, len(table), len(body), 0)
    return body + table + b"PK\5\6" + end


@functools.cache
def zeros(method: int) -> bytes:
    """128 MB of zeros, packed into a few kilobytes."""
    pieces = [bytes(2**24)] * 8
    if method == BZIP2:
        bzip2 = bz2.BZ2Compressor()
        return b"".join(map(bzip2.compress, pieces)) + bzip2.flush()
    if method == LZMA:
        kinds = [{"id": lzma.FILTER_LZMA1, "preset": 0}]
        packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=kinds)
        start = struct.pack("<BBHBL", 9, 4, 5, 0x5D, 2**18)
        return start + b"".join(map(packer.compress, pieces)) + packer.flush()
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    return b"".join(map(deflate.compress, pieces)) + deflate.flush()


def memory(task: Callable[[], object]) -> int:
    """Peak of the memory in bytes that a task takes in a process of its own."""

    def run() -> int:
        task()
        return 0

    import resource  # not on Windows

    scale = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    done = in_fork(run)
    assert done["status"] == done["signal"] == 0, done
    return done["memory"] - before


def test_an_archive_is_read_behind_other_bytes_too(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "abc" * 1000)
    for source in (path, path.read_bytes(), b"before" + path.read_bytes()):
        with Zip(source, most=1) as found:
            assert found.content("a.txt", 3000) == b"abc" * 1000
            assert found.start(found.getinfo("a.txt"), 4) == b"abca"
            with pytest.raises(zipfile.BadZipFile, match=r"'a.txt' has 3,000 bytes.*2,999"):
                found.content("a.txt", 2999)
            with pytest.raises(KeyError):
                found.content("b.txt", 1)


@pytest.mark.parametrize("method", [DEFLATE64, BZIP2, LZMA, ZSTANDARD])
def test_other_methods_are_refused_before_anything_is_inflated(method: int) -> None:
    with Zip(forged(("a", method, b"x" * 100, 10))) as archive:
        for read in (archive.content, archive.start):
            with pytest.raises(OtherMethod, match="'a' is compressed by an unsupported method"):
                read(archive.getinfo("a"), 10)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_forged_size_is_damage(method: int) -> None:
    packed = b"x" * 99 if method == STORED else zlib.compress(b"x" * 99)[2:-4]
    for declared in (10, 98, 100, 10**6):
        archive = Zip(forged(("a", method, packed, declared)))
        with pytest.raises(zipfile.BadZipFile):
            archive.content("a", 10**7)


def test_a_password_is_said() -> None:
    archive = Zip(forged(("a", STORED, b"x", 1), flags=1))
    with pytest.raises(zipfile.BadZipFile, match="'a' is protected by a password"):
        archive.content("a", 10)


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured in a fork")
def test_a_table_of_contents_is_bounded_before_it_is_listed(tmp_path: Path) -> None:
    many = forged(*[(str(n), STORED, b"", 0) for n in range(11)])
    assert len(Zip(many, most=11).infolist()) == 11
    with pytest.raises(TooManyMembers, match="more than 10 members"):
        Zip(many, most=10)
    path, size = tmp_path / "sparse.zip", 9 * 1024**3
    with path.open("wb") as file:  # a table of zeros, of the size that the end says
        file.truncate(size)
        file.seek(size)
        file.write(b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 1, 1, size, 0))
        file.write(b"PK\6\7" + struct.pack("<LQL", 0, size, 1))
        file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0))

    def refused() -> None:
        with pytest.raises(TooManyMembers):
            Zip(path)

    assert memory(refused) < 64 * 1024**2 + 2 * TABLE


@pytest.mark.parametrize("cut", [0, 1, 21, 30, 60, 90])
@pytest.mark.parametrize("at", [-1, -4, -8, -12, -20])
def test_any_damage_is_one_kind_of_error(cut: int, at: int) -> None:
    whole = forged(("a", STORED, b"x" * 20, 20), ("b", DEFLATED, b"\0" * 9, 20))
    damaged = bytearray(whole[: len(whole) - cut])
    damaged[at] ^= 0xFF
    with pytest.raises(zipfile.BadZipFile), Zip(bytes(damaged)) as archive:
        for member in archive.infolist():
            archive.content(member, 100)


@pytest.mark.parametrize("source", ["missing", "folder"])
def test_what_is_no_file_is_an_os_error(source: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=source):
        Zip(tmp_path / source)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured in a fork")
@pytest.mark.parametrize("method", [DEFLATED, BZIP2, LZMA])
@pytest.mark.parametrize("member", ["config.json", "data.pkl", "mobilenetv2.json", "labels.txt"])
def test_no_reader_inflates_more_than_it_may(method: int, member: str, tmp_path: Path) -> None:
    """A member of a few kilobytes becomes 128 MB, which its size denies."""
    from mobilenetv2.checkpoints.containers.kinds import recognise
    from mobilenetv2.checkpoints.foreign.litert_metadata import archived_texts
    from mobilenetv2.data.archives import ZipSource
    from mobilenetv2.errors import MobileNetV2Error
    from mobilenetv2.runtime.engines.engine import archived_config

    path = tmp_path / "bomb.zip"
    data = forged((member, method, zeros(method), 100))
    path.write_bytes(data)

    def read() -> None:
        for one in (
            lambda: recognise(path),
            lambda: archived_texts(data),
            lambda: archived_config(data, member, path, "damaged"),
            lambda: [ZipSource(path).read(member)],
        ):
            try:
                one()
            except MobileNetV2Error:
                continue

    assert memory(read) < 48 * 1024**2
