"""ONNX with every option, and LiteRT: operators and constants as people expect them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_forms import Form

from mobilenetv2.checkpoints.containers import litert as container
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, SpecError
from mobilenetv2.exporting.direct import write_litert, write_onnx
from mobilenetv2.exporting.job import Options, reload
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph import onnx as onnx_graph
from mobilenetv2.graph.lowering import lower_folded
from mobilenetv2.graph.onnx import OPSETS
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.predictor import create_engine
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5)
FULL = {"Conv": 52, "Clip": 35, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
NORMALISED = {"Transpose": 1, "Cast": 1, "Sub": 1, "Div": 1}


def made(path: Path, spec: NetworkSpec, options: Options) -> Path:
    write_onnx(ModelConfig.default(spec), random_arrays(spec), path, options)
    return path


@pytest.mark.parametrize("options", [Options(opset=13), Options("float16", opset=22)], ids=str)
def test_the_first_and_the_last_opset_answer_as_the_plain_reference(
    tmp_path: Path, options: Options
) -> None:
    config = ModelConfig.default(SPEC)
    reference = Reference(config, random_arrays(SPEC), sample_pictures(config.preprocessing, 3))
    engine = reload(FORMATS["onnx"], made(tmp_path / "m.onnx", SPEC, options), 1)
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
        onnx_graph.write_onnx(lower_folded(ModelConfig.default(SPEC), folded), half=True)


def test_float16_halves_a_litert_file_and_dequantises_every_constant(tmp_path: Path) -> None:
    import tflite

    spec = NetworkSpec(width=0.35, size=(64, 64), classes=10)
    sizes = []
    for options in (Options("float32"), Options("float16")):
        out = tmp_path / f"{options.precision}.tflite"
        write_litert(ModelConfig.default(spec), random_arrays(spec), out, options)
        sizes.append(out.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    raw = tflite.Model.GetRootAs((tmp_path / "float16.tflite").read_bytes(), 0)
    main = raw.Subgraphs(0)
    codes = [raw.OperatorCodes(i).BuiltinCode() for i in range(raw.OperatorCodesLength())]
    kinds = [codes[main.Operators(i).OpcodeIndex()] for i in range(main.OperatorsLength())]
    assert kinds.count(tflite.BuiltinOperator.DEQUANTIZE) == 2 * (52 + 1)
    # Read for an import, the widening is gone: constants are what they stand for.
    graph = container.read_litert(tmp_path / "float16.tflite")
    assert "DEQUANTIZE" not in {operator.kind for operator in graph.operators}
    halves = [one for one in graph.tensors if one.values is not None and one.values.dtype == "<f2"]
    assert len(halves) == 2 * (52 + 1)
