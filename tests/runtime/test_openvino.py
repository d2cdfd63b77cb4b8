"""OpenVINO against the plain reference; what it cannot run; that it reports to nobody."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.artifact import create_engine
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("openvino", reason="openvino is not installed (extra: openvino)")

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "article": published("article-torch", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}
SPEC = SPECS["symmetric"]
CONFIG = ModelConfig.default(SPEC)


def graph(spec: NetworkSpec, name: str = "m", features: bool = True) -> Artifact:
    config = ModelConfig.default(spec)
    return Artifact(
        config, "onnx", Form(features=features).onnx(lower(config, random_arrays(spec))), name
    )


def noise(spec: NetworkSpec, batch: int) -> np.ndarray:
    random = np.random.default_rng(batch)
    return random.normal(size=(batch, spec.input_channels, *spec.size)).astype(np.float32)


@pytest.mark.parametrize("name", SPECS)
def test_logits_and_features_are_those_of_the_plain_reference(name: str) -> None:
    # In bfloat16, its default on some processors, the difference would be 100 times as large.
    spec = SPECS[name]
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    engine = create_engine(graph(spec, name), "openvino")
    assert engine.outputs == ("logits", "features") and not engine.takes_pictures
    for batch in (3, 1, 2):
        x = noise(spec, batch)
        expected = plain.intermediates(reference, x.transpose(0, 2, 3, 1))
        for output in ("logits", "features"):
            found = engine.run(x, output)
            assert found.dtype == np.float32
            scale = max(1.0, np.abs(expected[output]).max())
            assert np.abs(found - expected[output]).max() <= 1e-4 * scale
    assert expected["logits"].std() > 0.5


def test_pictures_and_fixed_batches() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, *SPEC.size, 3), np.uint8)
    expected = create_engine(graph(SPEC)).run(
        engine_input(pictures, CONFIG.preprocessing), "logits"
    )
    for form in (Form(pictures=True), Form(pictures=True, batch=2)):
        data = form.onnx(lower_folded(CONFIG, fold(SPEC, random_arrays(SPEC))))
        engine = create_engine(Artifact(CONFIG, "onnx", data, "m"), "openvino")
        assert engine.takes_pictures
        np.testing.assert_allclose(engine.run(pictures, "logits"), expected, atol=1e-4)


def test_threads_change_nothing_and_may_share_one_engine() -> None:
    xs = [noise(SPEC, batch) for batch in (1, 2, 3, 4) * 4]
    one, two = (create_engine(graph(SPEC), "openvino", threads) for threads in (1, 2))
    expected = [one.run(x, "logits") for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(
            pool.map(lambda x: two.run(x, "logits"), xs), expected, strict=True
        ):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_array_in_another_order_of_memory() -> None:
    engine, x = create_engine(graph(SPEC), "openvino"), noise(SPEC, 2)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(engine.run(turned, "logits"), engine.run(x, "logits"))


def test_what_it_cannot_do_is_one_sentence() -> None:
    for graph_, weights in ((b"no graph", b""), (b"", b""), (b"<net/>", b"0")):
        for kind in ("onnx", "openvino"):
            with pytest.raises(ArtifactError, match=r"^m\.x: OpenVINO cannot run it \(.+\)$"):
                create_engine(Artifact(CONFIG, kind, graph_, "m.x", weights), "openvino")
    bare = create_engine(graph(SPEC, "m.onnx", features=False), "openvino")
    with pytest.raises(ArtifactError, match=r"m\.onnx: it has no features, only logits"):
        bare.run(noise(SPEC, 1), "features")
    for wrong in (noise(SPEC, 1)[:, :, :40], noise(SPEC, 1).astype(np.float64)):
        with pytest.raises(ArtifactError, match=r"^m\.onnx: OpenVINO cannot run it \(.+\)$"):
            bare.run(wrong, "logits")


def test_float32_is_what_it_computes_in() -> None:
    openvino: Any = require("openvino")
    engine: Any = create_engine(graph(SPEC), "openvino", 1)
    compiled = engine._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_nothing_is_reported_to_anybody_and_nothing_printed(tmp_path: Path) -> None:
    store.save(tmp_path / "m", CONFIG, random_arrays(SPEC))
    (tmp_path / "home").mkdir()
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from mobilenetv2.runtime.predictor import load_predictor\n"
        "_, run = load_predictor(Path(sys.argv[1]), runtime='openvino')\n"
        "print(run(np.zeros((1, 48, 64, 3), np.uint8)).shape)\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    made = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        env=environment | {"HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout, made.stderr) == (0, "(1, 5)\n", "")
    assert not list((tmp_path / "home").iterdir())
