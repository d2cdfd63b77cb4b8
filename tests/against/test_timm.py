"""timm's mobilenetv2_*, randomised, against our editions: both directions.

timm needs torchvision, and that another build of PyTorch: CONTRIBUTING.md says how to run this.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("timm", reason="timm is not installed (see CONTRIBUTING.md)")

import timm

from mobilenetv2.checkpoints.exporter import export_checkpoint
from mobilenetv2.checkpoints.importer import import_checkpoint
from mobilenetv2.editions import torch as edition
from mobilenetv2.hub.catalogue import find
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

Fixture = Callable[..., Any]
CASES = [
    ("mobilenetv2_035", "timm", 0.35, (64, 64)),
    ("mobilenetv2_050", "timm", 0.5, (65, 97)),
    ("mobilenetv2_100", "timm", 1.0, (64, 97)),
    ("mobilenetv2_110d", "timm-110d", 1.1, (96, 96)),
    ("mobilenetv2_120d", "timm-120d", 1.2, (64, 65)),
    ("mobilenetv2_140", "timm", 1.4, (65, 64)),
]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def spec_of(family: str, width: float, size: tuple[int, int]) -> NetworkSpec:
    return published(family, width=width, size=size, classes=11)


@pytest.mark.parametrize(("name", "family", "width", "size"), CASES)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_our_file_in_their_model(
    name: str, family: str, width: float, size: tuple[int, int], suffix: str, tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec, x = spec_of(family, width, size), pictures(size)
    arrays, file = random_arrays(spec), tmp_path / f"m.{suffix}"
    export_checkpoint(ModelConfig.default(spec), arrays, "timm", file)
    model = timm.create_model(name, num_classes=11, checkpoint_path=str(file)).eval()
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], logits)


@pytest.mark.parametrize(("name", "family", "width", "size"), CASES)
def test_their_file_in_our_editions(
    name: str, family: str, width: float, size: tuple[int, int], tmp_path: Path,
    randomise: Fixture, ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    model, x = timm.create_model(name, num_classes=11).eval(), pictures(size)
    randomise(model)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "m.pth.tar")
    config, arrays = import_checkpoint(tmp_path / "m.pth.tar")
    assert config.spec == spec_of(family, width, (224, 224))
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    for found in ours(config.spec.replace(size=size), arrays, x):
        assert_same(found["logits"], logits)


@pytest.mark.parametrize("indices", [(0, 1, 2, 3, 4), (1, 3)])
@pytest.mark.parametrize(("name", "family", "width", "size"), CASES)
def test_features_only_gives_their_maps(
    name: str, family: str, width: float, size: tuple[int, int], indices: tuple[int, ...],
    tmp_path: Path, randomise: Fixture, pictures: Fixture,
) -> None:  # fmt: skip
    model, x = timm.create_model(name, num_classes=11).eval(), pictures(size)
    randomise(model)
    theirs = timm.create_model(name, features_only=True, out_indices=indices).eval()
    body = {k: v for k, v in model.state_dict().items() if k in theirs.state_dict()}
    theirs.load_state_dict(body, strict=True)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "m.pth.tar")
    config, arrays = import_checkpoint(tmp_path / "m.pth.tar")
    network = edition.build(config)
    edition.load(network, arrays)
    backbone = edition.features_only(network.eval(), indices)
    assert backbone.feature_info.channels() == theirs.feature_info.channels()
    assert backbone.feature_info.reduction() == theirs.feature_info.reduction()
    planes = torch.from_numpy(x).permute(0, 3, 1, 2)
    maps = theirs(planes)
    for found, expected in zip(backbone(planes), maps, strict=True):
        assert found.shape == expected.shape and expected.std() > 0.01
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)


def test_timms_idioms_work_on_our_network(pictures: Fixture) -> None:
    theirs = timm.create_model("mobilenetv2_050", num_classes=11).eval()
    ours = edition.build(spec_of("timm", 0.5, (64, 64)), seed=0).eval()
    x = torch.from_numpy(pictures((64, 64))).permute(0, 3, 1, 2)
    for network in (theirs, ours):
        network.reset_classifier(7)
        features = network.forward_features(x)
        pooled = network.forward_head(features, pre_logits=True)
        assert pooled.shape == (len(x), network.num_features)
        assert network.get_classifier() is network.classifier
        assert network.num_classes == network.classifier.out_features == 7
        torch.testing.assert_close(network.forward_head(features), network(x))
        network.reset_classifier(0)
        torch.testing.assert_close(network(x), pooled)
        assert network.num_classes == 0


@pytest.mark.parametrize("width", ["050", "100", "110d", "120d", "140"])
def test_the_catalogue_says_what_timm_says(width: str) -> None:
    theirs = timm.get_pretrained_cfg(f"mobilenetv2_{width}")
    record = find(f"timm-{width}").published_preprocessing()
    assert record is not None and record.interpolation == theirs.interpolation
    assert (3, *record.size) == theirs.input_size
    assert record.resize[0] == int(record.size[0] / theirs.crop_pct)
    assert [255 * one for one in theirs.mean] == pytest.approx(record.mean)
