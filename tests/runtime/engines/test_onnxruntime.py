"""Sessions of ONNX Runtime: their inputs, outputs and options, and graphs that it cannot load."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graph_forms import Form

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.engines.onnxruntime import create_engine, read_artifact, session_options
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


def artifact(tmp_path: Path, form: Form) -> Artifact:
    path = tmp_path / "m.onnx"
    path.write_bytes(form.onnx(lower_folded(CONFIG, fold(SPEC, random_arrays(SPEC)))))
    return read_artifact(path)


@pytest.mark.parametrize(
    ("form", "dtype", "pictures", "batch"),
    [
        (Form(), "float32", False, None),
        (Form(half=True), "float32", False, None),
        (Form(pictures=True, batch=3), "uint8", True, 3),
    ],
)
def test_an_engine_knows_its_inputs_and_outputs(
    tmp_path: Path, form: Form, dtype: str, pictures: bool, batch: int | None
) -> None:
    engine = create_engine(artifact(tmp_path, form), threads=1)
    assert engine.dtype == np.dtype(dtype)
    assert (engine.takes_pictures, engine.batch) == (pictures, batch)
    assert "logits" in engine.outputs


def test_threads_share_a_session(tmp_path: Path) -> None:
    engine = create_engine(artifact(tmp_path, Form()), threads=1, callers=4)
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((2, 3, *SPEC.size), np.float32) for _ in range(12)]
    alone = [engine.compute(x, "logits") for x in batches]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda x: engine.compute(x, "logits"), batches))
    for wanted, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_int8_products_are_exact_and_warnings_are_not_printed() -> None:
    options = session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
    assert options.log_severity_level == 3


def test_a_graph_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    damaged = replace(artifact(tmp_path, Form()), graph=b"no graph")
    with pytest.raises(ArtifactError, match=r"m\.onnx.*ONNX Runtime"):
        create_engine(damaged)
