"""A file in its runtime, against the clock."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.benchmark import running
from mobilenetv2.benchmark.running import Runner, settled
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.onnx_writer import Form, write_folded
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engine import Output
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, numerics=Numerics("same", 1e-3))


def request(path: Path, config: ModelConfig, form: Form) -> dict[str, Any]:
    path.write_bytes(write_folded(config, fold(config.spec, random_arrays(config.spec)), form))
    return {
        "runtime": "onnxruntime", "format": "onnx", "path": str(path), "threads": 1,
        "config": json.loads(config.to_json()),
    }  # fmt: skip


@pytest.mark.parametrize("form", [Form(), Form(pictures=True), Form(batch=2)])
def test_answers_are_the_plain_editions(tmp_path: Path, form: Form) -> None:
    config = ModelConfig.default(SPEC)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)
    np.save(tmp_path / "x.npy", pictures)
    runner = Runner(request(tmp_path / "m.onnx", config, form))
    runner.answer(tmp_path / "x.npy", tmp_path / "y.npy", 3)
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
    runner = Runner(request(tmp_path / "m.onnx", ModelConfig.default(SPEC), Form()))
    assert runner.loaded()["load_s"] > 0 and runner.loaded()["memory_after_load"] > 1e6
    seen: list[int] = []

    class Counted:
        outputs, takes_pictures, engine = ("logits",), False, runner.engine

        def run(self, x: NDArray, output: Output) -> NDArray:
            seen.append(len(x))
            return self.engine.run(x, output)

    monkeypatch.setattr(runner, "engine", Counted())
    found = runner.burst(tmp_path / "x.npy", 4, 0.0)  # more pictures than there are
    assert len(found["seconds"]) == running.LEAST and seen == [4] * (running.LEAST + 1)
    seen.clear()
    found = runner.burst(tmp_path / "x.npy", 1, 0.05)
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
    asked = request(tmp_path / "m.onnx", ModelConfig.default(spec), Form())
    asked["config"] = json.loads(ModelConfig.default(SPEC).to_json())
    with pytest.raises(ArtifactError, match=f"of another network than MODEL: its {what} differs"):
        Runner(asked)


def test_waiting_ends_when_the_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 0.3)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not settled()
        threading.Timer(0.1, stop.set).start()
        monkeypatch.setattr(running, "PATIENCE", 30.0)
        assert settled()
        assert stop.is_set()
    finally:
        stop.set()
        thread.join()
