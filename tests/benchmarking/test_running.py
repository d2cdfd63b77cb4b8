"""A file in its runtime, against the clock."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form
from numpy.typing import NDArray

from mobilenetv2.benchmarking import running
from mobilenetv2.benchmarking.running import Runner, is_idle
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph import onnx
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization import post_training
from mobilenetv2.quantization.scheme import Scheme, load_scheme, save_scheme
from mobilenetv2.runtime.engines.engine import Output
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, numerics=Numerics("same", 1e-3))


def request(path: Path, config: ModelConfig, form: Form) -> dict[str, Any]:
    path.write_bytes(form.onnx(lower_folded(config, fold(config.spec, random_arrays(config.spec)))))
    return {
        "runtime": "onnxruntime", "format": "onnx", "path": str(path), "threads": 1,
        "config": json.loads(config.to_json()),
    }  # fmt: skip


def asked(folder: Path, **more: Any) -> dict[str, Any]:
    return {"pictures": str(folder / "x.npy"), **more}


@pytest.mark.parametrize("form", [Form(), Form(pictures=True), Form(batch=2)])
def test_answers_are_the_plain_editions(tmp_path: Path, form: Form) -> None:
    config = ModelConfig.default(SPEC)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)
    np.save(tmp_path / "x.npy", pictures)
    runner = Runner()
    runner.load(request(tmp_path / "m.onnx", config, form))
    runner.answer(asked(tmp_path, batch=3, out=str(tmp_path / "y.npy")))
    network = plain.build(config, dtype="float64")
    plain.load(network, random_arrays(SPEC))
    expected = network(engine_input(pictures, config.preprocessing))
    found = np.load(tmp_path / "y.npy")
    assert found.dtype == np.float32 and expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))


def test_a_burst_counts_every_run_but_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 48, 64, 3), np.uint8))
    runner = Runner()
    loaded = runner.load(request(tmp_path / "m.onnx", ModelConfig.default(SPEC), Form()))
    assert loaded["load_s"] > 0 and loaded["memory_after_load"] > 1e6
    seen: list[int] = []

    class Counted:
        outputs, takes_pictures, engine = ("logits",), False, runner.engine

        def run(self, x: NDArray, output: Output) -> NDArray:
            seen.append(len(x))
            return self.engine.run(x, output)

    monkeypatch.setattr(runner, "engine", Counted())
    found = runner.burst(asked(tmp_path, batch=4, seconds=0.0))  # more pictures than there are
    assert len(found["seconds"]) == running.LEAST and seen == [4] * (running.LEAST + 1)
    seen.clear()
    found = runner.burst(asked(tmp_path, batch=1, seconds=0.05))
    assert len(found["seconds"]) == len(seen) - 1 and sum(found["seconds"]) <= 0.1 + max(
        found["seconds"]
    )
    assert min(*found["seconds"], found["first_s"]) > 0


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (SPEC.replace(size=(64, 48)), "size"),
        (SPEC.replace(classes=6), "number of classes"),
        (SPEC.replace(input_channels=1), "number of colours"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path: Path, spec: NetworkSpec, what: str) -> None:
    given = request(tmp_path / "m.onnx", ModelConfig.default(spec), Form())
    given["config"] = json.loads(ModelConfig.default(SPEC).to_json())
    with pytest.raises(ArtifactError, match=f"of another network than MODEL: its {what} differs"):
        Runner().load(given)


def test_waiting_ends_when_the_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.3)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not is_idle()
        threading.Timer(0.1, stop.set).start()
        monkeypatch.setattr(running, "PATIENCE", 30.0)
        assert is_idle()
        assert stop.is_set()
    finally:
        stop.set()
        thread.join()


PICTURES = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("writing") / "model"
    store.save(place, ModelConfig.default(SPEC), random_arrays(SPEC))
    return place


@pytest.fixture(scope="module")
def scheme(folder: Path) -> Scheme:
    return post_training.quantise(*store.load(folder), PICTURES)


def test_float_and_int8_files_are_those_of_their_writers(
    folder: Path, scheme: Scheme, tmp_path: Path
) -> None:
    save_scheme(scheme, tmp_path / "s.npz")
    request = {"model": str(folder), "format": "onnx", "scheme": str(tmp_path / "s.npz")}
    out = {name: tmp_path / f"{name}.onnx" for name in ("float32", "float16", "int8")}
    for precision, path in out.items():
        Runner().write({**request, "precision": precision, "out": str(path)})
    assert out["int8"].read_bytes() == onnx.write_onnx(
        load_scheme(tmp_path / "s.npz", scheme.config).quantised()
    )
    assert out["float32"].stat().st_size > 1.5 * out["float16"].stat().st_size
    x = np.zeros((1, 3, 48, 64), np.float32)
    logits = {
        name: create_engine(load_artifact(path)).run(x, "logits") for name, path in out.items()
    }
    assert np.abs(logits["float32"] - logits["float16"]).max() < 1e-2
    assert np.abs(logits["float32"] - logits["int8"]).max() > 0


def test_a_place_that_cannot_be_written_is_an_error(folder: Path, tmp_path: Path) -> None:
    request = {"model": str(folder), "format": "onnx", "precision": "float32"}
    with pytest.raises(OSError, match="No such file"):
        Runner().write({**request, "out": str(tmp_path / "no" / "folder.onnx")})
