"""LiteRT's files, read with their config, changed ones refused; the integers of its tensors."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from graph_forms import Form

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.graph.litert import CONFIG, sealed, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.litert import read_artifact, real, stored
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
OURS = ModelConfig.default(SPEC)


def data() -> bytes:
    return write_litert(lower(OURS, random_arrays(SPEC)))


def flatbuffer(file: bytes) -> bytes:
    """What lies before the archive."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return file[: min(entry.header_offset for entry in archive.infolist())]


@pytest.mark.parametrize("form", [Form(), Form(features=True), Form(half=True)])
def test_every_form_is_read_with_its_config(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(form.litert(lower(OURS, random_arrays(SPEC))))
    found = read_artifact(path)
    assert (found.config, found.graph, found.format) == (OURS, path.read_bytes(), "litert")


def test_a_flipped_bit_in_a_weight_is_refused(tmp_path: Path) -> None:
    path, changed = tmp_path / "m.tflite", bytearray(data())
    weight = random_arrays(SPEC)["classifier.weight"].astype("<f4").tobytes()
    changed[changed.index(weight) + len(weight) // 2] ^= 4
    path.write_bytes(changed)
    with pytest.raises(ArtifactError, match=r"m\.tflite: it was changed or damaged"):
        read_artifact(path)


@pytest.mark.parametrize(
    "other", [SPEC.replace(size=(40, 32)), SPEC.replace(classes=5), SPEC.replace(input_channels=1)]
)
def test_another_networks_metadata_is_refused_even_with_a_seal(
    tmp_path: Path, other: NetworkSpec
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(sealed(flatbuffer(data()), ModelConfig.default(other)))
    with pytest.raises(ArtifactError, match=r"m\.tflite: .* describes another network"):
        read_artifact(path)


def test_somebody_elses_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(flatbuffer(data()))
    with pytest.raises(ArtifactError, match="'mobilenetv2 weights import"):
        read_artifact(path)


def test_an_archive_that_inflates_is_not_opened(tmp_path: Path) -> None:
    path, memory = tmp_path / "m.tflite", io.BytesIO()
    memory.write(flatbuffer(data()))
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, b" " * 50_000_000)
    path.write_bytes(memory.getvalue())
    with pytest.raises(ArtifactError, match="the config inside it was changed or damaged"):
        read_artifact(path)


def test_what_is_no_litert_file_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"no graph at all")
    with pytest.raises(WeightsError, match=r"m\.tflite: not a LiteRT file"):
        read_artifact(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_always_refused(seed: int, tmp_path: Path) -> None:
    random, path, whole = np.random.default_rng(seed), tmp_path / "m.tflite", data()
    for _ in range(15):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 1 + int(random.integers(20))):
            damaged[place] ^= int(random.integers(1, 256))
        if random.random() < 0.3:
            damaged = damaged[: random.integers(0, len(whole))]
        if bytes(damaged) == whole:
            continue  # two changes of one byte took each other back
        path.write_bytes(damaged)
        with pytest.raises((ArtifactError, WeightsError), match=r"m\.tflite"):
            read_artifact(path)


def test_integers_stand_for_numbers_and_halves_go_to_even() -> None:
    tensor = {"quantization": (0.5, -3), "dtype": np.int8}
    values = np.array([-1000, -0.75, -0.25, 0, 0.25, 0.75, 1000], np.float32)
    found = stored(values, tensor)
    assert found.dtype == np.int8
    assert found.tolist() == [-128, -5, -3, -3, -3, -1, 127]
    np.testing.assert_array_equal(real(found, tensor), [-62.5, -1, 0, 0, 0, 1, 65])
    plain_tensor = {"quantization": (0.0, 0), "dtype": np.float32}
    assert stored(values, plain_tensor) is values
