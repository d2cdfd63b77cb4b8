"""Dozens of mutations of a tiny real file of each container; benchmarks/fuzz.py does thousands."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz import mutate
from fuzz_files import in_zip

from mobilenetv2.checkpoints.containers import Container, pytorch, safetensors
from mobilenetv2.checkpoints.containers.hdf5 import keras3_bytes, legacy_keras_bytes
from mobilenetv2.checkpoints.containers.reader import read_container, recognise_kind
from mobilenetv2.errors import WeightsError

Open = Callable[[Path], Container]
MUTATIONS = 60
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32)


def modern() -> bytes:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    return pytorch.pytorch_bytes({"a.weight": KERNEL, "b": np.ones(3, np.float16)})


def old() -> bytes:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3, 4)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def legacy() -> bytes:
    pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
    return legacy_keras_bytes([("a", [("a/kernel:0", KERNEL)]), ("b", [("b/gamma:0", KERNEL[0])])])


def keras3() -> bytes:
    pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
    return keras3_bytes([("layers/dense", [KERNEL, KERNEL[0]])])


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", '{"class_name": "Functional"}')
        file.writestr("model.weights.h5", keras3())
    return buffer.getvalue()


def tensors() -> bytes:
    return safetensors.safetensors_bytes({"a": KERNEL, "b": np.ones(3, np.int64)}, {"format": "pt"})


@pytest.mark.parametrize("make", [modern, old, legacy, keras3, archive, tensors])
def test_mutations_give_arrays_or_a_clear_error(
    opened: Open, tmp_path: Path, make: Callable[[], bytes]
) -> None:
    whole, path = make(), tmp_path / "a.bin"
    refused = 0
    for seed in range(MUTATIONS):
        path.write_bytes(mutate(whole, seed))
        try:
            kind = recognise_kind(path)
            found = read_container(path) if kind in ("safetensors", "litert") else opened(path)
            assert isinstance(found, Container)
        except WeightsError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert refused > MUTATIONS // 4  # so the mutations do reach what matters
    path.write_bytes(whole)
    assert len((read_container if make is tensors else opened)(path).arrays) in (1, 2)


@pytest.mark.parametrize("member", ["data.pkl", "data/0", "version", "byteorder"])
def test_mutations_behind_right_checksums(opened: Open, tmp_path: Path, member: str) -> None:
    whole, path = modern(), tmp_path / "a.pth"
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        piece = file.read(f"archive/{member}")
    wrap = in_zip(whole, f"archive/{member}")
    for seed in range(MUTATIONS):
        path.write_bytes(wrap(mutate(piece, seed)))
        try:
            assert isinstance(opened(path), Container)
        except WeightsError as error:
            assert str(error).startswith(str(path))


def test_the_same_seed_is_the_same_mutation_and_another_is_another() -> None:
    whole = bytes(range(256)) * 40
    made = [mutate(whole, seed) for seed in range(200)]
    assert made == [mutate(whole, seed) for seed in range(200)]
    assert len(set(made)) > 190
    assert {len(m) < len(whole) for m in made} == {len(m) > len(whole) for m in made} == {0, 1}
    assert all(isinstance(mutate(piece, s), bytes) for piece in (b"", b"a") for s in range(50))
