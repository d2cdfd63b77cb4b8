"""ncnn against the plain reference, and graphs that it does not take."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import ncnn as export
from mobilenetv2.export.job import Options
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.artifact import create_engine
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.runtime.ncnn import read_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("ncnn", reason="ncnn is not installed (extra: export)")
pytest.importorskip("pnnx", reason="pnnx is not installed (extra: export)")
TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 97), numerics=Numerics("same", 1e-3), **TINY),
    "article": published("article-torch", size=64, **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def written(folder: Path, spec: NetworkSpec) -> Path:
    out = folder / "m.ncnn.param"
    export.write(ModelConfig.default(spec), random_arrays(spec), out, Options())
    return out


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return read_artifact(written(tmp_path_factory.mktemp("ncnn"), SPECS["symmetric"]))


@pytest.mark.parametrize("name", SPECS)
def test_logits_are_those_of_the_plain_reference(tmp_path: Path, name: str) -> None:
    spec = SPECS[name]
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    x = np.random.default_rng(0).normal(size=(3, spec.input_channels, *spec.size))
    x = x.astype(np.float32)
    expected = reference(x)
    engine = create_engine(read_artifact(written(tmp_path, spec)))
    assert (engine.outputs, engine.takes_pictures) == (("logits",), False)
    found = engine.run(x, "logits")
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.std() > 0.5


def test_threads_change_nothing_nor_does_the_order_in_memory(artifact: Artifact) -> None:
    size = artifact.config.spec.size
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    one, two = (create_engine(artifact, threads=count).run(x, "logits") for count in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)
    same = create_engine(artifact).run(np.ascontiguousarray(x), "logits")
    np.testing.assert_allclose(one, same, atol=1e-6)
    assert create_engine(artifact).run(x[:0], "logits").shape == (0, 5)


def test_what_it_cannot_do_is_one_sentence(artifact: Artifact) -> None:
    engine = create_engine(dataclasses.replace(artifact, where="m.param"))
    x = np.zeros((1, 3, *artifact.config.spec.size), np.float32)
    with pytest.raises(ArtifactError, match=r"m\.param: it has no features, only logits"):
        engine.run(x, "features")
    with pytest.raises(ArtifactError, match=r"m\.param: it takes \[3, 48, 64\], not \[3, 40, 64\]"):
        engine.run(x[:, :, :40], "logits")
    with pytest.raises(ArtifactError, match="--runtime onnxruntime does not run ncnn files; ncnn"):
        create_engine(artifact, "onnxruntime")


@pytest.mark.parametrize(
    "change",
    [
        {"graph": b""},
        {"graph": b"7767517\n1 1\nNoSuchLayer a 0 1 x\n"},
        {"weights": b""},
        {"weights": b"\0" * 1000},
    ],
)
def test_what_ncnn_does_not_take_is_said_once(
    artifact: Artifact, change: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ArtifactError, match=r"m\.param: ncnn cannot run it; export it again"):
        create_engine(dataclasses.replace(artifact, where="m.param", **change))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_nothing_is_printed_from_start_to_end(tmp_path: Path) -> None:
    path = written(tmp_path, SPECS["symmetric"])
    program = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from mobilenetv2.runtime.predictor import load_predictor\n"
        "config, predict = load_predictor(Path(sys.argv[1]), threads=1)\n"
        "assert predict(np.zeros((2, 48, 64, 3), np.uint8)).shape == (2, 5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
