"""ONNX Runtime's files: read with their config; what was changed is refused."""

from pathlib import Path

import onnx
import pytest
from graph_forms import Form

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.graph.onnx import CONFIG_KEY, write_onnx
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.onnxruntime import read_artifact
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(lower(CONFIG, random_arrays(SPEC))))
    return path


@pytest.mark.parametrize("form", [Form(), Form(pictures=True), Form(batch=3), Form(any_size=True)])
def test_every_form_is_read_with_its_config(tmp_path: Path, form: Form) -> None:
    data = form.onnx(lower_folded(CONFIG, fold(SPEC, random_arrays(SPEC))))
    (tmp_path / "m.onnx").write_bytes(data)
    found = read_artifact(tmp_path / "m.onnx")
    assert (found.config, found.graph, found.format) == (CONFIG, data, "onnx")
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


def test_a_flipped_bit_in_a_weight_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    weight = onnx.load_from_string(bytes(data)).graph.initializer[5].raw_data
    data[data.index(weight) + len(weight) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"m\.onnx: it was changed or damaged"):
        read_artifact(path)


def test_another_networks_metadata_is_refused(path: Path) -> None:
    model = onnx.load_from_string(path.read_bytes())
    other = ModelConfig.default(SPEC.replace(size=(40, 32)))
    for entry in model.metadata_props:
        if entry.key == CONFIG_KEY:
            entry.value = other.to_json()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="it was changed or damaged"):
        read_artifact(path)
    # With a seal that was made for it, too: the graph still takes other pictures.
    del model.metadata_props[1]
    body = model.SerializeToString() + b"\x72\x56\x0a\x12" + seal.KEY.encode() + b"\x12\x40"
    path.write_bytes(body + seal.digest(body).encode())
    with pytest.raises(ArtifactError, match="another network: the config has images of 40"):
        read_artifact(path)


def test_data_in_other_files_is_refused(path: Path) -> None:
    model = onnx.load_from_string(path.read_bytes())
    tensor = model.graph.initializer[2]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"m\.onnx: .*(external|other file)"):
        read_artifact(path)
