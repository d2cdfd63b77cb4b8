"""OpenVINO's files: what was changed or is not ours is refused; its precision; its silence."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_forms import Form, scheme_of

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.job import Options
from mobilenetv2.exporting.openvino import converted, write_ir, write_openvino
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.engines.openvino import BEGIN, read_artifact, sealed
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

pytest.importorskip("openvino", reason="openvino is not installed (extra: openvino)")

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    path = tmp_path_factory.mktemp("openvino") / "m.xml"
    write_openvino(CONFIG, random_arrays(SPEC), path, Options())
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


@pytest.fixture
def path(tmp_path: Path, made: tuple[bytes, bytes]) -> Path:
    path = tmp_path / "m.xml"
    path.write_bytes(made[0])
    path.with_suffix(".bin").write_bytes(made[1])
    return path


def resealed(path: Path, change: Callable[[str], str]) -> None:
    """The file with another body and a seal that fits it."""
    body = path.read_bytes().rpartition(BEGIN)[0].decode()
    changed = change(body)
    assert changed != body
    path.write_bytes(sealed(changed.encode(), path.with_suffix(".bin").read_bytes()))


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options("float16"),
        Options(pictures=True),
        Options(batch=3),
        Options(any_size=True),
    ],
)
def test_every_form_is_read_with_its_config(tmp_path: Path, options: Options) -> None:
    path = tmp_path / "m.xml"
    write_openvino(CONFIG, random_arrays(SPEC), path, options)
    found = load_artifact(path)
    assert (found.config, found.format) == (CONFIG, "openvino")
    assert found.graph == path.read_bytes()
    assert found.weights == path.with_suffix(".bin").read_bytes()


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("only", [None, {"stem", "input", "classifier", "features"}])
def test_every_kind_of_quantisation_is_read(
    tmp_path: Path, per_channel: bool, only: set[str] | None
) -> None:
    path = tmp_path / "m.xml"
    write_ir(converted(write_onnx(scheme_of(SPEC, per_channel).quantised(only))), CONFIG, path)
    assert read_artifact(path).config == CONFIG


ATTACKS: dict[str, tuple[str, str]] = {
    "stride": (r'strides="2, 2"', 'strides="1, 1"'),
    "dilations": (r'dilations="1, 1"', 'dilations="2, 2"'),
    "pads": (r'pads_begin="1, 1"', 'pads_begin="2147483647, 1"'),
    "ceiling": (r'max="6"', 'max="5"'),
    "kind": ('type="ReduceMean"', 'type="ReduceMax"'),
    "control flow": ('type="ReduceMean"', 'type="If"'),
    "extension": ('version="opset1"', 'version="mine"'),
    "offset": (r'offset="\d{4}"', 'offset="99999999999"'),
    "negative": (r'offset="\d{4}"', 'offset="-64"'),
    "size": (r'size="864"', 'size="860"'),
    "shape": (r'shape="4, 1280"', 'shape="4, 1279"'),
    "wiring": (r'<edge from-layer="5" ', '<edge from-layer="4" '),
    "nothing": (r'<edge from-layer="5" ', '<edge from-layer="99999" '),
    "elsewhere": ("<layers>", "<pre-process /><layers>"),
    "older": ('version="11"', 'version="10"'),
    "output": ('names="logits"', 'names="features"'),
    "number": ('max="6"', 'max="six"'),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_sealed_graph_that_is_not_its_configs_is_refused(path: Path, attack: str) -> None:
    resealed(path, lambda body: re.sub(*ATTACKS[attack], body, count=1))
    with pytest.raises(ArtifactError, match=r"m\.xml: .*(another network|not an OpenVINO file)"):
        read_artifact(path)


def test_labels_of_every_character(tmp_path: Path) -> None:
    names = ("a\x01\x1f\x7f\ufffe", "Ä <b> & \"c\" 'd' -->", "\U0001f600 \u3042\n\t", "x\u2028y")
    config = ModelConfig(SPEC, CONFIG.preprocessing, Labels(names))
    write_openvino(config, random_arrays(SPEC), tmp_path / "m.xml", Options())
    assert read_artifact(tmp_path / "m.xml").config == config


def test_a_flipped_bit_is_refused(path: Path, made: tuple[bytes, bytes]) -> None:
    xml, weights = (bytearray(data) for data in made)
    weights[len(weights) // 2] ^= 4
    path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(ArtifactError, match=r"m\.xml: it was changed or damaged"):
        read_artifact(path)
    path.with_suffix(".bin").write_bytes(made[1])
    place = xml.index(b"kernel") if b"kernel" in xml else xml.index(b"strides")
    xml[place] ^= 1
    path.write_bytes(xml)
    with pytest.raises(ArtifactError, match=r"m\.xml: it was changed or damaged"):
        read_artifact(path)


@pytest.mark.parametrize("kept", [0, 1, 100, -100, -1])
def test_what_was_cut_off_is_refused(path: Path, made: tuple[bytes, bytes], kept: int) -> None:
    path.write_bytes(made[0][:kept])
    with pytest.raises(ArtifactError, match=r"m\.xml: (not an OpenVINO file|it was changed)"):
        read_artifact(path)
    path.write_bytes(made[0])
    path.with_suffix(".bin").write_bytes(made[1][:kept])
    with pytest.raises(ArtifactError, match=r"m\.xml: it was changed or damaged"):
        read_artifact(path)


def test_another_networks_metadata_is_refused(path: Path) -> None:
    resealed(path, lambda body: body.replace('shape="?,3,32,32"', 'shape="?,3,40,32"'))
    with pytest.raises(ArtifactError, match=r"another network: the config has images of 32 "):
        read_artifact(path)


def test_somebody_elses_file_says_how_to_bring_it_in(path: Path) -> None:
    resealed(path, lambda body: re.sub("<config [^>]*/>", "", body))
    with pytest.raises(ArtifactError, match=r"m\.xml: it has no preprocessing .*with .*export"):
        read_artifact(path)
    resealed(path, lambda body: body.replace("<mobilenetv2>", '<mobilenetv2><config value="{"/>'))
    with pytest.raises(ArtifactError, match="the config inside it: not JSON"):
        read_artifact(path)


@pytest.mark.parametrize(
    "body",
    [
        b"no xml", b"<html></html>", b"<net><layers/></net>", b"\xff\xfe<", b"<net>&lol;</net>",
        b'<?xml version="1.0" encoding="nonsense"?><net/>',
    ],
)  # fmt: skip
def test_what_is_no_openvino_file(path: Path, body: bytes) -> None:
    path.write_bytes(body)
    with pytest.raises(ArtifactError, match=r"m\.xml: not an OpenVINO file"):
        read_artifact(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_not_read(path: Path, encoding: str) -> None:
    bomb = (
        '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]><net>&b;</net>'
    )
    path.write_bytes(bomb.encode(encoding))
    with pytest.raises(ArtifactError, match=r"m\.xml: not an OpenVINO file, .*a document type"):
        read_artifact(path)


def test_weights_that_are_missing_or_lie_elsewhere(path: Path) -> None:
    weights = path.with_suffix(".bin")
    outside = path.parent / "other" / "m.bin"
    outside.parent.mkdir()
    weights.rename(outside)
    with pytest.raises(ArtifactError, match=r"m\.xml: its weights are missing; copy m\.bin"):
        read_artifact(path)
    weights.symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"m\.bin: it is a link out of its folder"):
        read_artifact(path)


def test_a_file_that_is_too_large_is_not_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenetv2.runtime.engines.openvino.LARGEST_XML", 1000)
    with pytest.raises(ArtifactError, match=r"m\.xml: .* bytes are more than the limit of 1,000"):
        read_artifact(path)


def test_graphs_of_either_format_that_are_none() -> None:
    for graph, weights in ((b"no graph", b""), (b"", b""), (b"<net/>", b"0")):
        for kind in ("onnx", "openvino"):
            with pytest.raises(ArtifactError, match=r"^m\.x: OpenVINO cannot run it \(.+\)$"):
                create_engine(Artifact(CONFIG, kind, graph, "m.x", weights), "openvino")


def running(threads: int | None = None) -> Any:
    data = Form().onnx(lower(CONFIG, random_arrays(SPEC)))
    return create_engine(Artifact(CONFIG, "onnx", data, "m.onnx"), "openvino", threads)


def test_float64_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"^m\.onnx: OpenVINO cannot run it \(.+\)$"):
        running().run(np.zeros((1, 3, *SPEC.size)), "logits")


def test_float32_is_what_it_computes_in() -> None:
    openvino: Any = require("openvino")
    compiled = running(1)._compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_nothing_is_reported_to_anybody_and_nothing_printed(tmp_path: Path) -> None:
    store.save(tmp_path / "m", CONFIG, random_arrays(SPEC))
    (tmp_path / "home").mkdir()
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from mobilenetv2.runtime.predictor import load_predictor\n"
        "_, run = load_predictor(Path(sys.argv[1]), runtime='openvino')\n"
        "print(run(np.zeros((1, 32, 32, 3), np.uint8)).shape)\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    made = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        env=environment | {"HOME": str(tmp_path / "home")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout, made.stderr) == (0, "(1, 4)\n", "")
    assert not list((tmp_path / "home").iterdir())
