"""ncnn files: what pnnx makes of the network, and that it is the network."""

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import ncnn as export
from mobilenetv2.export.job import Options
from mobilenetv2.export.verify import Reference, sample_pictures
from mobilenetv2.formats import Precision
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.ncnn import layers
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("ncnn", reason="ncnn is not installed (extra: export)")
pytest.importorskip("pnnx", reason="pnnx is not installed (extra: export)")
TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric, odd": NetworkSpec(size=(65, 97), **TINY),
    "same": NetworkSpec(size=(48, 64), numerics=Numerics("same", 1e-3), **TINY),
    "projections": NetworkSpec(size=(48, 64), shortcut="projection", **TINY),
    "relu, one pixel left": NetworkSpec(
        size=(32, 32), numerics=Numerics(activation="relu"), **TINY
    ),
    "grey": published("small", input_channels=1, **TINY),
}


def reference(spec: NetworkSpec) -> Reference:
    config = ModelConfig.default(spec)
    return Reference(config, random_arrays(spec), sample_pictures(config.preprocessing, 2))


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", SPECS)
def test_it_is_the_network(tmp_path: Path, name: str, precision: Precision) -> None:
    expected = reference(SPECS[name])
    out = tmp_path / "shoes.ncnn.param"
    export.write(expected.config, expected.arrays, out, Options(precision))
    assert {file.name for file in tmp_path.iterdir()} == {
        "shoes.ncnn.param", "shoes.ncnn.bin", "shoes.ncnn.param.json",
    }  # fmt: skip
    found = expected.compare(export.reload(out, threads=1), precision)
    assert found.passed, found
    assert found.deviation > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_width_1_has_the_layers_that_people_expect(tmp_path: Path, padding: Any) -> None:
    expected = reference(NetworkSpec(numerics=Numerics(padding)))
    out, half = tmp_path / "m.ncnn.param", tmp_path / "half.ncnn.param"
    export.write(expected.config, expected.arrays, out, Options())
    found = list(layers(out.read_bytes(), out))
    kinds = Counter(layer.kind for layer in found)
    assert kinds == {
        "Input": 1, "Convolution": 35, "ConvolutionDepthWise": 17, "Split": 10, "BinaryOp": 10,
        "Pooling": 1, "InnerProduct": 1,
    }  # fmt: skip
    clipped = [layer for layer in found if layer.parameters.get("-23310") == "2,0.0,6.0"]
    assert len(clipped) == 35 and all(layer.parameters["9"] == "3" for layer in clipped)
    assert expected.compare(export.reload(out), "float32").passed
    export.write(expected.config, expected.arrays, half, Options("float16"))
    assert expected.compare(export.reload(half), "float16").passed
    sizes = [file.with_suffix(".bin").stat().st_size for file in (out, half)]
    assert sizes[1] < 0.51 * sizes[0]


def test_the_same_network_gives_the_same_files(tmp_path: Path) -> None:
    expected = reference(SPECS["same"])
    outs = [tmp_path / f"{name}.ncnn.param" for name in "ab"]
    for out in outs:
        export.write(expected.config, expected.arrays, out, Options())
    for end in ("ncnn.param", "ncnn.bin", "ncnn.param.json"):
        first, second = (tmp_path / f"{name}.{end}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.ncnn.param"
    expected, run = reference(SPECS["same"]), subprocess.run

    def failing(command: list[str], **options: Any) -> Any:
        return run([command[0], "nothing.onnx"], **options)

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(ArtifactError, match=r"^pnnx cannot convert the network"):
        export.write(expected.config, expected.arrays, out, Options())
    assert list(tmp_path.iterdir()) == []
