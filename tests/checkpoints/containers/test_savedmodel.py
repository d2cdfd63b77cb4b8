"""SavedModels as data: Keras's config in either file, variables by their full names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: keras)")

from mobilenetv2.checkpoints.containers.reader import recognise_kind
from mobilenetv2.checkpoints.containers.savedmodel import read_savedmodel
from mobilenetv2.errors import WeightsError

CONFIG: dict[str, Any] = {"name": "m", "shape": {"class_name": "__tuple__", "items": [1, 2]}}
TEXT = json.dumps({"class_name": "Sequential", "config": CONFIG}).encode()
FOUND = {"class_name": "Sequential", "config": {"name": "m", "shape": [1, 2]}}


def field(number: int, value: bytes) -> bytes:
    """Return a field of a protocol buffer; lengths of two bytes."""
    return bytes([number << 3 | 2, len(value) & 0x7F | 0x80, len(value) >> 7]) + value


def metadata(identifier: bytes = b"_tf_keras_sequential", text: bytes = TEXT) -> bytes:
    return field(1, field(3, b"root") + field(4, identifier) + field(5, text))


def program(text: bytes = TEXT) -> bytes:
    node = field(4, field(1, b"_tf_keras_sequential") + field(3, text))
    return b"\x08\x01" + field(2, field(7, field(1, node)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A SavedModel's folder with one variable, and a program without anything."""
    import tensorflow as tf

    root = tf.Module()
    root.kernel = tf.Variable(np.arange(3, dtype=np.float32), name="layer/kernel")
    (tmp_path / "variables").mkdir()
    tf.train.Checkpoint(root=root).write(str(tmp_path / "variables" / "variables"))
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    (tmp_path / "scratch").mkdir()
    return tmp_path


def read(folder: Path) -> Any:
    return read_savedmodel(folder / "saved_model.pb", folder / "scratch")


@pytest.mark.parametrize("separate", [True, False])
def test_config_and_variables(separate: bool, folder: Path) -> None:
    assert recognise_kind(folder / "saved_model.pb") == "savedmodel"
    if separate:
        (folder / "keras_metadata.pb").write_bytes(metadata())
    else:
        (folder / "saved_model.pb").write_bytes(program())
    found = read(folder)
    assert found.metadata == {"format": "savedmodel", "config": FOUND}
    np.testing.assert_array_equal(found.arrays["layer/kernel"], [0, 1, 2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (metadata(b"_tf_keras_layer", b"{}"), "without the layers of Keras 2"),
        (metadata(b"tf_module"), "without the layers"),
        (metadata(text=b"{"), "not JSON"),
        (metadata()[:-9], "longer than its message"),
        (b"\xff" * 40, "number without an end"),
        (b"\x0f", "unknown type"),
        (b"\x00\x01", "not a protocol buffer"),
        (b"", "program, which is never run.*\\.keras"),
    ],
    ids=range(8),
)
def test_no_keras_model(content: bytes, said: str, folder: Path) -> None:
    (folder / "keras_metadata.pb").write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        read(folder)


def test_without_variables(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(program())
    (tmp_path / "scratch").mkdir()
    with pytest.raises((WeightsError, OSError)):
        read(tmp_path)
