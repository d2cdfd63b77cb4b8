"""Strides that no state dict says: what is recognised, assumed aloud, and asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import Description, ImportOptions
from mobilenetv2.checkpoints.dialects.registry import TENSORS, TORCHVISION
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.checkpoints.strides import (
    USUAL,
    choose_strides,
    read_strides,
    strides_of,
    with_strides,
)
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels

SPEC = published("torchvision", width=0.1, classes=10)
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes(TORCHVISION.encode(SPEC, random_arrays(SPEC))))
    return path


def as_torchvision_would(state: dict[str, Any], x: Any, strides: Sequence[int]) -> Any:
    """Return the logits of torchvision's modules with other strides, written out plainly."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    functional = torch.nn.functional

    def convolve(x: Any, conv: str, norm: str, stride: int = 1, activated: bool = True) -> Any:
        weight = state[f"{conv}.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        parts = (state[f"{norm}.{part}"] for part in
                 ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
        x = functional.batch_norm(x, *parts)
        return functional.relu6(x) if activated else x

    x = convolve(x, "features.0.0", "features.0.1", strides[0])
    repeats = [stage.repeats for stage in SPEC.stages]
    steps = [s if i == 0 else 1 for s, n in zip(strides[1:], repeats, strict=True)
             for i in range(n)]  # fmt: skip
    for index, stride in enumerate(steps, start=1):
        name, before, last = f"features.{index}.conv", x, 1
        if index > 1:
            x, last = convolve(x, f"{name}.0.0", f"{name}.0.1"), 2
        x = convolve(x, f"{name}.{last - 1}.0", f"{name}.{last - 1}.1", stride)
        x = convolve(x, f"{name}.{last}", f"{name}.{last + 1}", activated=False)
        x = x + before if stride == 1 and x.shape == before.shape else x
    x = convolve(x, "features.18.0", "features.18.1").mean((2, 3))
    return functional.linear(x, state["classifier.1.weight"], state["classifier.1.bias"])


@pytest.mark.parametrize("name", USUAL)
def test_the_network_computes_what_the_zoos_does(file: Path, name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    config, arrays = read_checkpoint(file, ImportOptions(size=(64, 64), strides=USUAL[name]))
    network = plain.build(config.spec)
    plain.load(network, arrays)
    x = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    foreign = TORCHVISION.encode(SPEC, arrays)
    state = {name: torch.from_numpy(array) for name, array in foreign.items()}
    expected = as_torchvision_would(state, torch.from_numpy(x).permute(0, 3, 1, 2), USUAL[name])
    found = plain.intermediates(network, x)["logits"]
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_below_64_pixels_the_strides_of_the_usual_zoos_are_assumed_aloud(file: Path) -> None:
    config, _ = read_checkpoint(file, ImportOptions(size=(32, 32)))
    assert strides_of(config.spec) == USUAL["cifar"] and config.spec.size == (32, 32)
    assert config.origin is not None and "strides='paper'" in config.origin.note
    assert config.preprocessing.resize == (32, 32)  # nothing of so small a picture is cropped


@pytest.mark.parametrize("how", ["labels", "name"])
def test_cifars_classes_or_a_files_name_tell_the_size(file: Path, how: str) -> None:
    labels = Labels(tuple(CIFAR10)) if how == "labels" else None
    if how == "name":
        file = file.rename(file.with_name("cifar10_mobilenetv2_x0_1.safetensors"))
    config, _ = read_checkpoint(file, ImportOptions(labels=labels))
    assert strides_of(config.spec) == USUAL["cifar"] and config.spec.size == (32, 32)
    assert config.origin is not None and "32-pixel" in config.origin.note


def test_ten_classes_alone_get_the_papers_strides_and_a_way_out(file: Path) -> None:
    config, _ = read_checkpoint(file)
    assert strides_of(config.spec) == USUAL["paper"] and config.origin is not None
    assert "CIFAR-10" in config.origin.note and "size=32" in config.origin.note


@pytest.mark.parametrize(
    ("dialect", "classes", "size", "said", "words"),
    [
        ("torchvision", 3, None, None, ""),
        ("torchvision", 1000, (224, 224), None, ""),
        ("torchvision", 200, (64, 64), None, "1,1,2,2,2,1,2,1"),
        ("torchvision", 100, None, None, "CIFAR-100"),
        ("torchvision", 10, None, SPEC, ""),
        ("timm", 10, (32, 32), None, ""),
        ("keras", 10, (32, 32), None, ""),
    ],
)
def test_what_is_said_where_the_papers_strides_stay(
    dialect: str, classes: int, size: tuple[int, int] | None, said: NetworkSpec | None, words: str
) -> None:
    spec = SPEC.replace(classes=classes, size=size or (224, 224))
    options, told = ImportOptions(size=size), Description(said)
    found, why = choose_strides(spec, dialect, told, options, "m.pth")
    assert found == spec and words in why and bool(words) == bool(why)


def test_the_size_of_a_training_run_counts_as_one_that_is_given() -> None:
    spec = SPEC.replace(size=(32, 32), classes=7)
    found, why = choose_strides(spec, "d-li14", Description(size=(32, 32)), ImportOptions(), "m")
    assert strides_of(found) == USUAL["cifar"] and why


def test_strides_by_name_or_number() -> None:
    assert read_strides("cifar") == (1, 1, 1, 2, 2, 1, 2, 1)
    assert read_strides("1,1,2,2,2,1,2,1") == read_strides([1, 1, 2, 2, 2, 1, 2, 1])
    for wrong in ("cfar", "1,3", "", [1, 3], [], [True]):
        with pytest.raises(DialectError, match="strides"):
            read_strides(wrong)
    assert strides_of(with_strides(SPEC, USUAL["small"])) == USUAL["small"]
    with pytest.raises(DialectError, match="2 strides for a stem and 7 stages"):
        with_strides(SPEC, (1, 2))


def test_a_file_that_says_its_strides_is_not_overruled() -> None:
    options = ImportOptions(strides=USUAL["cifar"])
    with pytest.raises(DialectError, match="describes itself"):
        choose_strides(SPEC, "torchvision", Description(SPEC), options, "m.pth")
    same = ImportOptions(strides=USUAL["paper"])
    assert choose_strides(SPEC, "torchvision", Description(SPEC), same, "m.pth") == (SPEC, "")


def test_every_dialect_whose_strides_may_differ_is_one() -> None:
    from mobilenetv2.checkpoints.strides import MODIFIED

    assert set(MODIFIED) < set(TENSORS)
