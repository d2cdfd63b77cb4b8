"""Exported .keras files, read as data."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.engine import Artifact, Output
from mobilenetv2.runtime.engines.keras import CONFIG
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

pytest.importorskip("keras", reason="keras is not installed (extra: keras)")

SPEC = published("small", width=0.1, classes=4)
CONFIG_OF = ModelConfig(SPEC, Preprocessing.default(SPEC), Labels(("a", "b", "c", "d")))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mobilenetv2.exporting.keras import write_keras

    out = tmp_path_factory.mktemp("keras") / "m.keras"
    write_keras(CONFIG_OF, random_arrays(SPEC), out, Options())
    return out


def test_it_computes_what_the_network_does(exported: Path) -> None:
    found = load_artifact(exported)
    assert found.config == CONFIG_OF and found.format == "onnx"
    graph = write_onnx(lower(CONFIG_OF, random_arrays(SPEC)).with_outputs("features"))
    expected = create_engine(Artifact(CONFIG_OF, "onnx", graph, "m"))
    x = np.random.default_rng(0).normal(size=(3, 3, *SPEC.size)).astype(np.float32)
    outputs: tuple[Output, ...] = ("logits", "features")
    for output in outputs:
        one, other = (engine.run(x, output) for engine in (create_engine(found), expected))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_was_changed_or_is_anothers_is_refused(exported: Path, tmp_path: Path) -> None:
    data = bytearray(exported.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.keras").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bad\.keras: (it was changed|not a .keras file)"):
        load_artifact(tmp_path / "bad.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ArtifactError, match=r"other\.keras: it has no preprocessing"):
        load_artifact(tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "none.keras", "w") as archive:
        archive.writestr(CONFIG, CONFIG_OF.to_json())
    with pytest.raises(ArtifactError, match="it was changed or damaged"):
        load_artifact(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("no archive")
    with pytest.raises(ArtifactError, match=r"text\.keras: not a \.keras file"):
        load_artifact(tmp_path / "text.keras")
