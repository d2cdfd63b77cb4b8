"""Files that are written in another process than the one that quantised."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.benchmark.writing import load_scheme, save_scheme, write
from mobilenetv2.graph.onnx import write as write_onnx
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.quantize import post_training
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.runtime.artifact import load
from mobilenetv2.runtime.engine import start
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5)
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("writing") / "model"
    store.save(place, ModelConfig.default(SPEC), random_arrays(SPEC))
    return place


@pytest.fixture(scope="module")
def scheme(folder: Path) -> Scheme:
    return post_training.quantise(*store.load(folder), PICTURES)


@pytest.mark.parametrize("bits", [7, 8])
def test_a_scheme_comes_back_as_it_was(scheme: Scheme, tmp_path: Path, bits: int) -> None:
    given = dataclasses.replace(scheme, weight_bits=bits, per_channel=bits == 8)
    save_scheme(given, tmp_path / "s.npz")
    found = load_scheme(tmp_path / "s.npz", given.config)
    assert list(found.folded) == list(given.folded)  # in the order in which they run
    for field in dataclasses.fields(Scheme):
        if field.name != "folded":
            assert getattr(found, field.name) == getattr(given, field.name), field.name
    assert write_onnx(found.quantised()) == write_onnx(given.quantised())


def test_float_and_int8_files_are_those_of_their_writers(
    folder: Path, scheme: Scheme, tmp_path: Path
) -> None:
    save_scheme(scheme, tmp_path / "s.npz")
    np.save(tmp_path / "c.npy", PICTURES)
    request = {
        "model": str(folder), "format": "onnx", "scheme": str(tmp_path / "s.npz"),
        "calibration": str(tmp_path / "c.npy"),
    }  # fmt: skip
    out = {name: tmp_path / f"{name}.onnx" for name in ("float32", "float16", "int8")}
    for precision, path in out.items():
        write({**request, "precision": precision, "out": str(path)})
    assert out["int8"].read_bytes() == write_onnx(
        load_scheme(tmp_path / "s.npz", scheme.config).quantised()
    )
    assert out["float32"].stat().st_size > 1.5 * out["float16"].stat().st_size
    x = np.zeros((1, 3, 48, 64), np.float32)
    logits = {name: start(load(path)).run(x, "logits") for name, path in out.items()}
    assert np.abs(logits["float32"] - logits["float16"]).max() < 1e-2
    assert np.abs(logits["float32"] - logits["int8"]).max() > 0


def test_a_place_that_cannot_be_written_is_an_error(folder: Path, tmp_path: Path) -> None:
    request = {"model": str(folder), "format": "onnx", "precision": "float32"}
    with pytest.raises(OSError, match="No such file"):
        write({**request, "out": str(tmp_path / "no" / "folder.onnx")})
