"""LiteRT exports, reloaded in Google's interpreter and held against the plain reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import litert as container
from mobilenetv2.editions import numpy as plain
from mobilenetv2.export.job import Options, find_format, module_of
from mobilenetv2.export.verify import TOLERANCES
from mobilenetv2.formats import Precision
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric, odd": NetworkSpec(size=(49, 64), **TINY),
    "same": NetworkSpec(size=(48, 64), numerics=Numerics("same", 1e-3), **TINY),
    "grey": NetworkSpec(size=(48, 64), input_channels=1, **TINY),
    "small": published("small", width=0.1, classes=4),
}
PRECISIONS: tuple[Precision, ...] = ("float32", "float16")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SPECS)
def test_a_file_is_the_network(name: str, precision: Precision, tmp_path: Path) -> None:
    spec, out = SPECS[name], tmp_path / "m.tflite"
    arrays, module = random_arrays(spec), module_of(find_format("litert"))
    module.write(ModelConfig.default(spec), arrays, out, Options(precision))
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]
    network = plain.build(spec, dtype="float64")
    plain.load(network, arrays)
    shape = (2, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected, found = network(x), module.reload(out, 1).run(x, "logits")
    assert 0.5 < expected.std() < 20
    most = TOLERANCES[precision] * max(1.0, np.abs(expected).max())
    assert np.abs(found - expected).max() <= most


def test_float16_halves_the_file_and_dequantises_every_constant(tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.35, size=(64, 64), classes=10)
    sizes = []
    for precision in PRECISIONS:
        out = tmp_path / f"{precision}.tflite"
        module_of(find_format("litert")).write(
            ModelConfig.default(spec), random_arrays(spec), out, Options(precision)
        )
        sizes.append(out.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    import tflite

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
