"""Keras's files: HDF5 of both ages, read and written, archives, and those that lie."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.bounds import MOST_ENTRIES
from mobilenetv2.checkpoints.containers.hdf5 import (
    DEEPEST,
    Layers,
    keras3_bytes,
    legacy_keras_bytes,
    parse_keras_json,
)
from mobilenetv2.errors import WeightsError

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
Open = Callable[[Path], Container]
SECRET = 1234.5


def legacy(group: Any, layers: dict[str, dict[str, Any]], pieces: int = 0) -> None:
    """As Keras 2 writes it; ``pieces``: the list of layers in as many attributes."""
    names = np.array([layer.encode() for layer in layers])
    if pieces:
        for number, part in enumerate(np.array_split(names, pieces)):
            group.attrs[f"layer_names{number}"] = part
    else:
        group.attrs["layer_names"] = names
    for layer, weights in layers.items():
        inner = group.create_group(layer)
        inner.attrs["weight_names"] = [name.encode() for name in weights]
        for name, array in weights.items():
            inner[name] = array


LAYERS: dict[str, dict[str, Any]] = {
    "Conv1": {"Conv1/kernel:0": np.arange(24, dtype="f4").reshape(2, 3, 4)},
    "Conv1_relu": {},
    "bn": {"bn/gamma:0": np.ones(4, "f4"), "moving_mean:0": np.zeros(4, ">f8")},
}
NAMES = ["Conv1/kernel:0", "bn/gamma:0", "bn/moving_mean:0"]


@pytest.mark.parametrize("root", ["", "model_weights"])
@pytest.mark.parametrize("pieces", [0, 2])
def test_legacy_files_come_in_the_order_of_their_lists(
    opened: Open, tmp_path: Path, root: str, pieces: int
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group(root) if root else file
        legacy(group, LAYERS, pieces)
        group.attrs["keras_version"] = "2.2.4-tf"
        if root:
            file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": [1, None]})
            file["optimizer_weights/iterations:0"] = 3
    found = opened(tmp_path / "a.h5")
    assert list(found.arrays) == NAMES
    np.testing.assert_array_equal(
        found.arrays[NAMES[0]], LAYERS["Conv1"]["Conv1/kernel:0"], strict=True
    )
    assert found.arrays[NAMES[2]].dtype == np.float64
    expected = [["Conv1", NAMES[:1]], ["Conv1_relu", []], ["bn", NAMES[1:]]]
    assert json.loads(json.dumps(found.metadata["layers"])) == expected
    assert found.metadata["format"] == "keras-legacy"
    assert found.metadata["keras_version"] == "2.2.4-tf"
    if root:
        assert found.metadata["model_config"] == {"class_name": "Model", "config": [1, None]}


def test_keras_3_files_come_by_path_with_their_layers_names(opened: Open, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.ones((3, 3), "f2")
        file["layers/conv2d/vars"].attrs["name"] = "Conv1"
        file["_layer_checkpoint_dependencies/dense/vars/0"] = np.ones(2, "i4")
    found = opened(tmp_path / "a.weights.h5")
    assert found.metadata["format"] == "keras-3"
    assert found.metadata["names"] == {"layers/conv2d/vars": "Conv1"}
    assert {name: array.dtype.name for name, array in found.arrays.items()} == {
        "layers/conv2d/vars/0": "float16", "_layer_checkpoint_dependencies/dense/vars/0": "int32",
    }  # fmt: skip


def test_other_files_come_by_path(opened: Open, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        values = np.random.default_rng(0).normal(size=(100, 100))
        file.create_dataset("a/b", data=values, chunks=(7, 100), compression="gzip", shuffle=True)
        file.create_dataset("a/c", data=values, compression="lzf", fletcher32=True)
    found = opened(tmp_path / "a.hdf5")
    assert found.metadata["format"] == "hdf5"
    for name in ("a/b", "a/c"):
        np.testing.assert_array_equal(found.arrays[name], values, strict=True)


def external_link(file: Any, secret: Path) -> None:
    file["a"] = h5py.ExternalLink(str(secret), "values")


def soft_link(file: Any, secret: Path) -> None:
    external_link(file, secret)
    del file["a"]
    file["b"] = np.zeros(3)
    file["a"] = h5py.SoftLink("/b")


def external_storage(file: Any, secret: Path) -> None:
    raw = secret.with_suffix(".raw")
    np.full(3, SECRET).tofile(raw)
    file.create_dataset("a", (3,), "f8", external=[(str(raw), 0, 24)])
    assert file["a"][0] == SECRET


def virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "values", (3,))
    file.create_virtual_dataset("a", layout)
    assert file["a"][0] == SECRET


def cycle(file: Any, secret: Path) -> None:
    file["a/b/c"] = np.zeros(3)
    file["a/b/d"] = file["a"]


def twice(file: Any, secret: Path) -> None:
    file["a"] = np.zeros(3)
    file["b"] = file["a"]


def deep(file: Any, secret: Path) -> None:
    file["/".join("a" * (DEEPEST + 2))] = np.zeros(3)


def huge_empty(file: Any, secret: Path) -> None:
    file.create_dataset("a", (2**40,), "f4")


def huge_chunks(file: Any, secret: Path) -> None:
    file.create_dataset("a", (2**16, 2**10), "f4", chunks=(2**8, 2**10), compression="gzip")


def one_huge_chunk(file: Any, secret: Path) -> None:
    file.create_dataset("a", (9,), "f4", maxshape=(None,), chunks=(2**25,), compression="gzip")
    file["a"][:] = 1
    assert file["a"].id.get_storage_size() < 2**20


def bomb(file: Any, secret: Path) -> None:
    file.create_dataset("a", data=np.zeros(2**26, "u1"), chunks=(2**24,), compression="gzip")
    file.create_dataset("b", data=np.zeros(2**24, "u1"), chunks=(2**24,), compression="gzip")


def unwritten_chunks(file: Any, secret: Path) -> None:
    file.create_dataset("a", (2**20,), "f4", chunks=(2**10,))


def text(file: Any, secret: Path) -> None:
    file["a"] = ["text", "of", "any length"]


def compound(file: Any, secret: Path) -> None:
    file["a"] = np.zeros(3, [("x", "f4"), ("y", "f4")])


def ragged(file: Any, secret: Path) -> None:
    file.create_dataset("a", (3,), h5py.vlen_dtype(np.float32))


def reference(file: Any, secret: Path) -> None:
    file["b"] = np.zeros(3)
    file["a"] = np.array([file["b"].ref], h5py.ref_dtype)


def named_type(file: Any, secret: Path) -> None:
    file["a"] = np.dtype("f4")


def nothing(file: Any, secret: Path) -> None:
    file["a"] = h5py.Empty("f4")


def scaled(file: Any, secret: Path) -> None:
    file.create_dataset("a", data=np.arange(300), chunks=(300,), scaleoffset=0)


def crowded(file: Any, secret: Path) -> None:
    for number in range(MOST_ENTRIES + 1):
        file.create_group(str(number))


def listed(file: Any, secret: Path) -> None:
    legacy(file, LAYERS)
    del file["bn/moving_mean:0"]


def listed_elsewhere(file: Any, secret: Path) -> None:
    legacy(file, LAYERS)
    file.attrs["layer_names"] = [b"Conv1", b"../secret"]


def listed_twice(file: Any, secret: Path) -> None:
    legacy(file, LAYERS)
    file["bn"].attrs["weight_names"] = [b"bn/gamma:0", b"bn/gamma:0"]


def no_json(file: Any, secret: Path) -> None:
    file.attrs["model_config"] = "{" * 10


WRONG: list[tuple[Callable[[Any, Path], None], str]] = [
    (external_link, "'a' is a link to another place or file, which is not read"),
    (soft_link, "'a' is a link to another place or file, which is not read"),
    (external_storage, "'a' is stored in another file"),
    (virtual, "'a' is stored in another file"),
    (cycle, "'a/b/d' is linked to twice, or to itself"),
    (twice, "'b' is linked to twice, or to itself"),
    (deep, "groups more than 32 deep"),
    (huge_empty, "'a' is larger than the file"),
    (huge_chunks, "'a' is declared larger than the file can hold"),
    (one_huge_chunk, "'a' has pieces larger than the file"),
    (bomb, "'b' is declared larger than the file can hold"),
    (unwritten_chunks, "'a' is larger than the file"),
    (text, "'a' has values of type object"),
    (compound, "'a' has values of type"),
    (ragged, "'a' has values of type object"),
    (reference, "'a' has values of type object"),
    (named_type, "'a' is neither an array nor a group"),
    (nothing, "'a' has values of type float32, which no network has|'a' has no values"),
    (scaled, "'a' is compressed by an unsupported filter"),
    (crowded, "more than 20,000 entries"),
    (listed, "'bn/moving_mean:0' is listed but missing"),
    (listed_elsewhere, "the layer '../secret' is listed but missing"),
    (listed_twice, "'bn/gamma:0' is listed twice"),
    (no_json, "its model_config: not JSON"),
]


@pytest.mark.parametrize(
    ("make", "message"), WRONG, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_file_that_leads_elsewhere_or_lies_is_refused(
    opened: Open, tmp_path: Path, make: Callable[[Any, Path], None], message: str
) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.full(3, SECRET)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        make(file, secret)
    with pytest.raises(WeightsError, match=message) as caught:
        opened(path)
    assert str(caught.value).startswith(f"{path}: ") and str(SECRET) not in str(caught.value)


def test_an_entry_named_like_a_path_is_refused(opened: Open, tmp_path: Path) -> None:
    """The library writes no such name; a hostile file may: 'aXb' with the X made a slash."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["aXb"] = np.zeros(3)
    content = path.read_bytes()
    assert content.count(b"aXb") == 1
    path.write_bytes(content.replace(b"aXb", b"a/b"))
    with pytest.raises(WeightsError, match="an entry is named 'a/b'"):
        opened(path)


def test_json_nested_too_deep_is_refused() -> None:
    with pytest.raises(WeightsError, match="its config: not JSON"):
        parse_keras_json("[" * 200_000, "config")


pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
WRITTEN: Layers = [
    ("Conv1", [("Conv1/kernel:0", np.arange(6, dtype="f4").reshape(2, 3))]),
    ("bn", [("bn/gamma:0", np.ones(3, "f4")), ("bn/beta:0", np.zeros((), "f2"))]),
]


def test_what_is_written_is_read_and_is_always_the_same(opened: Open, tmp_path: Path) -> None:
    assert legacy_keras_bytes(WRITTEN) == legacy_keras_bytes(WRITTEN)
    (tmp_path / "a.h5").write_bytes(legacy_keras_bytes(WRITTEN))
    found = opened(tmp_path / "a.h5")
    expected = {name: array for _, weights in WRITTEN for name, array in weights}
    assert list(found.arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)

    entries: list[tuple[str, list[NDArray]]] = [
        ("layers/conv2d", [np.ones((2, 3), "f4")]),
        ("layers/dense", [np.ones(3), np.ones(2)]),
    ]
    assert keras3_bytes(entries) == keras3_bytes(entries)
    (tmp_path / "a.weights.h5").write_bytes(keras3_bytes(entries))
    found = opened(tmp_path / "a.weights.h5")
    paths = ["layers/conv2d/vars/0", "layers/dense/vars/0", "layers/dense/vars/1"]
    assert list(found.arrays) == paths


def network(seed: int) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    model = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=5
    )
    random = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape).astype(np.float32))
    return model


def same_weights(one: Any, other: Any) -> None:
    assert len(one.weights) == len(other.weights) == 262
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy(), strict=True)


@pytest.mark.slow
def test_keras_loads_what_is_written_and_we_read_what_keras_saves(
    opened: Open, tmp_path: Path
) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    model = network(0)
    path = tmp_path / "a.h5"
    layers = [
        (
            layer.name,
            [(f"{layer.name}/{weight.name}:0", weight.numpy()) for weight in layer.weights],
        )
        for layer in model.layers
        if layer.weights
    ]
    path.write_bytes(legacy_keras_bytes(layers))
    other = network(1)
    other.load_weights(path)
    same_weights(model, other)

    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    found = opened(path)
    named: dict[tuple[str, str], NDArray] = {}
    for name, array in found.arrays.items():
        folder, _, place = name.rpartition("/")
        named[found.metadata["names"][folder], place] = array
    for layer in model.layers:
        for number, weight in enumerate(layer.weights):
            np.testing.assert_array_equal(
                named[layer.name, str(number)], weight.numpy(), strict=True
            )
    entries: dict[str, list[Any]] = {}
    for name, array in found.arrays.items():
        entries.setdefault(name.rpartition("/vars/")[0], []).append(array)
    path.write_bytes(keras3_bytes(list(entries.items())))
    other = network(1)
    other.load_weights(path)
    same_weights(model, other)

    for path in (tmp_path / "b.h5", tmp_path / "b.keras"):
        save(model, path)
        found = opened(path)
        key = "model_config" if path.suffix == ".h5" else "config"
        assert found.metadata[key]["class_name"] == "Functional"
        assert found.metadata[key]["config"]["name"] == model.name
        loaded = keras.models.load_model(path, compile=False)
        same_weights(model, loaded)
        assert len(found.arrays) == 262
        if path.suffix == ".h5":
            for weight in model.weights:
                np.testing.assert_array_equal(found.arrays[weight.path], weight.numpy())


def save(model: Any, path: Path) -> None:
    import logging

    logging.disable(logging.WARNING)  # that .h5 is legacy is why it is tested
    try:
        model.save(path)
    finally:
        logging.disable(logging.NOTSET)


KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)
CONFIG = {"class_name": "Functional", "config": {"name": "mobilenetv2"}}


def members() -> dict[str, bytes]:
    return {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}).encode(),
        "config.json": json.dumps(CONFIG).encode(),
        "model.weights.h5": keras3_bytes([("layers/conv2d", [KERNEL])]),
    }


def archive(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_three_members_are_read(opened: Open, tmp_path: Path, compression: int) -> None:
    found = opened(archive(tmp_path / "a.keras", members(), compression))
    np.testing.assert_array_equal(found.arrays["layers/conv2d/vars/0"], KERNEL, strict=True)
    assert found.metadata["config"] == CONFIG
    assert found.metadata["saved"] == {"keras_version": "3.15.1"}
    assert found.metadata["format"] == "keras-3"


def test_names_of_members_are_never_paths(opened: Open, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    strange = {"../../elsewhere": b"x", str(elsewhere): b"x", "assets/../../elsewhere": b"x"}
    inner = tmp_path / "inner"
    inner.mkdir()
    found = opened(archive(inner / "a.keras", members() | strange))
    assert list(found.arrays) == ["layers/conv2d/vars/0"]
    assert not elsewhere.exists() and sorted(tmp_path.iterdir()) == [inner]


def test_links_inside_the_weights_are_refused(opened: Open, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/hostname", "/")
    path = archive(tmp_path / "a.keras", members() | {"model.weights.h5": buffer.getvalue()})
    with pytest.raises(WeightsError, match="'layers' is a link to another place"):
        opened(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": b"import os"}, "its config.json: not JSON"),
        ({"config.json": b"[" * 100_000}, "its config.json: not JSON"),
        ({"config.json": b" " * (17 * 1024**2)}, "its config.json is larger than"),
        ({"model.weights.h5": b"nothing"}, "damaged HDF5 file"),
        ({"assets/zeros": bytes(10**8)}, "'assets/zeros' is declared larger than the file can"),
    ],
)
def test_members_that_lie_are_refused(
    opened: Open, tmp_path: Path, change: dict[str, bytes], message: str
) -> None:
    path = archive(tmp_path / "a.keras", members() | change, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=message):
        opened(path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_member_is_named(opened: Open, tmp_path: Path, name: str) -> None:
    content = {key: data for key, data in members().items() if key != name}
    with pytest.raises(WeightsError, match=f"not a .keras archive: it has no {name}"):
        opened(archive(tmp_path / "a.keras", content))
