"""Files for the browser: LiteRT computes the network from them, and they make its folder again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from heads import HEADS, with_head

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.evaluation.gradcam import class_weights
from mobilenetv2.evaluation.predictions import load_pictures
from mobilenetv2.hub.models import locate
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.serving.device_files import (
    NAMES,
    device_file,
    in_8_bits,
    rounded_arrays,
    why_not,
)
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights import import_checkpoint

SPEC = published("small", width=0.25, classes=5)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "shoes"
    store.save(folder, CONFIG, random_arrays(SPEC))
    return folder


def read(data: bytes) -> Arrays:
    from safetensors.numpy import load

    return load(data)


def test_the_graph_gives_what_the_network_does(place: Path, tmp_path: Path) -> None:
    pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(device_file(place, "model.tflite"))
    engine = create_engine(load_artifact(path), threads=1)
    assert set(engine.outputs) == {"logits", "features", "map"}
    x = np.random.default_rng(0).normal(size=(2, 3, *SPEC.size)).astype(np.float32)
    network = plain.build(SPEC, dtype="float64")
    plain.load(network, random_arrays(SPEC))
    last = engine.run(x, "map")
    assert last.shape[:2] == (2, 1280)
    np.testing.assert_allclose(last.mean((2, 3)), engine.run(x, "features"), rtol=1e-4, atol=1e-5)
    expected = network(x)
    # Weights of 8 bits in 52 layers, one behind the other.
    assert np.abs(engine.run(x, "logits") - expected).max() < 0.05 * np.abs(expected).max()


def test_the_graph_is_a_quarter_of_the_weights(place: Path) -> None:
    small, whole = (device_file(place, name) for name in ("model.tflite", "model.safetensors"))
    # A network as narrow as this one has many biases and tables for its bytes.
    assert len(small) < 0.5 * len(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["published", "embedded"])
def test_photos_get_the_answers_of_the_library(
    name: str, public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    photos = sorted(public_folder("imagenet-samples").glob("*/*"))
    folder = locate("embedded")
    if name == "published":
        file = public_folder("published") / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
        import_checkpoint(file, output=(folder := tmp_path / "m"))
    config, _ = store.load(folder)
    path = tmp_path / "model.tflite"
    path.write_bytes(device_file(folder, "model.tflite"))
    assert path.stat().st_size < 4e6
    x = engine_input(load_pictures(photos, config.preprocessing), config.preprocessing)
    given, library = (
        probabilities(create_engine(load_artifact(place)).run(x, "logits"))
        for place in (path, folder)
    )
    best, everyone = library.argmax(1), np.arange(len(photos))
    assert (given.argmax(1) == best).sum() >= 98
    difference = np.abs(given - library)[everyone, best]
    assert np.median(difference) < 0.01 and difference.max() < 0.1
    if name == "published":  # weights that were stored in 8 bits are kept as they were
        assert difference.max() < 1e-4


@pytest.mark.parametrize("head", HEADS)
def test_the_head_is_what_a_heat_map_needs(head: str, tmp_path: Path) -> None:
    spec = with_head(head)
    arrays = random_arrays(spec)
    store.save(tmp_path / "m", ModelConfig.default(spec), arrays)
    found = read(device_file(tmp_path / "m", "head.safetensors"))
    assert all(array.dtype == np.float32 for array in found.values())
    assert not any(name.startswith(("stem", "blocks", "head")) for name in found)
    channels = found["hidden.0.weight" if "hidden.0.weight" in found else "classifier.weight"]
    maps = np.random.default_rng(0).uniform(size=(2, 3, channels.shape[1]))
    np.testing.assert_array_equal(
        class_weights(spec, found, maps, 0), class_weights(spec, arrays, maps, 0)
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_config_and_weights_are_the_model_folder_as_the_graph_computes_it(
    dtype: str, tmp_path: Path
) -> None:
    arrays = random_arrays(SPEC)
    store.save(tmp_path / "m", CONFIG, arrays, dtype)  # type: ignore[arg-type]
    (tmp_path / "again").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "again" / name).write_bytes(device_file(tmp_path / "m", name))
    config, found = store.load(tmp_path / "again")
    assert config == CONFIG
    _, before = store.load(tmp_path / "m")
    for name, array in before.items():
        if array.ndim == 4:
            step = np.abs(array).max((1, 2, 3), keepdims=True) / 127
            assert (np.abs(found[name] - array) <= 1.01 * step).all()
        else:
            np.testing.assert_array_equal(found[name], array)
    pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(device_file(tmp_path / "m", path.name))
    graph, folder = (create_engine(load_artifact(one)) for one in (path, tmp_path / "again"))
    x = np.random.default_rng(0).normal(size=(2, 3, *SPEC.size)).astype(np.float32)
    features = graph.run(x, "features")
    # Weights of float16 often lie halfway between two of 8 bits. The graph, in whose weights
    # BatchNorm is folded, may take the other one.
    near = (1e-4 if dtype == "float32" else 5e-3) * features.max()
    np.testing.assert_allclose(folder.run(x, "features"), features, atol=near)


def test_weights_that_8_bits_would_change_much_are_stored_in_16(tmp_path: Path) -> None:
    pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    arrays = random_arrays(SPEC)
    for name, array in arrays.items():
        if name.endswith("depthwise.bn.scale") or name.endswith("depthwise.bn.shift"):
            array[0] = 0
        if name.endswith("project.conv.weight"):  # of a channel that is always 0, as of no other
            array[:, 0] = 1000
    store.save(tmp_path / "m", CONFIG, arrays)
    path = tmp_path / "model.tflite"
    path.write_bytes(device_file(tmp_path / "m", path.name))
    shown = engine_input(sample_pictures(CONFIG.preprocessing), CONFIG.preprocessing)
    given, library, rounded = (
        probabilities(create_engine(load_artifact(one)).run(shown, "logits"))
        for one in (path, tmp_path / "m", rounded_folder(tmp_path / "r", arrays))
    )
    assert np.abs(rounded - library).max() > 0.15  # else this tests nothing
    assert np.abs(given - library).max() < 0.05
    for name, array in read(device_file(tmp_path / "m", "model.safetensors")).items():
        wanted = array.astype(np.float16) if array.ndim == 4 else arrays[name]
        np.testing.assert_array_equal(array, wanted, name)
        np.testing.assert_allclose(array, arrays[name], rtol=1e-3, atol=1e-6)


def rounded_folder(place: Path, arrays: Arrays) -> Path:
    store.save(place, CONFIG, rounded_arrays(arrays, in_8_bits))
    return place


def test_no_other_file_is_given(place: Path) -> None:
    for name in ("README.md", "../shoes/config.json", ""):
        with pytest.raises(ArtifactError, match=r"known are: model\.tflite, head"):
            device_file(place, name)


def test_a_damaged_folder_is_refused(place: Path, tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(WeightsError, match="no such model folder"):
            device_file(tmp_path / "none", name)


def test_a_model_folder_runs_in_the_browser(place: Path) -> None:
    assert why_not(place, CONFIG) == ""
