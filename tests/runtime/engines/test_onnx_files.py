"""Exported ONNX files: read with their config; what was changed is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_forms import Form, scheme_of

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.graph.lowering import lower, lower_folded
from mobilenetv2.graph.onnx import CONFIG_KEY, write_onnx
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.runtime.engines.onnx_files import read_file
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(lower(CONFIG, random_arrays(SPEC))))
    return path


@pytest.mark.parametrize(
    "form",
    [
        Form(), Form(pictures=True), Form(batch=3), Form(any_size=True), Form(half=True),
        Form(half=True, pictures=True), Form(features=True), Form(last_map=True),
        Form(intermediates=True), Form(opset=13), Form(opset=22),
    ],
)  # fmt: skip
def test_every_form_is_read_with_its_config(tmp_path: Path, form: Form) -> None:
    data = form.onnx(lower_folded(CONFIG, fold(SPEC, random_arrays(SPEC))))
    (tmp_path / "m.onnx").write_bytes(data)
    found = read_file(tmp_path / "m.onnx")
    assert (found.config, found.graph, found.format) == (CONFIG, data, "onnx")
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("only", [None, {"stem", "input", "classifier", "features"}])
def test_every_kind_of_quantisation_is_read(
    tmp_path: Path, per_channel: bool, only: set[str] | None
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(write_onnx(scheme_of(SPEC, per_channel).quantised(only)))
    assert read_file(path).config == CONFIG
    model = onnx.load_from_string(path.read_bytes())
    changed = "stem.conv.weight.zero_point"
    put(model, changed, onnx.numpy_helper.to_array(constant(model, changed)) + np.int8(1))
    seal_anew(path, model)
    with pytest.raises(ArtifactError, match=f"another constant {changed}"):
        read_file(path)


def test_a_flipped_bit_in_a_weight_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    weight = onnx.load_from_string(bytes(data)).graph.initializer[5].raw_data
    data[data.index(weight) + len(weight) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"m\.onnx: it was changed or damaged"):
        read_file(path)


def test_another_networks_metadata_is_refused(path: Path) -> None:
    model = onnx.load_from_string(path.read_bytes())
    other = ModelConfig.default(SPEC.replace(size=(40, 32)))
    for entry in model.metadata_props:
        if entry.key == CONFIG_KEY:
            entry.value = other.to_json()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="it was changed or damaged"):
        read_file(path)
    # With a seal that was made for it, too: the graph still takes other pictures.
    del model.metadata_props[1]
    body = model.SerializeToString() + b"\x72\x56\x0a\x12" + seal.KEY.encode() + b"\x12\x40"
    path.write_bytes(body + seal.digest(body).encode())
    with pytest.raises(ArtifactError, match="another network: the config has images of 40"):
        read_file(path)


def test_data_in_other_files_is_refused(path: Path) -> None:
    model = onnx.load_from_string(path.read_bytes())
    tensor = model.graph.initializer[2]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"m\.onnx: .*(external|other file)"):
        read_file(path)


def resealed(path: Path, change: Callable[[Any], object]) -> None:
    """Change a file's model and seal it anew, as an attacker would."""
    model = onnx.load_from_string(path.read_bytes())
    change(model)
    seal_anew(path, model)


def seal_anew(path: Path, model: Any) -> None:
    del model.metadata_props[1]
    body = model.SerializeToString() + b"\x72\x56\x0a\x12" + seal.KEY.encode() + b"\x12\x40"
    path.write_bytes(body + seal.digest(body).encode())


def node(model: Any, output: str) -> Any:
    return next(one for one in model.graph.node if one.output[0] == output)


def attribute(model: Any, output: str, name: str) -> Any:
    return next(one for one in node(model, output).attribute if one.name == name)


def constant(model: Any, name: str) -> Any:
    return next(one for one in model.graph.initializer if one.name == name)


def put(model: Any, name: str, values: Any) -> None:
    constant(model, name).CopyFrom(onnx.numpy_helper.from_array(np.asarray(values), name))


def append(model: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    """Put an operator before the last one, and let that one take its output."""
    made = onnx.helper.make_node(kind, inputs, [output], **attributes)
    last = model.graph.node.pop()
    last.input[0] = output
    model.graph.node.extend([made, last])


ATTACKS: dict[str, Callable[[Any], object]] = {
    "stride": lambda m: attribute(m, "stem.conv", "strides").ints.__setitem__(0, 3),
    "pads": lambda m: attribute(m, "stem.conv", "pads").ints.__setitem__(0, 2**31 - 1),
    "dilations": lambda m: node(m, "stem.conv").attribute.append(
        onnx.helper.make_attribute("dilations", [2, 2])
    ),
    "ceiling": lambda m: put(m, "six", np.float32(5)),
    "floor": lambda m: put(m, "zero", np.float32(-1)),
    "kind": lambda m: setattr(node(m, "pool"), "op_type", "GlobalMaxPool"),
    "wiring": lambda m: node(m, "logits").input.__setitem__(2, "stem.conv.bias"),
    "weight": lambda m: put(m, "classifier.weight", np.zeros((3, 1280), "f4")),
    "weight of NaN": lambda m: put(m, "classifier.bias", np.full(4, np.nan, "f4")),
    "bomb": lambda m: append(m, "Expand", ["features", "huge"], "wide"),
    "more": lambda m: append(m, "Identity", ["features"], "again"),
    "output": lambda m: setattr(m.graph.output[0], "name", "pool"),
    "opset": lambda m: setattr(m.opset_import[0], "version", 9),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_sealed_graph_that_is_not_its_configs_is_refused(path: Path, attack: str) -> None:
    resealed(path, lambda _: None)
    read_file(path)  # the seal made here is right
    resealed(path, ATTACKS[attack])
    with pytest.raises(ArtifactError, match=r"m\.onnx: .*another network"):
        read_file(path)


def test_other_weights_of_the_same_network_are_read(path: Path) -> None:
    resealed(path, lambda m: put(m, "classifier.bias", np.ones(4, "f4")))
    read_file(path)


def test_fewer_outputs_than_labels_are_refused(path: Path) -> None:
    """Once, ten labels were answered with three outputs."""

    def fewer(model: Any) -> None:
        for name in ("classifier.weight", "classifier.bias"):
            put(model, name, onnx.numpy_helper.to_array(constant(model, name))[:3])
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3

    resealed(path, fewer)
    with pytest.raises(ArtifactError, match=r"m\.onnx: .*4 logits.*classifier"):
        read_file(path)
