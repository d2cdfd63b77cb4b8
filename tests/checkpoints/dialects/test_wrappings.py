"""State dicts in the wrappings that people save them in, and what lies beside the network."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.dialects.registry import TENSORS, TORCHVISION
from mobilenetv2.checkpoints.dialects.wrappings import body_end, joined, roots_of, unwrap
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")

SPEC = published("torchvision", width=0.1, classes=3, size=64)
ARRAYS = random_arrays(SPEC)
NAMES = ("hat", "pants", "shoes")
WITH_LABELS = ("with_labels", "with_class_names")
WRAPPED = (
    "lightning", "lightning_criterion", "backbone", "backbone_and_fc", "classifier_is_linear",
    "classifier_0", "classifier_1_1", "thop_counters", *WITH_LABELS,
)  # fmt: skip
Save = Callable[..., Path]


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def state(dialect: str = "torchvision", arrays: Arrays = ARRAYS) -> dict[str, Any]:
    foreign = TENSORS[dialect].encode(SPEC, arrays)
    return {name: torch.from_numpy(array) for name, array in foreign.items()}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a state dict: as safetensors, which no child process reads, where it is one alone."""

    def write(content: Any, name: str = "m") -> Path:
        path = tmp_path / name
        if all(isinstance(value, torch.Tensor) for value in content.values()):
            arrays = {key: value.numpy() for key, value in content.items()}
            path.write_bytes(safetensors_bytes(arrays))
        else:
            torch.save(content, path)
        return path

    return write


@pytest.fixture(scope="module")
def cases(shared_case: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the shared script makes of our own export."""
    script, folder = str(shared_case("pytorch_wrappings.py")), tmp_path_factory.mktemp("wrappings")
    write_checkpoint(ModelConfig.default(SPEC), ARRAYS, "torchvision", folder / "base.pth")
    (folder / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        arguments = [script, str(folder / "base.pth"), str(folder / "out")]
        patch.setattr(sys, "argv", arguments)
        runpy.run_path(script)
    return folder / "out"


@pytest.mark.parametrize("case", WRAPPED)
def test_every_wrapping_of_the_same_network(cases: Path, case: str) -> None:
    config, arrays = read_checkpoint(cases / f"{case}.pth")
    assert same(arrays, ARRAYS) and config.spec.classifier == ClassifierSpec()
    expected = Labels(NAMES) if case in WITH_LABELS else Labels.numbered(3)
    assert config.labels == expected and config.origin is not None
    assert ("criterion.weight" in config.origin.note) == (case == "lightning_criterion")
    assert not config.origin.untrained_classifier


def test_a_hidden_layer_is_imported_and_its_activation_is_said_to_be_assumed(cases: Path) -> None:
    file = cases / "other_hidden_layer.pth"
    config, arrays = read_checkpoint(file)
    assert config.spec.classifier == ClassifierSpec(hidden=(HiddenSpec(256),))
    assert config.origin is not None and "ReLU is assumed" in config.origin.note
    held = torch.load(file, weights_only=True)
    features = np.random.default_rng(0).random((4, 1280), np.float32)
    linear = torch.nn.functional.linear
    first = linear(
        torch.from_numpy(features), held["classifier.1.weight"], held["classifier.1.bias"]
    )
    expected = linear(torch.relu(first), held["classifier.4.weight"], held["classifier.4.bias"])
    inner = np.maximum(features @ arrays["hidden.0.weight"].T + arrays["hidden.0.bias"], 0)
    found = inner @ arrays["classifier.weight"].T + arrays["classifier.bias"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_one_output_is_two_classes(cases: Path) -> None:
    config, arrays = read_checkpoint(cases / "other_one_output.pth")
    assert config.spec.classifier.outputs == "logit" and config.spec.classes == 2
    assert config.origin is not None and "one output" in config.origin.note
    network = plain.build(config.spec)
    plain.load(network, arrays)
    pictures = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    logits = plain.intermediates(network, pictures)["logits"]
    odds = probabilities(logits, config.spec.classifier.outputs)
    assert odds.shape == (2, 2) and 0 < odds.min() < 1


@pytest.mark.parametrize("prefix", [
    "model.", "net.", "_orig_mod.", "module.model.", "model.backbone.net.", "student.", "0.",
])  # fmt: skip
@pytest.mark.parametrize("dialect", ["torchvision", "timm", "tonylins", "d-li14", "huggingface"])
def test_any_prefix_in_any_names(save: Save, dialect: str, prefix: str) -> None:
    path = save({prefix + name: value for name, value in state(dialect).items()})
    config, arrays = read_checkpoint(path)
    assert config.origin is not None and config.origin.dialect == dialect
    assert same(arrays, ARRAYS) and config.origin.note == ""


def test_the_average_beside_the_network_is_taken_and_said(save: Save) -> None:
    worse = {f"model.{name}": value + 1 for name, value in state().items()}
    path = save(worse | {f"model_ema.module.{name}": value for name, value in state().items()})
    config, arrays = read_checkpoint(path)
    assert same(arrays, ARRAYS) and config.origin is not None
    assert "'model_ema.module." in config.origin.note and "average" in config.origin.note


def test_the_student_is_taken_and_the_teacher_is_said_to_be_left_out(save: Save) -> None:
    other = {f"teacher.{name}": value + 1 for name, value in state().items()}
    path = save(other | {f"student.{name}": value for name, value in state().items()})
    config, arrays = read_checkpoint(path)
    assert same(arrays, ARRAYS)
    assert config.origin is not None and "left out: 'teacher." in config.origin.note


def test_two_networks_of_which_none_is_meant(save: Save) -> None:
    other = {f"one.{name}": value + 1 for name, value in state().items()}
    path = save(other | {f"two.{name}": value for name, value in state().items()})
    with pytest.raises(DialectError, match=r"holds 2 networks.*'one\..*'two\."):
        read_checkpoint(path)


def test_a_module_that_is_registered_twice_is_one_network(save: Save) -> None:
    body = {n: v for n, v in state().items() if n.startswith("features.")}
    whole = {f"model.{name}": value for name, value in state().items()}
    _, arrays = read_checkpoint(save(body | whole))
    assert same(arrays, ARRAYS)


@pytest.mark.parametrize("parts", [
    ("backbone", "head"), ("model", "fc"), ("feature_extractor", "classifier"),
])  # fmt: skip
def test_body_and_head_as_state_dicts_of_their_own(save: Save, parts: tuple[str, str]) -> None:
    whole = state()
    head = {"weight": whole.pop("classifier.1.weight"), "bias": whole.pop("classifier.1.bias")}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}
    _, arrays = read_checkpoint(save({parts[0]: whole, parts[1]: head, "optimizer": optimizer}))
    assert same(arrays, ARRAYS)


def test_counters_of_profilers_in_every_layer_are_no_weights(save: Save) -> None:
    layers = {name.rpartition(".")[0] for name in state()}
    counters = {f"{layer}.{name}": torch.zeros(1, dtype=torch.float64) for layer in layers
                for name in ("total_ops", "total_params", "__flops__")}  # fmt: skip
    _, arrays = read_checkpoint(save(state() | counters | {"total_ops": torch.zeros(1)}))
    assert same(arrays, ARRAYS)


@pytest.mark.parametrize("scale", [1, 255])
def test_a_layer_that_normalises_becomes_the_preprocessing(save: Save, scale: int) -> None:
    mean, std = (torch.tensor([a, b, 0.25]).reshape(1, 3, 1, 1) for a, b in ((0.5, 0.75), (1, 0.5)))
    wrapped = {f"model.{name}": value for name, value in state().items()}
    path = save(wrapped | {"normalize.mean": scale * mean, "normalize.std": scale * std})
    config, _ = read_checkpoint(path)
    assert config.preprocessing.mean == (127.5, 191.25, 63.75)
    assert config.preprocessing.std == (255, 127.5, 63.75)


def test_a_body_alone_gives_features(save: Save) -> None:
    """State dict as ``model.features`` and timm's ``num_classes=0`` save it."""
    alone = {n.removeprefix("features."): v for n, v in state().items() if "classifier" not in n}
    without = {n: v for n, v in state("timm").items() if "classifier" not in n}
    for number, content in enumerate((alone, without)):
        config, arrays = read_checkpoint(save(content, str(number)))
        assert config.origin is not None and config.origin.untrained_classifier
        assert config.labels == Labels.numbered(1000)
        body = [name for name in ARRAYS if "classifier" not in name]
        assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in body)


def test_a_body_without_its_last_convolution_ends_with_its_last_block(save: Save) -> None:
    """State dict as timm's ``features_only`` saves it, whole or up to a stage."""
    whole = state("timm")
    blocks = {n: v for n, v in whole.items() if n.startswith(("conv_stem", "bn1", "blocks."))}
    config, arrays = read_checkpoint(save(blocks))
    assert config.spec.head == "none" and config.spec.stages == SPEC.stages
    assert config.origin is not None and config.origin.untrained_classifier
    first = {n: v for n, v in blocks.items() if not n.startswith(("blocks.5", "blocks.6"))}
    config, arrays = read_checkpoint(save(first))
    assert config.spec.stages == SPEC.stages[:5]
    shown = [name for name in ARRAYS if name in arrays and "classifier" not in name]
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in shown) and len(shown) > 100


@pytest.mark.parametrize("head", [
    {"decoder.weight": torch.zeros(8, 1280, 3, 3)},
    {"fc.weight": torch.zeros(3, 2560), "fc.bias": torch.zeros(3)},
    {"cls.weight": torch.zeros(3, 1280), "box.weight": torch.zeros(4, 1280)},
])  # fmt: skip
def test_a_head_that_is_no_chain_is_named_and_the_body_is_offered(
    save: Save, head: dict[str, Any]
) -> None:
    body = {n: v for n, v in state().items() if "classifier" not in n}
    path = save(body | head)
    with pytest.raises(DialectError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert next(iter(head)) in message and "body" in message and "stage table" not in message
    config, arrays = read_checkpoint(path, ImportOptions(body=True))
    assert config.origin is not None and config.origin.untrained_classifier
    assert "left out" in config.origin.note
    assert np.array_equal(arrays["head.conv.weight"], ARRAYS["head.conv.weight"])


def test_the_body_alone_of_a_file_with_a_good_head(save: Save) -> None:
    config, arrays = read_checkpoint(save(state()), ImportOptions(body=True))
    assert config.origin is not None and config.origin.untrained_classifier
    assert len(arrays["classifier.weight"]) == 1000


def test_labels_that_do_not_fit_are_said_and_not_used(save: Save) -> None:
    config, _ = read_checkpoint(save({"state_dict": state(), "classes": ["a", "b"]}))
    assert config.labels == Labels.numbered(3) and config.origin is not None
    assert "classes names 2 classes, and there are 3 outputs" in config.origin.note


@pytest.mark.parametrize("beside", [
    {"hyper_parameters": {"class_names": list(NAMES), "lr": 0.1}},
    {"idx_to_class": {0: "hat", 2: "shoes", 1: "pants"}},
    {"args": {"label_names": NAMES}, "classes": ["a", "b"]},
])  # fmt: skip
def test_labels_beside_the_state_dict(save: Save, beside: dict[str, Any]) -> None:
    config, _ = read_checkpoint(save({"state_dict": state(), **beside}))
    assert config.labels == Labels(NAMES)


def test_the_size_that_a_training_run_names_is_the_networks(save: Save) -> None:
    path = save(
        {"state_dict": state("timm"), "args": {"img_size": None, "input_size": [3, 96, 64]}}
    )
    assert read_checkpoint(path)[0].spec.size == (96, 64)
    assert read_checkpoint(path, ImportOptions(size=(64, 64)))[0].spec.size == (64, 64)


def test_a_body_is_known_by_the_first_parts_of_its_names() -> None:
    assert roots_of(TORCHVISION.table, "features.") == {"0", "{n}"}
    assert {"conv_stem", "bn1", "blocks"} <= roots_of(TENSORS["timm"].table, "")
    foreign = TORCHVISION.encode(SPEC, ARRAYS)
    end = body_end(foreign, TORCHVISION.table, ".weight")
    assert end is not None and (end.blocks, end.features, end.head) == (17, 1280, True)
    assert body_end({}, TORCHVISION.table, ".weight") is None
    assert unwrap({}, TORCHVISION.signature, "features.", frozenset()) is None
    assert joined(("a.", "", "b.", "a.")) == "a. b."
