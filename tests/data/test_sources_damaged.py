import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data import archives, sources
from mobilenetv2.data.opening import open_source
from mobilenetv2.errors import DataError, ImageError
from mobilenetv2.images.decode import Limits

Pack = Callable[[str, Mapping[str, bytes]], Path]

FILES = {
    "b/2.jpg": b"two", "b/10.jpg": b"ten", "a/x/1.jpg": b"one", "ReadMe.txt": b"", "empty/": b"",
}  # fmt: skip
NAMES = ["ReadMe.txt", "a/x/1.jpg", "b/10.jpg", "b/2.jpg", "a/", "a/x/", "b/", "empty/"]
KINDS = ("folder", "zip", "tar")


def claim(archive: Path, size: int) -> None:
    """Let the first entry of a zip's directory say that it has ``size`` bytes."""
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    archive.write_bytes(data)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_entry_beyond_the_limit_is_named_and_not_unpacked(
    pack: Pack, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sources, archives):
        monkeypatch.setattr(module, "LIMITS", Limits(bytes=1000))
    place = pack(kind, {"a/1.jpg": b"0" * 1001, "a/2.jpg": b"0" * 1000})
    source = open_source(place)
    with pytest.raises(ImageError, match=r"^.*/a/1\.jpg: larger than 1,000 bytes$") as caught:
        source.read("a/1.jpg")
    assert str(caught.value).startswith(str(place))
    assert len(source.read("a/2.jpg")) == 1000


def test_of_a_large_file_in_a_folder_no_more_than_the_limit_is_read(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sources, archives):
        monkeypatch.setattr(module, "LIMITS", Limits(bytes=1000))
    assert len(open_source(pack("folder", {"1.jpg": b"0" * 5000})).read("1.jpg")) == 1001


def test_an_entry_that_claims_gigabytes_is_refused_by_its_claim(pack: Pack) -> None:
    place = pack("zip", {"a/1.jpg": b"small"})
    claim(place, 2**32 - 2)
    with pytest.raises(ImageError, match=r"/a/1\.jpg: larger than"):
        open_source(place).read("a/1.jpg")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_that_hides_its_size_takes_no_memory(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sources, archives):
        monkeypatch.setattr(module, "LIMITS", Limits(bytes=100_000))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as archive:
        archive.writestr("a/1.jpg", bytes(20_000_000))
    claim(tmp_path / "bomb.zip", 10)
    source = open_source(tmp_path / "bomb.zip")
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"bomb\.zip/a/1\.jpg: "):
            source.read("a/1.jpg")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("damage", ["empty", "noise", "the other kind", "cut short"])
def test_a_damaged_archive_is_named(pack: Pack, kind: str, damage: str) -> None:
    place = pack(kind, {"a/1.jpg": b"1" * 600, "a/2.jpg": b"2" * 600})
    data = place.read_bytes()
    other = pack({"zip": "tar", "tar": "zip"}[kind], FILES).read_bytes()
    noise = np.random.default_rng(3).bytes(2000)
    cut = data[: len(data) // 2] if kind == "zip" else data[:1024]  # 600 bytes after a header
    place.write_bytes({"empty": b"", "noise": noise, "the other kind": other}.get(damage, cut))
    with pytest.raises(DataError) as caught:
        open_source(place)
    assert str(caught.value).startswith(f"{place}: ") and "damaged" in str(caught.value)


@pytest.mark.parametrize("end", [1536, 1536 + 100, 3072], ids=["header", "half a header", "mark"])
def test_a_tar_that_stops_between_two_files_is_not_half_a_dataset(pack: Pack, end: int) -> None:
    place = pack("tar", {"a/1.jpg": b"1" * 600, "a/2.jpg": b"2" * 600})
    place.write_bytes(place.read_bytes()[:end])
    with pytest.raises(DataError, match="damaged"):
        open_source(place)


def test_a_tar_with_a_damaged_header_is_not_half_a_dataset(pack: Pack) -> None:
    place = pack("tar", {"a/1.jpg": b"1" * 600, "a/2.jpg": b"2" * 600})
    data = bytearray(place.read_bytes())
    data[1536:1540] = b"XXXX"  # the second name: its checksum is wrong now
    place.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        open_source(place)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_damage_ends_in_another_error(pack: Pack, kind: str) -> None:
    files = {f"a/{i}.jpg": b"photo" * 30 for i in range(4)} | {"a/ü.jpg": b"x", "b/": b""}
    place = pack(kind, files)
    whole, random, outcomes = place.read_bytes(), np.random.default_rng(11), set[str]()
    for _ in range(400):
        data = bytearray(whole)
        for position in random.integers(0, len(data), random.integers(1, 9)):
            data[position] = random.integers(0, 256)
        place.write_bytes(data)
        try:
            source = open_source(place)
            for name in source.names():
                if not name.endswith("/"):
                    source.read(name)
            outcomes.add("read")
        except ImageError as error:
            assert str(error).startswith(f"{place}/")
            outcomes.add("one photo")
        except DataError as error:
            assert str(error).startswith(f"{place}: ")
            outcomes.add("archive")
    assert outcomes >= {"read", "archive"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_that_vanished_is_named(pack: Pack, kind: str) -> None:
    place = pack(kind, {"a/1.jpg": b"1" * 600})
    source = open_source(place)
    if kind == "folder":
        (place / "a/1.jpg").unlink()
    else:
        place.write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        source.read("a/1.jpg")
    assert str(caught.value).startswith(f"{place}/a/1.jpg: ")


def test_an_encrypted_entry_is_named(pack: Pack) -> None:
    place = pack("zip", {"a/1.jpg": b"small"})
    data = bytearray(place.read_bytes())
    data[6] |= 1  # the flag in the local header, and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    place.write_bytes(data)
    with pytest.raises(DataError, match=r"photos\.zip: protected by a password .*; unpack it"):
        open_source(place)
