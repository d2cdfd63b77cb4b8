"""ONNX Runtime against the plain reference, and graphs that it does not take."""

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
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "article": published("article-torch", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def graph(spec: NetworkSpec, name: str = "m", features: bool = True) -> Artifact:
    config = ModelConfig.default(spec)
    return Artifact(
        config, "onnx", Form(features=features).onnx(lower(config, random_arrays(spec))), name
    )


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


def test_what_it_cannot_do_is_one_sentence() -> None:
    spec = SPECS["symmetric"]
    with pytest.raises(ArtifactError, match=r"^m\.onnx: ONNX Runtime cannot run it"):
        create_engine(Artifact(ModelConfig.default(spec), "onnx", b"no graph", "m.onnx"))
    with pytest.raises(ArtifactError, match="--runtime tensorrt: unknown"):
        create_engine(graph(spec), "tensorrt")
    with pytest.raises(ArtifactError, match="--threads 0 must be at least 1"):
        create_engine(graph(spec), threads=0)
    bare = create_engine(graph(spec, "m.onnx", features=False))
    x = np.zeros((1, 3, *spec.size), np.float32)
    with pytest.raises(ArtifactError, match=r"m\.onnx: it has no features, only logits"):
        bare.run(x, "features")
    with pytest.raises(ArtifactError, match=r"m\.onnx: ONNX Runtime cannot run it"):
        bare.run(x[:, :, :40], "logits")
