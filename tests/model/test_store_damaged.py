"""Damaged, foreign and made-up model folders: an error that names the file, nothing else."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as serialise

from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import check_arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(33, 40), classes=5, head_channels=24)
CONFIG = ModelConfig.default(SPEC)
ARRAYS = random_arrays(SPEC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path / "net", CONFIG, ARRAYS)
    return tmp_path / "net"


def with_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the safetensors header and nothing else."""
    path = folder / store.WEIGHTS
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[end:])


@pytest.mark.parametrize("dtype", ["int32", "float64", "uint8", "bool"])
def test_tensors_of_another_type_are_named_and_refused(dtype: str, folder: Path) -> None:
    data = serialise({**ARRAYS, "stem.bn.scale": np.ones(8, dtype)})
    (folder / store.WEIGHTS).write_bytes(data)
    kind = {"int32": "I32", "float64": "F64", "uint8": "U8", "bool": "BOOL"}[dtype]
    with pytest.raises(WeightsError, match=f"tensors of type {kind}; .* float32 or float16"):
        store.load(folder)


def test_bfloat16_is_refused(folder: Path) -> None:
    store.save(folder, CONFIG, ARRAYS, "float16")
    with_header(folder, lambda header: header["stem.bn.scale"].update(dtype="BF16"))
    with pytest.raises(WeightsError, match="tensors of type BF16"):
        store.load(folder)


def test_a_truncated_file_is_refused_at_every_length(folder: Path) -> None:
    data = (folder / store.WEIGHTS).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    for length in (0, 1, 7, 8, 9, end - 1, end, end + 1, len(data) // 2, len(data) - 1):
        (folder / store.WEIGHTS).write_bytes(data[:length])
        with pytest.raises(WeightsError, match=r"model\.safetensors: (damaged|truncated)"):
            store.load(folder)
    (folder / store.WEIGHTS).write_bytes(data + b"\0")
    with pytest.raises(WeightsError, match=r"model\.safetensors: damaged"):
        store.load(folder)


@pytest.mark.parametrize("length", [2**20, 2**40, 2**63, 2**64 - 1])
def test_a_huge_header_length_is_refused_before_memory_is_taken(length: int, folder: Path) -> None:
    path = folder / store.WEIGHTS
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(WeightsError, match="damaged safetensors file"):
        store.load(folder)


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another version": lambda h: h["__metadata__"].update(format_version="2"),
    "metadata is a list": lambda h: h.update(__metadata__=[1]),
    "metadata is null": lambda h: h.update(__metadata__=None),
    "an endless shape": lambda h: h["stem.bn.scale"].update(shape=[float("inf")]),
    "a fractional shape": lambda h: h["stem.bn.scale"].update(shape=[8.0]),
    "offsets that cross": lambda h: h["stem.bn.scale"].update(data_offsets=[9, 3]),
    "no offsets": lambda h: h["stem.bn.scale"].pop("data_offsets"),
    "no type": lambda h: h["stem.bn.scale"].pop("dtype"),
    "no tensors": lambda h: h.clear(),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_a_wrong_header_is_an_error_that_names_the_file(
    change: Callable[[dict[str, Any]], object], folder: Path
) -> None:
    with_header(folder, lambda header: None)
    store.load(folder)  # writing the header anew is not what fails
    with_header(folder, change)
    with pytest.raises(WeightsError, match=rf"^{folder / store.WEIGHTS}: "):
        store.load(folder)


def test_a_place_that_is_no_model_folder_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere: no such model folder"):
        store.load(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"README\.md: a file; this needs a model folder"):
        store.load(folder / store.CARD)
    with pytest.raises(WeightsError, match=f"^{tmp_path}: not a model folder, it has no config"):
        store.load(tmp_path)
    (folder / store.WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=r"net: the weights file model\.safetensors is missing"):
        store.load(folder)
    assert store.load_config(folder) == CONFIG


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (lambda c: c.update(widht=1), "unknown key 'widht'"),
    "near miss": (lambda c: c["spec"].update(widht=1), "did you mean 'width'"),
    "no spec": (lambda c: c.pop("spec"), "key 'spec' is missing"),
    "version": (lambda c: c.update(format_version=2), "format_version 2 is not 1"),
    "labels": (lambda c: c["labels"]["names"].pop(), "4 labels for 5 classes"),
    "pixels": (lambda c: c["spec"].update(size=[32, 32]), r"the network takes \(32, 32\)"),
    "channels": (lambda c: c["spec"].update(input_channels=1), "gives 3 channels"),
    "kind": (lambda c: c["spec"].update(width="1"), "expected a number, found '1'"),
    "not a number": (lambda c: c["spec"].update(width=float("nan")), "NaN is no number in JSON"),
    "beyond floats": (lambda c: c["spec"].update(width=10**400), "width"),
    "beyond floats, metrics": (lambda c: c["metrics"].update(a=10**400), "metrics"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_wrong_config_is_an_error_that_names_the_file_and_the_cause(
    change: Callable[[dict[str, Any]], object], message: str, folder: Path
) -> None:
    path = folder / store.CONFIG
    mapping = json.loads(path.read_text("utf-8"))
    change(mapping)
    path.write_text(json.dumps(mapping))
    with pytest.raises(WeightsError, match=f"^{path}.*{message}"):
        store.load_config(folder)


def test_a_config_that_no_network_can_have_is_refused_with_its_file(folder: Path) -> None:
    path = folder / store.CONFIG
    mapping = json.loads(path.read_text("utf-8"))
    for stage in mapping["spec"]["stages"]:
        stage["stride"] = 2
    path.write_text(json.dumps(mapping))
    with pytest.raises(WeightsError, match=f"^{path}.*the strides multiply to 256"):
        store.load(folder)


def test_a_config_of_many_thousand_tensors_is_refused_in_a_few_words(folder: Path) -> None:
    path = folder / store.CONFIG
    mapping = json.loads(path.read_text("utf-8"))
    mapping["spec"]["stages"][1]["repeats"] = 20_000
    path.write_text(json.dumps(mapping))
    with pytest.raises(WeightsError) as caught:
        store.load(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x'])
def test_a_config_that_is_not_json_is_named(content: bytes, folder: Path) -> None:
    (folder / store.CONFIG).write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json: not JSON"):
        store.load_config(folder)


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=6)),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.mark.parametrize("name", [store.WEIGHTS, store.CONFIG])
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_a_mutated_file_loads_or_is_an_error_of_ours(
    name: str, edits: list[tuple[float, int, bytes]], folder: Path
) -> None:
    store.save(folder, CONFIG, ARRAYS)
    path = folder / name
    data = bytearray(path.read_bytes())
    # Half of the edits go into the first bytes, where the structure is.
    for index, (place, cut, new) in enumerate(edits):
        start = int(place * (len(data) if index % 2 else min(len(data), 10_000)))
        data[start : start + cut] = new
    path.write_bytes(data)
    try:
        config, arrays = store.load(folder)
    except MobileNetV2Error as error:
        assert str(folder) in str(error)
    else:
        check_arrays(config.spec, arrays, "loaded")
