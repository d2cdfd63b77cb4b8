"""Headers of tar archives that would take time and memory by the square of their length."""

import gzip
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.data.archives import LARGEST_HEADERS, MOST_ATTRIBUTES, TarSource, open_archive
from mobilenetv2.data.passed_over import Ignore
from mobilenetv2.errors import DataError

Pack = Callable[[bytes], Path]


def header(name: str, size: int = 0, kind: bytes = b"0") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


def attributes(records: bytes, kind: bytes = b"x") -> bytes:
    """A header with the attributes of the next member, or with kind 'g' of all."""
    return header("a", len(records), kind) + records + bytes(-len(records) % 512)


def record(key: str, value: str) -> bytes:
    rest, length = f" {key}={value}\n".encode(), 0
    while len(b"%d%s" % (length, rest)) != length:
        length = len(b"%d%s" % (length, rest))
    return b"%d%s" % (length, rest)


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    def make(content: bytes) -> Path:
        path = tmp_path / "photos.tar.gz"
        path.write_bytes(gzip.compress(content + bytes(1024), 1))
        return path

    return make


HOSTILE = {
    "overlapping": attributes(b"2 " * 100_000 + b"=1"),
    "without a key": attributes(b"6 abc\n" * 20_000 + b"5 a=\n"),
    "a long number": attributes(record("a", "1" * 200_000)),
    "larger than allowed": attributes(record("a", "x" * LARGEST_HEADERS)),
    "many of a member": attributes(b"".join(record(f"k{n}", "") for n in range(15_000))),
    "many of all members": b"".join(
        attributes(record(f"k{n}", ""), b"g") for n in range(MOST_ATTRIBUTES + 1)
    ),
    "a name of a megabyte": header("././@LongLink", 2**20, b"L") + b"a" * 2**20,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_at_once(name: str, packed: Pack) -> None:
    path = packed(HOSTILE[name] + header("a/x.png"))
    start = time.process_time()
    with pytest.raises(DataError, match=r"photos.tar.gz: a damaged tar archive \("):
        open_archive(path, Ignore())
    assert time.process_time() - start < 20  # tarfile takes minutes


def test_a_name_may_be_a_long_number(packed: Pack) -> None:
    name = f"a/{'é' * 3}{'7' * 200}.png"
    content = attributes(record("path", name)) + header("short", 3) + b"abc" + bytes(509)
    assert name in open_archive(packed(content), Ignore()).names()


def test_usual_attributes_are_read(packed: Pack) -> None:
    """A long name in any alphabet, digests, times, and bytes in base64."""
    name = f"photos/{'ä' * 120}.png"
    content = b"".join(
        attributes(
            record("path", name.replace("photos", f"photos{number}"))
            + record("mtime", "1700000000.123456789")
            + record("SCHILY.xattr.user.sha256", "0123456789" * 6 + "abcd")
            + record("LIBARCHIVE.xattr.note", "QUJD" * 2000)
        )
        + header("short", 3) + b"abc" + bytes(509)
        for number in range(20)
    )  # fmt: skip
    whole = attributes(record("comment", "made by git"), b"g") + content
    source = open_archive(packed(whole), Ignore())
    assert isinstance(source, TarSource)
    names = [one for one in source.names() if one.endswith(".png")]
    assert sorted(names) == sorted(name.replace("photos", f"photos{n}") for n in range(20))
    assert source.read(names[0]) == b"abc"
