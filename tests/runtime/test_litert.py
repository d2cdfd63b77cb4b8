"""LiteRT against the plain reference, and graphs that it does not take."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.artifact import create_engine
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.runtime.litert import real, stored
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "article": published("article-torch", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def graph(spec: NetworkSpec, name: str = "m", features: bool = True) -> Artifact:
    config = ModelConfig.default(spec)
    data = Form(features=features).litert(lower(config, random_arrays(spec)))
    return Artifact(config, "litert", data, name)


@pytest.mark.parametrize("name", SPECS)
def test_logits_and_features_are_those_of_the_plain_reference(name: str) -> None:
    spec = SPECS[name]
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    x = np.random.default_rng(0).normal(size=(3, *spec.size, spec.input_channels))
    x = x.astype(np.float32)
    expected = plain.intermediates(reference, x)
    engine = create_engine(graph(spec, name))
    assert engine.outputs == ("logits", "features")
    for output in ("logits", "features"):
        found = engine.run(x.transpose(0, 3, 1, 2), output)
        assert found.dtype == np.float32
        scale = max(1.0, np.abs(expected[output]).max())
        assert np.abs(found - expected[output]).max() <= 1e-4 * scale
    assert expected["logits"].std() > 0.5


def test_threads_change_nothing() -> None:
    spec = SPECS["symmetric"]
    x = np.random.default_rng(0).normal(size=(2, 3, *spec.size)).astype(np.float32)
    one, two = (create_engine(graph(spec), threads=count).run(x, "logits") for count in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_integers_stand_for_numbers_and_halves_go_to_even() -> None:
    tensor = {"quantization": (0.5, -3), "dtype": np.int8}
    values = np.array([-1000, -0.75, -0.25, 0, 0.25, 0.75, 1000], np.float32)
    found = stored(values, tensor)
    assert found.dtype == np.int8
    assert found.tolist() == [-128, -5, -3, -3, -3, -1, 127]
    np.testing.assert_array_equal(real(found, tensor), [-62.5, -1, 0, 0, 0, 1, 65])
    plain_tensor = {"quantization": (0.0, 0), "dtype": np.float32}
    assert stored(values, plain_tensor) is values


def test_what_it_cannot_do_is_one_sentence() -> None:
    spec = SPECS["symmetric"]
    with pytest.raises(ArtifactError, match=r"^m\.tflite: LiteRT cannot run it"):
        create_engine(Artifact(ModelConfig.default(spec), "litert", b"no graph", "m.tflite"))
    with pytest.raises(ArtifactError, match="--threads 0 must be at least 1"):
        create_engine(graph(spec), threads=0)
    bare = create_engine(graph(spec, "m.tflite", features=False))
    x = np.zeros((1, 3, *spec.size), np.float32)
    with pytest.raises(ArtifactError, match=r"m\.tflite: it has no features, only logits"):
        bare.run(x, "features")
    with pytest.raises(ArtifactError, match=r"m\.tflite: LiteRT cannot run it"):
        bare.run(x[:, :, :40], "logits")


def test_nothing_of_the_librarys_own_reaches_stderr(tmp_path: Path) -> None:
    """In a process of its own: it says that it made its delegate once only."""
    artifact = graph(SPECS["symmetric"])
    (tmp_path / "m.tflite").write_bytes(artifact.graph)
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from mobilenetv2.runtime.litert import create_engine, read_artifact\n"
        "engine = create_engine(read_artifact(Path(sys.argv[1])))\n"
        "print(engine.run(np.zeros((1, 3, 48, 64), np.float32), 'logits').shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(1, 5)\n", "")
