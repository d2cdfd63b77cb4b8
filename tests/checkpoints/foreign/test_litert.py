"""Facts of LiteRT files of other programs, and operators that only another program has."""

import io
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from mobilenetv2.checkpoints.foreign.litert import litert_facts
from mobilenetv2.errors import WeightsError
from mobilenetv2.graph.flatbuffer import Builder, Quantisation
from mobilenetv2.graph.litert import Storage, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

PATH = Path("net.tflite")
SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


def data(storage: Storage = "float32") -> bytes:
    return write_litert(lower(CONFIG, random_arrays(SPEC)), storage)


@pytest.mark.parametrize("storage", get_args(Storage))
def test_the_facts_of_a_classifier(storage: Storage) -> None:
    found = litert_facts(data(storage), PATH)
    assert (found.size, found.channels, found.layout) == (SPEC.size, 3, "NHWC")
    assert (found.batch, found.classes, found.meaning) == (1, 4, "linear")
    assert found.input_range is None and found.scaled is None
    assert found.normalisation is not None
    assert np.allclose(found.normalisation[0], CONFIG.preprocessing.mean)
    assert found.labels is not None and found.labels.names == CONFIG.labels.names
    assert "labels.txt" in found.labels_from


@pytest.mark.parametrize("twice", [False, True])
def test_a_float_input_that_becomes_integers_has_their_range(twice: bool) -> None:
    """TensorFlow's converter writes it so by default."""
    file = Builder()
    start = file.tensor("picture", (1, 8, 8, 3))
    step = Quantisation(np.array([1 / 127.5], np.float32), -1)
    levels = file.operator("QUANTIZE", [start], file.tensor("q", (1, 8, 8, 3), "int8", step))
    real = file.operator("DEQUANTIZE", [levels], file.tensor("r", (1, 8, 8, 3)))
    if twice:  # the floats are used, too
        real = file.operator("ADD", [real, start], file.tensor("s", (1, 8, 8, 3)))
    axes = file.constant("axes", np.array([1, 2], np.int32))
    end = file.operator("MEAN", [real, axes], file.tensor("y", (1, 3)))
    found = litert_facts(file.finish(start, [end]), PATH)
    assert found.input_type == "float32"
    assert found.input_range == (None if twice else pytest.approx((-0.996, 1.004), abs=1e-3))


def test_labels_of_another_number_are_not_taken() -> None:
    file = io.BytesIO(data())
    with zipfile.ZipFile(file) as archive:
        start = min(entry.header_offset for entry in archive.infolist())
    plain = data()[:start]
    more = io.BytesIO()
    with zipfile.ZipFile(more, "w") as archive:
        archive.writestr("labels.txt", "a\nb\n")
    assert litert_facts(plain + more.getvalue(), PATH).labels is None


@pytest.mark.parametrize("cut", [0, 4, 40, 400, 4000])
def test_a_damaged_file_is_an_error(cut: int) -> None:
    with pytest.raises(WeightsError, match=r"^net\.tflite: "):
        litert_facts(data()[:cut], PATH)


def test_flipped_bytes_are_facts_or_an_error() -> None:
    whole, random = data(), np.random.default_rng(0)
    start = min(len(whole), 20_000)
    for _ in range(200):
        changed = bytearray(whole)
        for at in random.integers(0, start, 3):
            changed[-int(at) - 1] = int(random.integers(256))
        try:
            litert_facts(bytes(changed), PATH)
        except WeightsError as error:
            assert str(error).startswith("net.tflite: ")
