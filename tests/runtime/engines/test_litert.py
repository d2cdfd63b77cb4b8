"""LiteRT's files, read with their config, changed ones refused; the integers of its tensors."""

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form, scheme_of
from heads import BLOCKS, HEADS, with_head

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.graph.graph import Graph
from mobilenetv2.graph.litert import CONFIG, Storage, sealed, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.litert import read_artifact, real, stored
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


@pytest.mark.parametrize(
    "form",
    [
        Form(), Form(features=True), Form(half=True), Form(pictures=True), Form(last_map=True),
        Form(half=True, pictures=True, features=True), Form(light=True),
        Form(light=True, pictures=True, features=True, last_map=True),
    ],
)  # fmt: skip
def test_every_form_is_read_with_its_config(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(form.litert(lower(OURS, random_arrays(SPEC))))
    found = read_artifact(path)
    assert (found.config, found.graph, found.format) == (OURS, path.read_bytes(), "litert")


@pytest.mark.parametrize("spec", [*map(with_head, HEADS), *BLOCKS.values()])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_every_network_is_read(
    tmp_path: Path, spec: NetworkSpec, probabilities: bool, storage: Storage
) -> None:
    path, graph = tmp_path / "m.tflite", lower(ModelConfig.default(spec), random_arrays(spec))
    path.write_bytes(write_litert(graph, storage, probabilities=probabilities))
    assert read_artifact(path).config.spec == spec


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_every_kind_of_quantisation_is_read(
    tmp_path: Path, unsigned: bool, probabilities: bool, per_channel: bool
) -> None:
    path, graph = tmp_path / "m.tflite", scheme_of(SPEC, per_channel).quantised()
    path.write_bytes(write_litert(graph, unsigned=unsigned, probabilities=probabilities))
    assert read_artifact(path).config == OURS


def changed(graph: Graph, at: int, **changes: Any) -> Graph:
    """Return the graph with another operation, which its config does not have."""
    operations = list(graph.operations)
    operations[at] = dataclasses.replace(operations[at], **changes)
    return graph.replace(operations=tuple(operations))


ATTACKS: dict[str, Callable[[Graph], Graph]] = {
    "stride": lambda graph: changed(graph, 0, stride=3),
    "padding": lambda graph: changed(graph, 0, padding=((2, 0), (0, 2))),
    "activation": lambda graph: changed(graph, 0, activation="relu"),
    "pooling": lambda graph: changed(graph, -2, kind="max"),
    "weight of NaN": lambda graph: changed(graph, -1, bias=np.full(4, np.nan, np.float32)),
    "no bias": lambda graph: changed(graph, -1, bias=None),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_a_sealed_graph_that_is_not_its_configs_is_refused(
    tmp_path: Path, attack: str, storage: Storage
) -> None:
    path, graph = tmp_path / "m.tflite", lower(OURS, random_arrays(SPEC))
    path.write_bytes(write_litert(ATTACKS[attack](graph), storage))
    with pytest.raises(ArtifactError, match=r"m\.tflite: .*another network"):
        read_artifact(path)


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
