"""Which of runtimes and devices computes for a model, and options that do not go together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.loading import load_model, load_network, with_flips
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing


def noise(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.fixture
def exported(model: Path, tmp_path: Path) -> Path:
    assert main(["export", str(model), str(tmp_path / "m.onnx")]) == 0
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(("runtime", "name"), [(None, "onnxruntime"), ("torch", "torch")])
@pytest.mark.parametrize("outputs", ["logits", "features"])
def test_a_model_folder_runs_on_an_engine_or_in_pytorch(
    runtime: str | None, name: str, outputs: Any, model: Path
) -> None:
    loaded = load_model(str(model), outputs, runtime=runtime, threads=1)
    assert (loaded.runtime, loaded.place) == (name, model)
    assert loaded.config == store.load_config(model)
    expected = load_model(model, outputs, runtime="onnxruntime").predict(noise())
    found = loaded.predict(noise())
    assert found.shape == (3, 3 if outputs == "logits" else 1280)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1, expected.max()))


def test_an_exported_file_runs_on_what_runs_it(model: Path, exported: Path) -> None:
    loaded = load_model(exported)
    assert loaded.runtime == "onnxruntime"
    expected = load_model(model).predict(noise())
    np.testing.assert_allclose(loaded.predict(noise()), expected, rtol=0, atol=1e-5)


def test_without_a_path_it_is_a_name(tmp_path: Path) -> None:
    assert len(load_model("embedded").config.labels) == 10
    with pytest.raises(WeightsError, match="no such model folder, nor a name"):
        load_model(tmp_path / "none")


def test_a_run_is_no_model_but_its_best_is(trained: Path) -> None:
    with pytest.raises(WeightsError, match=f"did you mean {trained / 'best'}"):
        load_model(trained)
    assert len(load_model(trained / "best").config.labels) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "runtime 'tensorrt' is unknown; known are: executorch, litert,"),
        ({"runtime": "onnx-runtime"}, "runtime 'onnx-runtime' is unknown; did you mean 'onnxrunti"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "onnxruntime runs on the CPU only"),
        ({"runtime": "mnn"}, "the runtime mnn runs exported files only"),
        ({"threads": 0}, "threads 0 must be at least 1"),
        ({"threads": 0, "runtime": "torch"}, "threads 0 must be at least 1"),
        ({"device": "gpu"}, "PyTorch cannot use it here"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str, model: Path) -> None:
    with pytest.raises(MobileNetV2Error, match=message):
        load_model(model, **options)


def test_options_that_cannot_be_with_an_exported_file(exported: Path) -> None:
    for options, message in (
        ({"runtime": "litert"}, "the runtime litert does not run onnx files"),
        ({"runtime": "torch"}, "exported file runs neither with runtime torch"),
        ({"device": "cuda"}, "exported file runs neither with runtime torch"),
    ):
        with pytest.raises(ArtifactError, match=message):
            load_model(exported, **options)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="use its model folder"):
        load_network(exported, "torch")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pt2", "a program of PyTorch, which is not run here"),
        ("m.savedmodel", "a program of TensorFlow, which is not run here"),
        ("m.mlpackage", "runs on Apple's systems only"),
        ("m.triton", "a folder for Triton"),
    ],
)
def test_exports_that_are_not_run_here_say_why(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=message):
        load_model(tmp_path / name)


@pytest.mark.parametrize("runtime", [None, "torch"])
def test_with_flips_the_answer_is_the_mean_over_the_picture_and_its_mirror_image(
    runtime: str | None, model: Path
) -> None:
    plain, both = (load_model(model, runtime=runtime, flips=on).predict for on in (False, True))
    mirrored = np.ascontiguousarray(noise()[:, :, ::-1])
    expected = (plain(noise()) + plain(mirrored)) / 2
    np.testing.assert_allclose(both(noise()), expected, atol=1e-6)
    np.testing.assert_allclose(both(noise()), both(mirrored), atol=1e-5)
    assert np.abs(plain(noise()) - plain(mirrored)).max() > 1e-3
    assert (with_flips(plain)(noise()) == both(noise())).all()


@pytest.mark.parametrize("runtime", [None, "onnxruntime", "torch"])
def test_a_network_gives_its_last_feature_map_beside_the_logits(
    runtime: str | None, model: Path
) -> None:
    network = load_network(model, runtime, threads=1)
    logits, maps = network.answer(noise())
    np.testing.assert_allclose(logits, load_model(model).predict(noise()), rtol=0, atol=1e-4)
    assert maps.shape[0] == 3 and maps.shape[-1] == 1280
    np.testing.assert_allclose(network.maps(noise()), maps, atol=1e-5)
    features = load_model(model, "features").predict(noise())
    np.testing.assert_allclose(maps.mean((1, 2)), features, rtol=0, atol=1e-4)
    with pytest.raises(ArtifactError, match="runtime 'onnx-runtime' is unknown; did you mean"):
        load_network(model, "onnx-runtime")


def test_a_softmax_over_one_class_gives_features_and_no_answers(tmp_path: Path) -> None:
    spec = published("small", width=0.1, classes=1)
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(("thing",)))
    store.save(tmp_path / "m", config, random_arrays(spec))
    for runtime in (None, "torch"):
        with pytest.raises(SpecError, match="a softmax over one class"):
            load_model(tmp_path / "m", runtime=runtime)
        found = load_model(tmp_path / "m", "features", runtime=runtime)
        assert found.predict(noise()).shape == (3, 1280)
