"""MNN and ncnn files: what the converters make of the network."""

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import converted
from mobilenetv2.exporting.converted import write_mnn, write_ncnn
from mobilenetv2.exporting.job import Options, reload
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph.ncnn import layers
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.mnn import read_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

MNN, NCNN = FORMATS["mnn"], FORMATS["ncnn"]
needs_ncnn = pytest.mark.skipif(
    not (find_spec("ncnn") and find_spec("pnnx")), reason="ncnn is not installed (extra: export)"
)
needs_mnn = pytest.mark.skipif(not find_spec("MNN"), reason="MNN is not installed (extra: export)")
TINY = NetworkSpec(width=0.1, size=(48, 64), classes=5)


def reference(spec: NetworkSpec) -> Reference:
    config = ModelConfig.default(spec)
    return Reference(config, random_arrays(spec), sample_pictures(config.preprocessing, 2))


@needs_mnn
@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_mnn_of_width_1_has_the_operators_that_people_expect(tmp_path: Path, padding: Any) -> None:
    expected = reference(NetworkSpec(numerics=Numerics(padding)))
    out, half = tmp_path / "m.mnn", tmp_path / "half.mnn"
    write_mnn(expected.config, expected.arrays, out, Options())
    found = described(out)
    # The classifier is the 36th convolution; the two conversions are of memory, at the ends.
    assert Counter(op["type"] for op in found["oplists"]) == {
        "Input": 1, "Convolution": 36, "ConvolutionDepthwise": 17, "BinaryOp": 10, "Pooling3D": 1,
        "Flatten": 1, "ConvertTensor": 2,
    }  # fmt: skip
    parts = [op["main"]["common"] for op in found["oplists"] if "common" in op.get("main", {})]
    assert sum(part["relu6"] for part in parts) == 35
    assert expected.compare(reload(MNN, out), "float32").passed
    write_mnn(expected.config, expected.arrays, half, Options("float16"))
    assert expected.compare(reload(MNN, half), "float16").passed
    assert half.stat().st_size < 0.52 * out.stat().st_size


def described(path: Path) -> Any:
    """An MNN file as MNN's own converter writes it down."""
    program = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    words = ("-f", "MNN", "--modelFile", path.name, "--JsonFile", "m.json")
    subprocess.run(
        [sys.executable, "-P", "-c", program, *words], cwd=path.parent, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return json.loads((path.parent / "m.json").read_text("utf-8"))


@needs_mnn
def test_a_thousand_long_labels_fit_into_an_mnn_file(tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.1, size=(48, 64), classes=1000)
    labels = Labels(tuple(f"{index} {'Straßenschuh, 靴, ' * 20}" for index in range(1000)))
    config = ModelConfig(spec, Preprocessing.default(spec), labels)
    assert len(config.to_json().encode()) > 300_000  # more than one argument of a command can have
    out = tmp_path / "m.mnn"
    write_mnn(config, random_arrays(spec), out, Options())
    assert read_artifact(out).config == config


@needs_mnn
def test_what_mnn_cannot_convert_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.mnn"
    expected = reference(TINY)
    monkeypatch.setattr(
        converted, "MNN_PROGRAM", "print('first'); raise SystemExit('no such operator')"
    )
    with pytest.raises(ArtifactError, match=r"^MNN cannot convert .* \(status 1: no such operator"):
        write_mnn(expected.config, expected.arrays, out, Options())
    assert list(tmp_path.iterdir()) == []


@needs_mnn
@pytest.mark.slow
def test_neither_mnns_converter_nor_its_runtime_opens_a_connection(tmp_path: Path) -> None:
    # MNN's own command does, and installs a package to do it.
    program = (
        "import sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith(('socket.connect', 'socket.getaddrinfo', 'os.system')):\n"
        "        raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(watch)\n"
        "from pathlib import Path\n"
        "from mobilenetv2.exporting import converted\n"
        "from mobilenetv2.exporting.job import Options, reload\n"
        "from mobilenetv2.formats import FORMATS\n"
        "from mobilenetv2.spec.network import NetworkSpec\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "converted.MNN_PROGRAM = f'{WATCH}; {converted.MNN_PROGRAM}'\n"
        "spec = NetworkSpec(width=0.1, size=(48, 64), classes=5)\n"
        "out = Path(sys.argv[1])\n"
        "converted.write_mnn(ModelConfig.default(spec), random_arrays(spec), out, Options())\n"
        "reload(FORMATS['mnn'], out)\n"
        "assert not any(name.startswith(('MNN.tools', 'aliyun')) for name in sys.modules)\n"
    )
    watch = "import sys; sys.addaudithook(lambda e, a: e.startswith('socket.') and exit(9))"
    done = subprocess.run(
        [sys.executable, "-c", f"WATCH = {watch!r}\n{program}", str(tmp_path / "m.mnn")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_ncnn
@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_ncnn_of_width_1_has_the_layers_that_people_expect(tmp_path: Path, padding: Any) -> None:
    expected = reference(NetworkSpec(numerics=Numerics(padding)))
    out, half = tmp_path / "m.ncnn.param", tmp_path / "half.ncnn.param"
    write_ncnn(expected.config, expected.arrays, out, Options())
    found = list(layers(out.read_bytes()))
    kinds = Counter(layer.kind for layer in found)
    assert kinds == {
        "Input": 1, "Convolution": 35, "ConvolutionDepthWise": 17, "Split": 10, "BinaryOp": 10,
        "Pooling": 1, "InnerProduct": 1,
    }  # fmt: skip
    clipped = [layer for layer in found if layer.parameters.get("-23310") == "2,0.0,6.0"]
    assert len(clipped) == 35 and all(layer.parameters["9"] == "3" for layer in clipped)
    assert expected.compare(reload(NCNN, out), "float32").passed
    write_ncnn(expected.config, expected.arrays, half, Options("float16"))
    assert expected.compare(reload(NCNN, half), "float16").passed
    sizes = [file.with_suffix(".bin").stat().st_size for file in (out, half)]
    assert sizes[1] < 0.51 * sizes[0]


@needs_ncnn
def test_what_pnnx_cannot_convert_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.ncnn.param"
    expected, run = reference(TINY), subprocess.run

    def failing(command: list[str], **options: Any) -> Any:
        return run([command[0], "nothing.onnx"], **options)

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(ArtifactError, match=r"^pnnx cannot convert the network"):
        write_ncnn(expected.config, expected.arrays, out, Options())
    assert list(tmp_path.iterdir()) == []
