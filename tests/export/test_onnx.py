"""ONNX with every option: operators as people expect them, and the plain reference's answers."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_forms import Form

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, SpecError
from mobilenetv2.export.job import Options
from mobilenetv2.export.onnx import reload, write
from mobilenetv2.export.verify import Reference
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import OPSETS, write_onnx
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.runtime.predictor import create_engine
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
SPEC = SPECS["symmetric"]
OPTIONS = [
    Options(), Options(pictures=True), Options(batch=2), Options(opset=13), Options("float16"),
    Options("float16", pictures=True, batch=2), Options("float16", opset=22),
]  # fmt: skip
FULL = {"Conv": 52, "Clip": 35, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
NORMALISED = {"Transpose": 1, "Cast": 1, "Sub": 1, "Div": 1}


def photos(spec: NetworkSpec, count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, *spec.size, spec.input_channels), np.uint8)


def made(path: Path, spec: NetworkSpec, options: Options) -> Path:
    write(ModelConfig.default(spec), random_arrays(spec), path, options)
    return path


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_answers_as_the_plain_reference(tmp_path: Path, name: str, options: Options) -> None:
    spec = SPECS[name]
    engine = reload(made(tmp_path / "m.onnx", spec, options), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert (engine.outputs, engine.takes_pictures) == (("logits",), options.pictures)
    assert engine.batch == options.batch
    reference = Reference(ModelConfig.default(spec), random_arrays(spec), photos(spec, 3))
    compared = reference.compare(engine, options.precision)
    assert compared.passed and compared.deviation > 0.5, compared


@pytest.mark.parametrize("opset", sorted(OPSETS))
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_every_opset_passes_the_checker(tmp_path: Path, opset: int, precision: Any) -> None:
    for pictures in (False, True):
        path = made(tmp_path / "m.onnx", SPEC, Options(precision, pictures, opset=opset))
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import] == [opset]
        types = {value.type.tensor_type.elem_type for value in model.graph.output}
        assert types == {onnx.TensorProto.FLOAT}
    with pytest.raises(SpecError, match="opset 12 must be from 13 to 22"):
        made(tmp_path / "n.onnx", SPEC, Options(precision, opset=12))
    assert not (tmp_path / "n.onnx").exists()


@pytest.mark.slow
def test_the_operators_of_the_whole_network(tmp_path: Path) -> None:
    spec = NetworkSpec()
    sizes = []
    for options, more in (
        (Options(), {}),
        (Options(pictures=True), NORMALISED),
        (Options("float16"), {"Cast": 2}),
        (Options("float16", pictures=True), NORMALISED | {"Cast": 3}),
    ):
        path = made(tmp_path / "m.onnx", spec, options)
        found = Counter(node.op_type for node in onnx.load(path).graph.node)
        assert found == FULL | more
        sizes.append(path.stat().st_size)
    assert sizes[2] < 0.51 * sizes[0]


def test_normalising_inside_and_outside_is_the_same(tmp_path: Path) -> None:
    pictures = photos(SPEC, 4)
    inside = reload(made(tmp_path / "i.onnx", SPEC, Options(pictures=True)))
    outside = reload(made(tmp_path / "o.onnx", SPEC, Options()))
    x = engine_input(pictures, ModelConfig.default(SPEC).preprocessing)
    np.testing.assert_allclose(
        inside.run(pictures, "logits"), outside.run(x, "logits"), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_any_size(tmp_path: Path, precision: Any) -> None:
    engine = reload(made(tmp_path / "m.onnx", SPEC, Options(precision, any_size=True)))
    reference = plain.build(SPEC, dtype="float64")
    plain.load(reference, random_arrays(SPEC))
    for size in ((48, 64), (65, 33), (32, 96)):
        x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
        expected = plain.intermediates(reference, x)["logits"]
        difference = np.abs(engine.run(x.transpose(0, 3, 1, 2), "logits") - expected).max()
        tolerance = 1e-4 if precision == "float32" else 1e-2
        assert difference <= tolerance * max(1.0, np.abs(expected).max())
    with pytest.raises(SpecError, match="'same' padding depends on the picture's size"):
        made(tmp_path / "n.onnx", SPECS["same, odd"], Options(precision, any_size=True))


def test_half_has_half_weights_and_every_output(tmp_path: Path) -> None:
    config = ModelConfig.default(SPEC)
    folded = fold(SPEC, random_arrays(SPEC))
    data = Form(features=True, intermediates=True, half=True).onnx(lower_folded(config, folded))
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types == {onnx.TensorProto.FLOAT16}
    engine = create_engine(Artifact(config, "onnx", data, "m"))
    x = np.random.default_rng(0).normal(size=(2, 3, *SPEC.size)).astype(np.float32)
    reference = plain.build(SPEC, dtype="float64")
    plain.load(reference, random_arrays(SPEC))
    expected = plain.intermediates(reference, x.transpose(0, 2, 3, 1))
    found = engine.run(x, "features")
    assert np.abs(found - expected["features"]).max() <= 1e-2 * np.abs(expected["features"]).max()


def test_what_float16_cannot_hold_is_said() -> None:
    folded = fold(SPEC, random_arrays(SPEC))
    folded["stem"][1][0] = 70000
    with pytest.raises(ArtifactError, match=r"stem\.conv\.bias: values up to 7e\+04 are too large"):
        write_onnx(lower_folded(ModelConfig.default(SPEC), folded), half=True)
