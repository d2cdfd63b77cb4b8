"""Keras's bare weights of every generation, written without Keras."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("h5py", reason="h5py is not installed (extra: keras; make test-all)")

from mobilenetv2.checkpoints.containers import hdf5
from mobilenetv2.checkpoints.dialects.keras import DIALECT, by_layer, numbered_layers
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels

SPEC = published("keras", width=0.35, classes=5)
ARRAYS = random_arrays(SPEC)
Layers = dict[str, dict[str, NDArray]]


def layers(arrays: Arrays = ARRAYS) -> Layers:
    return by_layer(DIALECT.encode(SPEC, arrays))


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def keras_applications(name: str) -> str:
    """As keras-team/keras-applications names its layers."""
    return "Logits" if name == "predictions" else name


def first_published(name: str) -> str:
    """As JonathanCMitchell/mobilenet_v2_keras, which made the published files, names them."""
    name = keras_applications(name).replace("expanded_conv_", "block_0_")
    found = re.fullmatch(r"block_(\d+)_([a-z]+)(_BN)?", name)
    if not found:
        return name
    n, part, norm = found.groups()
    return f"bn{n}_conv_{n}_bn_{part}" if norm else f"mobl{n}_conv_{n}_{part}"


def someones_own(name: str) -> str:
    """No name that says anything, in no alphabetical order."""
    return f"layer_{hash_of(name)}"


def hash_of(name: str) -> str:
    return "".join(f"{(ord(letter) * 7) % 97:02}" for letter in name)


GENERATIONS = [str, keras_applications, first_published, someones_own]


def legacy(path: Path, rename: Callable[[str], str], found: Layers) -> Path:
    rows = [
        (name, [(f"{name}/{variable}:0", array) for variable, array in parts.items()])
        for name, parts in ((rename(layer), parts) for layer, parts in found.items())
    ]
    path.write_bytes(hdf5.legacy_keras_bytes(rows))
    return path


@pytest.mark.parametrize("rename", GENERATIONS)
def test_every_generation_of_names(rename: Callable[[str], str], tmp_path: Path) -> None:
    config, arrays = read_checkpoint(legacy(tmp_path / "m.h5", rename, layers()))
    assert config.origin is not None and config.origin.dialect == "keras"
    assert config.spec == SPEC and same(arrays, ARRAYS)


@pytest.mark.parametrize("rename", GENERATIONS)
def test_without_the_classifier(rename: Callable[[str], str], tmp_path: Path) -> None:
    found = {layer: parts for layer, parts in layers().items() if layer != "predictions"}
    path = legacy(tmp_path / "m_no_top.h5", rename, found)
    config, arrays = read_checkpoint(path, ImportOptions(labels=Labels(("cat", "dog"))))
    assert config.origin is not None and "without a classifier" in config.origin.note
    assert all(np.array_equal(arrays[n], ARRAYS[n]) for n in ARRAYS if "classifier" not in n)


@pytest.mark.parametrize("rename", GENERATIONS[2:])
def test_by_order_every_shape_is_checked(rename: Callable[[str], str], tmp_path: Path) -> None:
    found = layers()
    swapped = list(found)
    one, other = swapped.index("block_4_depthwise"), swapped.index("block_7_depthwise")
    swapped[one], swapped[other] = swapped[other], swapped[one]
    path = legacy(tmp_path / "m.h5", rename, {name: found[name] for name in swapped})
    with pytest.raises(DialectError, match=r"2 of another shape .first: block_4_depthwise/kernel"):
        read_checkpoint(path)


def test_a_base_model_inside_in_the_old_format(tmp_path: Path) -> None:
    """All its variables in one layer, those that are trained first."""
    found = layers()
    head = found.pop("predictions")
    flat = [(f"{layer}/{variable}:0", array) for layer, parts in found.items()
            for variable, array in parts.items()]  # fmt: skip
    flat.sort(key=lambda item: "moving" in item[0])
    path = tmp_path / "m.h5"
    dense = [(f"model/dense_3/{variable}:0", array) for variable, array in head.items()]
    path.write_bytes(hdf5.legacy_keras_bytes([("mobilenetv2_0.35_96", flat), ("dense_3", dense)]))
    config, arrays = read_checkpoint(path)
    assert config.spec == SPEC and same(arrays, ARRAYS)


@pytest.mark.parametrize("names", [True, False])
def test_a_base_model_inside_in_keras_3(names: bool, tmp_path: Path) -> None:
    found = layers()
    folders = {
        (folder if layer == "predictions" else f"layers/functional/{folder}"): layer
        for folder, layer in numbered_layers(SPEC).items()
    }
    said = {
        f"{folder}/vars": "dense_8" if layer == "predictions" else layer
        for folder, layer in folders.items()
    }
    path = tmp_path / "m.weights.h5"
    entries = [(folder, list(found[layer].values())) for folder, layer in folders.items()]
    path.write_bytes(hdf5.keras3_bytes(entries))
    if names:
        import h5py

        with h5py.File(path, "r+") as file:
            for folder, name in said.items():
                file[folder].attrs["name"] = name
    config, arrays = read_checkpoint(path)
    assert config.spec == SPEC and same(arrays, ARRAYS)


def test_two_linear_layers_are_no_classifier(tmp_path: Path) -> None:
    found = layers()
    found["dense"] = found.pop("predictions")
    found["dense_1"] = {"kernel": np.zeros((5, 2), np.float32), "bias": np.zeros(2, np.float32)}
    path = legacy(tmp_path / "m.h5", str, found)
    with pytest.raises(DialectError, match=r"dense and dense_1.*whole model.*body=True"):
        read_checkpoint(path)
    config, arrays = read_checkpoint(path, ImportOptions(body=True, size=(96, 96)))
    assert config.origin is not None and config.origin.untrained_classifier
    assert config.spec.size == (96, 96)
    np.testing.assert_array_equal(arrays["head.bn.mean"], ARRAYS["head.bn.mean"])


def test_bare_weights_say_that_their_size_is_assumed(tmp_path: Path) -> None:
    path = legacy(tmp_path / "m.h5", str, layers())
    origins = [
        read_checkpoint(path, ImportOptions(size=size))[0].origin for size in (None, (96, 96))
    ]
    notes = [origin.note for origin in origins if origin is not None]
    assert "224 x 224 is assumed" in notes[0] and "size" in notes[0]
    assert not notes[1]
