"""MNN files: what MNN's converter makes of the network, and that it is the network."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import mnn as export
from mobilenetv2.export.job import Options
from mobilenetv2.export.verify import Reference, sample_pictures
from mobilenetv2.formats import Precision
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.mnn import read_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

pytest.importorskip("MNN", reason="MNN is not installed (extra: export)")
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
    out = tmp_path / "shoes.mnn"
    export.write(expected.config, expected.arrays, out, Options(precision))
    assert list(tmp_path.iterdir()) == [out]
    found = expected.compare(export.reload(out, threads=1), precision)
    assert found.passed, found
    assert found.deviation > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_width_1_has_the_operators_that_people_expect(tmp_path: Path, padding: Any) -> None:
    expected = reference(NetworkSpec(numerics=Numerics(padding)))
    out, half = tmp_path / "m.mnn", tmp_path / "half.mnn"
    export.write(expected.config, expected.arrays, out, Options())
    found = described(out)
    # The classifier is the 36th convolution; the two conversions are of memory, at the ends.
    assert Counter(op["type"] for op in found["oplists"]) == {
        "Input": 1, "Convolution": 36, "ConvolutionDepthwise": 17, "BinaryOp": 10, "Pooling3D": 1,
        "Flatten": 1, "ConvertTensor": 2,
    }  # fmt: skip
    parts = [op["main"]["common"] for op in found["oplists"] if "common" in op.get("main", {})]
    assert sum(part["relu6"] for part in parts) == 35
    assert expected.compare(export.reload(out), "float32").passed
    export.write(expected.config, expected.arrays, half, Options("float16"))
    assert expected.compare(export.reload(half), "float16").passed
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


def test_a_thousand_long_labels_fit(tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.1, size=(48, 64), classes=1000)
    labels = Labels(tuple(f"{index} {'Straßenschuh, 靴, ' * 20}" for index in range(1000)))
    config = ModelConfig(spec, Preprocessing.default(spec), labels)
    assert len(config.to_json().encode()) > 300_000  # more than one argument of a command can have
    out = tmp_path / "m.mnn"
    export.write(config, random_arrays(spec), out, Options())
    assert read_artifact(out).config == config


def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.mnn"
    expected = reference(SPECS["same"])
    monkeypatch.setattr(export, "PROGRAM", "print('first'); raise SystemExit('no such operator')")
    with pytest.raises(ArtifactError, match=r"^MNN cannot convert .* \(status 1: no such operator"):
        export.write(expected.config, expected.arrays, out, Options())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_neither_the_converter_nor_the_runtime_opens_a_connection(tmp_path: Path) -> None:
    # MNN's own command does, and installs a package to do it.
    program = (
        "import sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith(('socket.connect', 'socket.getaddrinfo', 'os.system')):\n"
        "        raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(watch)\n"
        "from pathlib import Path\n"
        "from mobilenetv2.export import mnn\n"
        "from mobilenetv2.export.job import Options\n"
        "from mobilenetv2.spec.network import NetworkSpec\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "mnn.PROGRAM = f'{WATCH}; {mnn.PROGRAM}'\n"
        "spec = NetworkSpec(width=0.1, size=(48, 64), classes=5)\n"
        "out = Path(sys.argv[1])\n"
        "mnn.write(ModelConfig.default(spec), random_arrays(spec), out, Options())\n"
        "mnn.reload(out)\n"
        "assert not any(name.startswith(('MNN.tools', 'aliyun')) for name in sys.modules)\n"
    )
    watch = "import sys; sys.addaudithook(lambda e, a: e.startswith('socket.') and exit(9))"
    done = subprocess.run(
        [sys.executable, "-c", f"WATCH = {watch!r}\n{program}", str(tmp_path / "m.mnn")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
