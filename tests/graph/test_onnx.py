"""Our ONNX files: the operators that runtimes fuse, the network's numbers, and the config back."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from heads import BLOCKS

from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import CONFIG_KEY, write_onnx
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

SPECS = {
    "symmetric": published("torchvision", size=64, classes=7),
    "symmetric, odd": published("torchvision", width=0.35, size=(65, 100), classes=7),
    "same": published("paper", width=0.35, size=96, classes=7),
    "same, not square": published("paper", width=1.4, size=(66, 97), classes=7),
    "article-torch": published("article-torch", width=0.5, size=64, classes=7),
    "article-keras": published("article-keras", width=0.5, size=64, classes=7),
    "small": published("small", size=32, classes=10),
    "grey": NetworkSpec(width=0.35, size=(64, 64), classes=7, input_channels=1),
    "timm-110d": published("timm-110d", size=64, classes=7),
}


def config_of(spec: NetworkSpec) -> ModelConfig:
    """With nothing left to a default."""
    labels = Labels(tuple(f"flöwer\n{index}" for index in range(spec.classes)))
    record = Preprocessing.default(spec)
    record = dataclasses.replace(record, interpolation="bicubic", resize=(200, 200))
    origin = Origin("trained here", licence="Apache-2.0")
    return ModelConfig(spec, record, labels, origin, {"validation.top1": 0.93})


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_onnx_runtime_computes_what_the_plain_reference_does(name: str, folded: bool) -> None:
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed (extra: against)"
    )
    spec = SPECS[name]
    arrays = random_arrays(spec)
    data = write_onnx(lower(config_of(spec), arrays, folded))
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    network = plain.build(spec, dtype=np.float64)
    plain.load(network, arrays)
    shape = (2, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = network(x)
    (found,) = runtime.InferenceSession(data).run(["logits"], {"input": x})
    assert 0.5 < expected.std() < 20
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_it_comes_back_with_its_whole_config(name: str, folded: bool, tmp_path: Path) -> None:
    spec, path = SPECS[name], tmp_path / "net.onnx"
    config, arrays = config_of(spec), random_arrays(spec)
    path.write_bytes(write_onnx(lower(config, arrays, folded)))
    back, found = read_checkpoint(path)
    assert dataclasses.replace(back, origin=config.origin) == config
    assert back.origin is not None and back.origin.folded == folded
    assert (back.origin.source, back.origin.licence) == ("net.onnx", "Apache-2.0")
    assert list(found) == list(arrays)
    if not folded:
        for key in arrays:
            np.testing.assert_array_equal(found[key], arrays[key], strict=True)
    for key, pair in fold(spec, arrays).items():
        for one, other in zip(pair, fold(spec, found)[key], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("folded", [True, False])
def test_it_has_the_operators_that_runtimes_fuse_and_no_other(folded: bool) -> None:
    spec = published("torchvision", size=64, classes=7)
    model = onnx.load_from_string(write_onnx(lower(config_of(spec), random_arrays(spec), folded)))
    expected = {"Conv": 52, "Clip": 35, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    if not folded:
        expected["BatchNormalization"] = 52
    assert collections.Counter(node.op_type for node in model.graph.node) == expected
    relu = spec.replace(numerics=dataclasses.replace(spec.numerics, activation="relu"))
    model = onnx.load_from_string(write_onnx(lower(config_of(relu), random_arrays(relu), folded)))
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    assert kinds["Relu"] == 35 and "Clip" not in kinds


def test_the_same_arguments_give_the_same_bytes() -> None:
    spec = SPECS["small"]
    assert write_onnx(lower(config_of(spec), random_arrays(spec))) == write_onnx(
        lower(config_of(spec), random_arrays(spec))
    )


def test_labels_given_by_hand_win_over_those_inside(tmp_path: Path) -> None:
    spec, path = SPECS["small"], tmp_path / "net.onnx"
    path.write_bytes(write_onnx(lower(config_of(spec), random_arrays(spec))))
    mine = Labels(tuple("abcdefghij"), background=0)
    config, _ = read_checkpoint(path, ImportOptions(labels=mine))
    assert (config.labels, config.spec.background) == (mine, "first")


def test_what_came_in_folded_stays_marked_so(tmp_path: Path) -> None:
    spec, path = SPECS["small"], tmp_path / "net.onnx"
    config = dataclasses.replace(config_of(spec), origin=Origin("x.tflite", folded=True))
    path.write_bytes(write_onnx(lower(config, random_arrays(spec), folded=False)))
    origin = read_checkpoint(path)[0].origin
    assert origin is not None and origin.folded


def test_arrays_that_do_not_fit_are_refused() -> None:
    spec = SPECS["small"]
    with pytest.raises(WeightsError, match="the tensors do not fit"):
        write_onnx(lower(config_of(spec), random_arrays(spec.replace(width=0.5))))


@pytest.mark.parametrize("name", ["wide", "relu projections"])
def test_what_is_added_after_an_activation_is_no_foreign_network_to_import(
    name: str, tmp_path: Path
) -> None:
    """Such files are run as they are; tests/runtime does."""
    config, path = ModelConfig.default(BLOCKS[name]), tmp_path / "net.onnx"
    path.write_bytes(write_onnx(lower(config, random_arrays(config.spec))))
    with pytest.raises(DialectError, match=r"net\.onnx: .*an addition after an activation"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "not JSON"),
        (lambda text: "[" * 100_000, "not JSON"),
        (lambda text: "{}", "damaged: .*the key 'spec' is missing"),
        (lambda text: text.replace('"width": 1.0', '"width": 0.5'), "another network: stem"),
        (lambda text: text.replace('"symmetric"', '"same"'), "another network: .*padding"),
        (lambda text: text.replace('"relu6"', '"relu"'), "another network: .*activation"),
        (lambda text: text.replace('"identity"', '"none"'), "another network: .*shortcuts"),
        (lambda text: text.replace('"repeats": 4', '"repeats": 99999'), "100,012 blocks"),
        (lambda text: text.replace("32,\n", "36,\n"), "it takes 36 x 32 pixels of 3"),
    ],
)  # fmt: skip
def test_a_config_that_is_not_the_graphs_is_an_error(
    change: Any, message: str, tmp_path: Path
) -> None:
    spec, path = SPECS["small"], tmp_path / "net.onnx"
    model = onnx.load_from_string(write_onnx(lower(config_of(spec), random_arrays(spec))))
    entry, _ = model.metadata_props  # the config, the seal
    assert entry.key == CONFIG_KEY
    text = change(entry.value)
    if "pixels" in message:  # only the spec's and the preprocessing's height
        text = entry.value.replace('"size": [\n      32,', '"size": [\n      36,')
    entry.value = text
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DialectError, match=rf"net\.onnx: the config inside it:? .*{message}"):
        read_checkpoint(path)
