"""Checksums: whole ones, first digits, and none."""

import hashlib
from pathlib import Path

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.model.checksum import UNKNOWN, Checksum, check, file_sha256

CONTENT = b"weights" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("checksum", [UNKNOWN, Checksum(DIGEST), Checksum(prefix=DIGEST[:8])])
def test_what_fits_gives_its_sha256(checksum: Checksum, file: Path) -> None:
    assert check(file, checksum) == file_sha256(file) == DIGEST
    assert checksum.difference(DIGEST) == ""


@pytest.mark.parametrize(
    ("checksum", "words"),
    [
        (Checksum("0" * 64), f"the published one is {'0' * 64}"),
        (Checksum("0" * 64, source="the hub's"), f"the hub's is {'0' * 64}"),
        (Checksum(prefix="01234567"), "the published one begins 01234567"),
    ],
)
def test_what_differs_is_told_with_both_values(checksum: Checksum, words: str, file: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        check(file, checksum)
    assert str(caught.value) == (
        f"{file}: wrong bytes: its SHA-256 is {DIGEST}, {words}; delete it to fetch it again"
    )
    assert file.read_bytes() == CONTENT


def test_a_checksum_that_says_nothing_is_false() -> None:
    assert not UNKNOWN and not Checksum(source="the hub's")
    assert Checksum(DIGEST) and Checksum(prefix=DIGEST[:8])
