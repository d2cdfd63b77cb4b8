"""The last feature map on every engine that gives it, against the plain reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, WeightsError
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engines.engine import Output
from mobilenetv2.runtime.engines.onnxruntime import OnnxRuntime
from mobilenetv2.runtime.predictor import (
    create_engine,
    load_artifact,
    load_feature_map,
    load_predictor,
)
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(64, 96), **TINY),
    "same, odd": NetworkSpec(size=(65, 96), numerics=Numerics("same", 1e-3), **TINY),
    "article": published("article-keras", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}
PACKAGES = {"openvino": "openvino", "litert": "ai_edge_litert"}


def saved(spec: NetworkSpec, folder: Path) -> Path:
    store.save(folder, ModelConfig.default(spec), random_arrays(spec))
    return folder


def noise(spec: NetworkSpec, batch: int = 3) -> np.ndarray:
    shape = (batch, *spec.size, spec.input_channels)
    return np.random.default_rng(batch).integers(0, 256, shape, np.uint8)


def expected(spec: NetworkSpec, pictures: np.ndarray) -> dict[str, np.ndarray]:
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    x = engine_input(pictures, ModelConfig.default(spec).preprocessing).transpose(0, 2, 3, 1)
    found: dict[str, np.ndarray] = plain.intermediates(reference, x)
    return found


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())
    assert wanted.std() > 0.05


@pytest.mark.parametrize("runtime", [None, "onnxruntime", "openvino", "litert"])
@pytest.mark.parametrize("name", SPECS)
def test_map_and_logits_of_a_model_folder(name: str, runtime: str | None, tmp_path: Path) -> None:
    if runtime in PACKAGES:
        pytest.importorskip(
            PACKAGES[runtime], reason=f"{runtime} is not installed (extra: {runtime})"
        )
    spec = SPECS[name]
    network = load_feature_map(saved(spec, tmp_path / "m"), runtime)
    pictures = noise(spec)
    logits, maps = network.answer(pictures)
    wanted = expected(spec, pictures)
    same(logits, wanted["logits"])
    same(maps, wanted["head"])
    assert network.config == ModelConfig.default(spec)
    # What lies between the two is a mean and one linear layer: all that Grad-CAM builds on.
    bias = random_arrays(spec)["classifier.bias"]
    made = maps.mean((1, 2)) @ network.arrays["classifier.weight"].T + bias
    np.testing.assert_allclose(made, logits, atol=1e-3 * np.abs(logits).max())


@pytest.mark.parametrize("form", [
    Form(), Form(pictures=True), Form(batch=2), Form(any_size=True), Form(features=True),
    Form(opset=13),
], ids=str)  # fmt: skip
def test_an_exported_onnx_file_gives_its_map_too(form: Form, tmp_path: Path) -> None:
    spec = SPECS["symmetric"]
    path = tmp_path / "m.onnx"
    config = ModelConfig.default(spec)
    path.write_bytes(form.onnx(lower_folded(config, fold(spec, random_arrays(spec)))))
    network = load_feature_map(path)
    pictures = noise(spec)
    logits, maps = network.answer(pictures)
    wanted = expected(spec, pictures)
    same(logits, wanted["logits"])
    same(maps, wanted["head"])
    np.testing.assert_array_equal(
        network.arrays["classifier.weight"], random_arrays(spec)["classifier.weight"]
    )
    _, predict = load_predictor(path)
    np.testing.assert_array_equal(predict(pictures), logits)


def test_for_the_map_alone_the_network_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, runs = SPECS["symmetric"], []
    run = OnnxRuntime.run

    def counted(self: OnnxRuntime, x: np.ndarray, output: Output) -> np.ndarray:
        runs.append(output)
        return run(self, x, output)

    monkeypatch.setattr(OnnxRuntime, "run", counted)
    network = load_feature_map(saved(spec, tmp_path / "m"))
    pictures = noise(spec)
    maps = network.maps(pictures)
    assert runs == ["map"]
    np.testing.assert_array_equal(maps, network.answer(pictures)[1])


def test_with_batch_norm_left_in(tmp_path: Path) -> None:
    spec = SPECS["same, odd"]
    path = tmp_path / "m.onnx"
    path.write_bytes(
        write_onnx(lower(ModelConfig.default(spec), random_arrays(spec), folded=False))
    )
    pictures = noise(spec)
    same(load_feature_map(path).answer(pictures)[1], expected(spec, pictures)["head"])


def test_what_predict_builds_has_no_map(tmp_path: Path) -> None:
    folder = saved(SPECS["symmetric"], tmp_path / "m")
    engine = create_engine(load_artifact(folder))
    assert engine.outputs == ("logits", "features")
    with pytest.raises(ArtifactError, match="m: it has no map, only logits, features"):
        engine.run(np.zeros((1, 3, 64, 96), np.float32), "map")


def test_files_that_give_logits_only_say_what_to_give_instead(tmp_path: Path) -> None:
    spec = SPECS["symmetric"]
    path = tmp_path / "m.tflite"
    path.write_bytes(write_litert(lower(ModelConfig.default(spec), random_arrays(spec))))
    with pytest.raises(ArtifactError, match=r"m\.tflite: .* the model folder"):
        load_feature_map(path)
    with pytest.raises(MobileNetV2Error, match="the runtime mnn runs exported files only"):
        load_feature_map(saved(spec, tmp_path / "m"), "mnn")
    with pytest.raises(WeightsError, match="no such model folder"):
        load_feature_map(tmp_path / "none")
