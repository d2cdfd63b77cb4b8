"""What all readers share: the count of bytes, names, numbers, damage, and zip archives."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.bounds import (
    EXPANSION,
    LONGEST_NAME,
    MOST_ENTRIES,
    ROOM,
    Budget,
    check_name,
    clean,
    copy_member,
    damage,
    most_bytes,
    numeric,
    open_zip,
)
from mobilenetv2.errors import ArtifactError, WeightsError


def test_the_budget_is_spent_by_bytes_and_by_entries() -> None:
    assert most_bytes(1000) == 1000 * EXPANSION + ROOM
    budget = Budget(1000)
    budget.take("all", most_bytes(1000))
    with pytest.raises(WeightsError, match="'one more' is declared larger than the file can hold"):
        budget.take("one more", 1)
    budget = Budget(0)
    for number in range(MOST_ENTRIES):
        budget.take(str(number), 0)
    with pytest.raises(WeightsError, match="more than 20,000 entries"):
        budget.take("last", 0)
    with pytest.raises(WeightsError, match="hostile: 'a' is declared"):
        Budget(0).take("a", -1)


@pytest.mark.parametrize("name", ["", "a" * (LONGEST_NAME + 1), "half \ud800 pair"])
def test_a_name_that_could_not_be_shown_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match=r"^damaged: "):
        check_name(name)
    clean(name).encode("utf-8")


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">f8", "<f2", ">i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_numbers_come_in_native_order_with_their_shape_and_type(
    kind: str, shape: tuple[int, ...]
) -> None:
    stored = np.arange(int(np.prod(shape)), dtype="i8").reshape(shape).astype(kind)
    found = numeric(stored, "a")
    assert found.dtype == np.dtype(kind).newbyteorder("=") and found.dtype.isnative
    assert found.shape == shape and found.flags.c_contiguous
    np.testing.assert_array_equal(found, stored)


@pytest.mark.parametrize("kind", ["c8", "S3", "U2", "O", "M8[s]", "g"])
def test_what_is_no_number_of_a_network_is_refused_by_name(kind: str) -> None:
    with pytest.raises(WeightsError, match=r"'a\.b' has values of type "):
        numeric(np.zeros(2, kind), "a.b")


def test_a_zip_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("a", "first")
        archive.writestr("a", "second")
    with pytest.raises(WeightsError, match="'a' occurs twice"), open_zip(tmp_path / "a"):
        pass


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", compression) as archive:
        archive.writestr("a", "first")
    with (
        pytest.raises(WeightsError, match="'a' is compressed by an unsupported"),
        open_zip(tmp_path / "a"),
    ):
        pass


@pytest.mark.parametrize("declared", [0, 4, 6, 10**9])
def test_a_member_of_another_size_than_declared_is_refused(tmp_path: Path, declared: int) -> None:
    with pytest.raises(WeightsError, match="size of a member differs from the declared"):
        copy_member(io.BytesIO(b"12345"), tmp_path / "a", declared)
    assert (tmp_path / "a").stat().st_size <= 5
    copy_member(io.BytesIO(b"12345"), tmp_path / "b", 5)
    assert (tmp_path / "b").read_bytes() == b"12345"


def test_whatever_goes_wrong_is_the_files_damage_and_named_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for error, named, message in (
        (
            ZeroDivisionError("of mine\nand more"),
            None,
            r"damaged file \(of mine\); download it again",
        ),
        (KeyError(), path, rf"{path}: damaged file \(KeyError\); download it again"),
        (WeightsError("its own words"), path, f"{path}: its own words"),
        (WeightsError("its own words"), None, "its own words"),
    ):
        with pytest.raises(WeightsError, match=f"^{message}$"), damage("file", named):
            raise error
    for other in (ArtifactError("mine"), MemoryError(), KeyboardInterrupt()):
        with pytest.raises(type(other)) as caught, damage("file", path):
            raise other
        assert caught.value is other
