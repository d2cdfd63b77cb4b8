"""timm's mobilenetv2_*, randomised, against our editions: both directions.

timm needs torchvision, and that another build of PyTorch: CONTRIBUTING.md says how to run this.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("timm", reason="timm is not installed (see CONTRIBUTING.md)")

import timm
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.models._hub import save_for_hf

from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import DialectError
from mobilenetv2.hub.catalogue import find
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

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
    write_checkpoint(ModelConfig.default(spec), arrays, "timm", file)
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
    config, arrays = read_checkpoint(tmp_path / "m.pth.tar")
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
    config, arrays = read_checkpoint(tmp_path / "m.pth.tar")
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


ARGUMENTS: dict[str, dict[str, Any]] = {
    "none": {}, "padding and epsilon": {"pad_type": "same", "bn_eps": 1e-3},
    "activation": {"act_layer": "relu"}, "pooling": {"global_pool": "max"},
    "grey": {"in_chans": 1},
}  # fmt: skip


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_their_folder_in_our_edition(
    arguments: dict[str, Any], tmp_path: Path, randomise: Fixture, pictures: Fixture
) -> None:
    """Every argument of theirs that changes what is computed, as their hub folder records it."""
    model = timm.create_model("mobilenetv2_035", num_classes=7, **arguments).eval()
    randomise(model)
    save_for_hf(model, str(tmp_path / "hub"), safe_serialization=True)
    config, arrays = read_checkpoint(tmp_path / "hub")
    network = edition.build(config).eval()
    edition.load(network, arrays)
    x = torch.from_numpy(pictures((65, 64))).permute(0, 3, 1, 2)[:, : config.spec.input_channels]
    torch.testing.assert_close(network(x), model(x), rtol=0, atol=1e-4)
    assert config.origin is not None and "Not used" not in config.origin.note


def test_their_folder_of_a_dilated_network_is_refused(tmp_path: Path) -> None:
    model = timm.create_model("mobilenetv2_035", output_stride=16)
    save_for_hf(model, str(tmp_path / "hub"), safe_serialization=True)
    with pytest.raises(DialectError, match="output_stride = 16"):
        read_checkpoint(tmp_path / "hub")


@pytest.mark.parametrize("size", [(160, 160), (256, 256), (96, 128), (192, 160)])
@pytest.mark.parametrize(("family", "width"), [("timm", 0.35), ("timm-110d", 1.1), ("keras", 1.0)])
def test_our_folder_in_their_model(
    family: str, width: float, size: tuple[int, int], tmp_path: Path, pictures: Fixture
) -> None:
    spec = published(family, width=width, size=size, classes=3)
    record = Preprocessing(interpolation="bicubic").at(size)
    config, arrays = ModelConfig(spec, record, Labels(("a", "b", "c"))), random_arrays(spec)
    write_checkpoint(config, arrays, "timm", tmp_path / "hub")
    model = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    ours = edition.build(config).eval()
    edition.load(ours, arrays)
    x = torch.from_numpy(pictures((64, 65))).permute(0, 3, 1, 2)
    torch.testing.assert_close(model(x), ours(x), rtol=0, atol=1e-4)
    assert list(model.pretrained_cfg["label_names"]) == ["a", "b", "c"]
    theirs = create_transform(**resolve_model_data_config(model), normalize=False)
    random = np.random.default_rng(0)
    for shape in ((333, 217, 3), (97, 410, 3), (61, 60, 3)):
        image = Image.fromarray(random.integers(0, 256, shape, np.uint8))
        expected = np.asarray(theirs(image)).transpose(1, 2, 0)
        np.testing.assert_array_equal(preprocess(image, record), expected)


def test_their_features_only_file_is_a_body(tmp_path: Path, randomise: Fixture) -> None:
    model = timm.create_model("mobilenetv2_050", features_only=True).eval()
    randomise(model)
    torch.save(model.state_dict(), tmp_path / "m.pth")
    config, arrays = read_checkpoint(tmp_path / "m.pth")
    assert config.spec.head == "none" and config.spec.width == 0.5
    weight = model.state_dict()["blocks.6.0.conv_pwl.weight"].numpy()
    np.testing.assert_array_equal(arrays["blocks.16.project.conv.weight"], weight)
    assert config.origin is not None and config.origin.untrained_classifier
