"""Int8 by NNCF: as the float network within what eight bits can, and quiet."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.errors import DataError, require
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization.job import write_int8, write_nncf
from mobilenetv2.quantization.post_training import Settings, quantise
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("nncf", reason="nncf is not installed (extra: openvino)")
pytestmark = pytest.mark.slow  # importing NNCF alone takes 2 s

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


def pictures(spec: NetworkSpec, count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    low = random.integers(0, 256, (count, 4, 4, spec.input_channels), np.uint8)
    return low.repeat(spec.size[0] // 4, 1).repeat(spec.size[1] // 4, 2)


def test_it_answers_as_the_float_network_within_eight_bits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arrays = random_arrays(SPEC)
    path = tmp_path / "m.xml"
    write_nncf(CONFIG, fold(SPEC, arrays), pictures(SPEC, 16), path)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert all("calibrating" in line for line in printed.err.splitlines()), printed.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    assert load_artifact(path).config == CONFIG

    x = engine_input(pictures(SPEC, 32, 1), CONFIG.preprocessing)
    exact = create_engine(Artifact(CONFIG, "onnx", write_onnx(lower(CONFIG, arrays)), "m"))
    expected, found = exact.run(x, "logits"), create_engine(load_artifact(path)).run(x, "logits")
    # The share of the answers' variance that is lost; 8 bits through 52 layers lose about 1 %.
    assert np.square(found - expected).mean() < 0.05 * np.square(expected).mean()
    assert not np.allclose(found, expected, atol=1e-4)


def test_every_convolution_is_quantised_and_the_method_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    write_nncf(CONFIG, fold(SPEC, random_arrays(SPEC)), pictures(SPEC, 4), path)
    openvino: Any = require("openvino")
    model = openvino.Core().read_model(path)
    weights = [
        op.input_value(1).get_node()
        for op in model.get_ops()
        if op.get_type_name() in ("Convolution", "GroupConvolution", "MatMul")
    ]
    assert len(weights) == 52 + 1
    for node in weights:
        while node.get_type_name() != "Constant":
            node = node.input_value(0).get_node()
        assert node.get_element_type() == openvino.Type.i8
    method = model.get_rt_info(["mobilenetv2", "method"]).astype(str)
    assert method.startswith("post-training by NNCF ") and method.endswith(" 4 pictures")


def test_the_same_pictures_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.xml", "b.xml"):
        write_nncf(CONFIG, fold(SPEC, random_arrays(SPEC)), pictures(SPEC, 4), tmp_path / name)
    assert (tmp_path / "a.xml").read_bytes() == (tmp_path / "b.xml").read_bytes()


def test_without_pictures_there_is_nothing_to_go_by(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photos for calibration"):
        write_nncf(CONFIG, fold(SPEC, random_arrays(SPEC)), pictures(SPEC, 0), tmp_path / "m.xml")
    assert not list(tmp_path.iterdir())


def test_nothing_is_reported_to_anybody_and_nothing_printed(tmp_path: Path) -> None:
    store.save(tmp_path / "m", CONFIG, random_arrays(SPEC))
    (tmp_path / "home").mkdir()
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from mobilenetv2.quantization.job import write_nncf\n"
        "from mobilenetv2.model import store; from mobilenetv2.model.folding import fold\n"
        "config, arrays = store.load(Path(sys.argv[1]) / 'm')\n"
        "x = np.zeros((2, *config.spec.size, 3), np.uint8)\n"
        "write_nncf(config, fold(config.spec, arrays), x, Path(sys.argv[1]) / 'q.xml')\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    made = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment | {"HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    assert not (tmp_path / "home" / "intel").exists()


def test_a_scheme_keeps_its_integers(tmp_path: Path) -> None:
    photos = pictures(SPEC, 24)  # of 6, the mean is mostly chance
    # 7 bits: without VNNI, ONNX Runtime's products of 8 saturate.
    scheme = quantise(CONFIG, random_arrays(SPEC), photos, Settings(weight_bits=7))
    write_int8("openvino", scheme, tmp_path / "m.xml")
    x = engine_input(photos, CONFIG.preprocessing)
    found = create_engine(load_artifact(tmp_path / "m.xml")).run(x, "logits")
    expected = create_engine(Artifact(CONFIG, "onnx", write_onnx(scheme.quantised()), "m")).run(
        x, "logits"
    )
    steps = np.abs(found - expected) / scheme.ranges["logits"].scale
    assert steps.mean() <= 1.5 and expected.std() > 5 * scheme.ranges["logits"].scale
