"""What all containers share: the way in, the count of bytes, and what is plain."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.containers import safetensors
from mobilenetv2.checkpoints.containers.container import (
    EXPANSION,
    LONGEST_NAME,
    MOST_ENTRIES,
    ROOM,
    Budget,
    check_name,
    clean,
    most_bytes,
    numeric,
    plain,
    read,
)
from mobilenetv2.errors import WeightsError


def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(safetensors.write({"a": np.arange(3, dtype=np.int16)}))
    found = read(path)
    assert found.metadata["format"] == "safetensors"
    np.testing.assert_array_equal(found.arrays["a"], np.arange(3, dtype=np.int16), strict=True)


def test_a_graph_is_not_named_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(50))
    with pytest.raises(WeightsError, match=r"a\.bin: a network's graph"):
        read(path)


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


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8,
))  # fmt: skip
def test_plain_values_stay_as_they_are(value: object) -> None:
    assert plain(value, depth=50) == value or str(value) >= "\ud800"


def test_what_is_not_plain_is_left_out() -> None:
    value = {"epoch": 3, 1: "one", "model": np.zeros(3), "names": ["a", object(), b"b"], "no": ...}
    assert plain(value) == {"epoch": 3, "1": "one", "names": ["a", "b"]}
    nested: list[object] = []
    for _ in range(100):
        nested = [nested]
    assert str(plain(nested)).count("[") <= 10
