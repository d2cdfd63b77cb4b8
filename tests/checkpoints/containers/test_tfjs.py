"""TensorFlow.js's layers models: weights of every type, and nothing from outside the folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.tfjs import read_tfjs
from mobilenetv2.errors import WeightsError

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
ENTRY = {"name": "a/kernel", "shape": [2, 3], "dtype": "float32"}
CONFIG = {"class_name": "Sequential", "config": {"layers": []}}


def write(
    folder: Path, data: bytes = VALUES.tobytes(), paths: Any = ("weights.bin",), **changes: Any
) -> Path:
    """Write a model of one weight; ``changes`` replace keys of the JSON."""
    (folder / "weights.bin").write_bytes(data)
    said = {
        "format": "layers-model", "modelTopology": CONFIG,
        "weightsManifest": [{"paths": list(paths), "weights": [ENTRY]}], **changes,
    }  # fmt: skip
    path = folder / "model.json"
    path.write_text(json.dumps(said), "utf-8")
    return path


def manifest(*entries: Any, paths: Any = ("weights.bin",)) -> list[Any]:
    return [{"paths": list(paths), "weights": list(entries)}]


def test_weights_and_layers(tmp_path: Path) -> None:
    found = read_tfjs(write(tmp_path, userDefinedMetadata={"a": 1}))
    np.testing.assert_array_equal(found.arrays["a/kernel"], VALUES)
    assert found.metadata == {"format": "tfjs", "config": CONFIG, "user": {"a": 1}}
    inside = {"keras_version": "2.15.0", "model_config": CONFIG}
    assert read_tfjs(write(tmp_path, modelTopology=inside)).metadata["config"] == CONFIG


def test_weights_over_several_files_and_groups(tmp_path: Path) -> None:
    data = VALUES.tobytes()
    (tmp_path / "group1-shard1of2").write_bytes(data[:7])
    (tmp_path / "group1-shard2of2").write_bytes(data[7:])
    other = {**ENTRY, "name": "b/bias"}
    groups = manifest(ENTRY, paths=["./group1-shard1of2", "group1-shard2of2"]) + manifest(other)
    found = read_tfjs(write(tmp_path, weightsManifest=groups)).arrays
    assert list(found) == ["a/kernel", "b/bias"]
    assert all((array == VALUES).all() for array in found.values())


@pytest.mark.parametrize("kind", ["float16", "uint8", "uint16"])
def test_quantised_weights(kind: str, tmp_path: Path) -> None:
    how: dict[str, Any] = {"dtype": kind, "original_dtype": "float32"}
    if kind != "float16":
        how |= {"scale": 0.5, "min": -1}
    path = write(tmp_path, VALUES.astype(kind).tobytes(),
                 weightsManifest=manifest({**ENTRY, "quantization": how}))  # fmt: skip
    found = read_tfjs(path).arrays["a/kernel"]
    expected = VALUES if kind == "float16" else VALUES * 0.5 - 1
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def quantised(**how: Any) -> list[Any]:
    return manifest({**ENTRY, "quantization": how})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "graph-model"}, "graph model.*tfjs_layers_model"),
        ({"modelTopology": {"node": []}}, "graph model"),
        ({"modelTopology": 3}, "damaged"),
        ({"weightsManifest": None}, "weightsManifest is no list"),
        ({"weightsManifest": [3]}, "JSON object"),
        ({"weightsManifest": manifest(ENTRY, paths=["../weights.bin"])}, "outside of the folder"),
        ({"weightsManifest": manifest(ENTRY, paths=["/etc/passwd"])}, "outside of the folder"),
        ({"weightsManifest": manifest(ENTRY, paths=["C:\\a"])}, "outside of the folder"),
        ({"weightsManifest": manifest(ENTRY, paths=["link.bin"])}, "outside of the folder"),
        ({"weightsManifest": manifest(ENTRY, paths=["other.bin"])}, "'other.bin', which is not"),
        ({"weightsManifest": manifest(ENTRY, paths=[3])}, "no text"),
        ({"weightsManifest": manifest(ENTRY, paths=["weights.bin"] * 5000)}, "5,000 files"),
        ({"weightsManifest": manifest(ENTRY, ENTRY)}, "beyond the 24 bytes"),
        ({"weightsManifest": manifest()}, "24 bytes of weights are not listed"),
        ({"weightsManifest": manifest({**ENTRY, "dtype": "string"})}, "'string'"),
        ({"weightsManifest": manifest({**ENTRY, "shape": [-2, -3]})}, "shape"),
        ({"weightsManifest": manifest({**ENTRY, "shape": [10**12]})}, "beyond"),
        ({"weightsManifest": manifest({**ENTRY, "name": None})}, "without a name"),
        ({"weightsManifest": quantised(dtype="float32", scale=1)}, ""),
        ({"weightsManifest": quantised(dtype="int32", scale="1")}, "scale and a minimum"),
    ],
)
def test_other_files_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = write(tmp_path / "in", **changes)
    if not said:  # plain values that are said to be quantised
        assert (read_tfjs(path).arrays["a/kernel"] == VALUES).all()
        return
    with pytest.raises(WeightsError, match=rf"model\.json: .*{said}"):
        read_tfjs(path)


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"modelTopology": '], ids=range(4))
def test_no_model_at_all(text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"modelTopology|not JSON"):
        read_tfjs(path)
