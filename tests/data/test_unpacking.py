"""Compressed archives: unpacked once, and bounded."""

import bz2
import gzip
import lzma
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data import unpacking
from mobilenetv2.data.unpacking import unpacked
from mobilenetv2.errors import DataError, MissingExtra

NOISE = np.random.default_rng(1).bytes(300_000)


def zstandard(data: bytes) -> bytes:
    library = pytest.importorskip("zstandard")
    return bytes(library.ZstdCompressor().compress(data))


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard,
}  # fmt: skip


@pytest.mark.parametrize("kind", PACK)
def test_the_bytes_come_back_also_of_several_streams(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    for parts in ([NOISE], [NOISE[:1000], NOISE[1000:], b""], [b""]):
        path.write_bytes(b"".join(PACK[kind](part) for part in parts))
        with unpacked(path, kind) as made:
            assert made.read() == b"".join(parts)


@pytest.mark.parametrize("kind", PACK)
def test_what_is_damaged_or_cut_short_is_named(tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / f"a{kind}", PACK[kind](NOISE)
    for bad in (data[: len(data) // 2], b"noise" * 100, data[:50] + b"#" * 50 + data[100:]):
        path.write_bytes(bad)
        if kind == ".zst" and bad[:4] == data[:4]:
            continue  # without a checksum; the tar archive in it has no end, which its reader names
        with pytest.raises(DataError) as caught:
            unpacked(path, kind)
        assert str(caught.value).startswith(f"{path}: damaged {kind[1:]} archive")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xe9.tar.gz")
    path.write_bytes(b"noise" * 100)
    with pytest.raises(DataError, match=r"/\\xe9\.tar\.gz: damaged gz archive"):
        unpacked(path, ".gz")


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_not_unpacked(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "SMALL", 2_000_000)
    path = tmp_path / f"a{kind}"
    path.write_bytes(PACK[kind](bytes(30_000_000)))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        unpacked(path, kind)


def test_a_full_disk_and_a_missing_package_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(b"(\xb5/\xfd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match="zstandard is not installed"):
        unpacked(path, ".zst")
    path.write_bytes(gzip.compress(NOISE))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Usage())
    with pytest.raises(DataError, match=r"a\.zst: the temporary folder .* not enough space"):
        unpacked(path, ".gz")


class _Usage:
    free = 1000
