"""Safetensors against the library that owns the format, and headers that lie."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy as library
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.bounds import MOST_ENTRIES
from mobilenetv2.checkpoints.containers.safetensors import (
    WRITTEN,
    read_safetensors,
    safetensors_bytes,
)
from mobilenetv2.errors import WeightsError

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name != "__metadata__"
)
tables = st.dictionaries(
    names,
    st.sampled_from(sorted(WRITTEN, key=str)).flatmap(
        lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, min_side=0))
    ),
    max_size=6,
)


@given(tables, st.dictionaries(names, names, max_size=1))
def test_bytes_are_the_librarys_own(table: dict[str, NDArray], metadata: dict[str, str]) -> None:
    written = safetensors_bytes(table, metadata)
    assert written == safetensors_bytes(dict(reversed(table.items())), metadata)
    back = library.load(written)
    assert back.keys() == table.keys()
    for name, array in table.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


@given(tables)
def test_what_the_library_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, NDArray]
) -> None:
    path = tmp_path_factory.mktemp("files") / "a.safetensors"
    path.write_bytes(library.save(table, {"format": "pt"}))
    found = read_safetensors(path)
    assert found.metadata == {"format": "safetensors", "metadata": {"format": "pt"}}
    assert found.arrays.keys() == table.keys()
    for name, array in table.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


def test_bfloat16_is_widened_without_loss(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    from safetensors.torch import save

    values = torch.randn(200).to(torch.bfloat16)
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": values, "b": torch.tensor(float("-inf"), dtype=torch.bfloat16)}))
    found = read_safetensors(path).arrays
    np.testing.assert_array_equal(found["a"], values.float().numpy(), strict=True)
    assert found["b"] == -np.inf and found["b"].shape == ()


def test_metadata_can_be_written_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(file({"__metadata__": {"\ud800": "half \udfff"}}))
    assert read_safetensors(path).metadata["metadata"] == {"?": "half ?"}


def file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


DATA = bytes(8)
WRONG = {
    "too short": (b"\x01\x02", "a header of 2 bytes"),
    "header longer than the file": (struct.pack("<Q", 2**63) + DATA, "a header of 9,223,372"),
    "not JSON": (file(b"{nothing}"), "not JSON"),
    "deep": (file(b"[" * 100_000), "not JSON"),
    "not a table": (file([1]), "its header: not a JSON object"),
    "twice": (file(b'{"a": 1, "a": 2}'), "the key 'a' occurs twice"),
    "metadata": (file({"__metadata__": {"a": 1}}), "its metadata is not a table of text"),
    "no shape": (file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, DATA), "is not dtype, sha"),
    "more than that": (file({"a": entry() | {"code": "import os"}}, DATA), "is not dtype, shape"),
    "negative side": (file({"a": entry(shape=[-2])}, DATA), "impossible"),
    "fraction": (file({"a": entry(shape=[2.0])}, DATA), "impossible"),
    "true": (file({"a": entry(shape=[True, 2])}, DATA), "impossible"),
    "text": (file({"a": entry(offsets=["0", "8"])}, DATA), "impossible"),
    "beyond int64": (file({"a": entry(shape=[2**63, 0])}, DATA), "impossible"),
    "one offset": (file({"a": entry(offsets=[8])}, DATA), "1 offsets"),
    "unknown type": (file({"a": entry("F8_E4M3", [8])}, DATA), "type F8_E4M3, which no network"),
    "shape and bytes": (file({"a": entry(shape=[3])}, DATA), "has 8 bytes for F32 of shape"),
    "huge": (file({"a": entry(shape=[2**40, 2**40])}, DATA), "has 8 bytes for F32 of shape"),
    "backwards": (file({"a": entry(offsets=[8, 0])}, DATA), "has -8 bytes"),
    "truncated": (file({"a": entry()}, DATA[:5]), "its arrays end at"),
    "more behind": (file({"a": entry()}, DATA + b"?"), "its arrays end at"),
    "hole": (file({"a": entry(offsets=[4, 12])}, DATA + bytes(4)), "'a' begins at 4"),
    "overlap": (
        file({"a": entry(), "b": entry(offsets=[4, 12])}, DATA + bytes(4)), "'b' begins at 4",
    ),
    "empty name": (file({"": entry()}, DATA), "a name of 0 characters"),
    "half a pair": (file({"\ud800": entry()}, DATA), "characters that are not text"),
    "many": (
        file({str(n): entry(shape=[0], offsets=[0, 0]) for n in range(MOST_ENTRIES + 1)}),
        "more than 20,000 arrays",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", WRONG)
def test_a_header_that_lies_is_refused(tmp_path: Path, why: str) -> None:
    content, message = WRONG[why]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors_bytes({"a": np.zeros(100, np.float32)}))
    size = path.stat().st_size
    read_safetensors(path, size)
    with pytest.raises(WeightsError, match=f"{size} bytes are more than the limit of {size - 1}"):
        read_safetensors(path, size - 1)


def test_a_type_without_a_code_is_not_written() -> None:
    with pytest.raises(WeightsError, match="a: safetensors has no type for complex64"):
        safetensors_bytes({"a": np.zeros(3, np.complex64)})


@given(st.binary(max_size=60))
def test_any_bytes_give_arrays_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("files") / "a.safetensors"
    for data in (content, file(content)):
        path.write_bytes(data)
        try:
            assert read_safetensors(path).metadata["format"] == "safetensors"
        except WeightsError as error:
            assert str(path) in str(error)
