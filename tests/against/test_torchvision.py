"""torchvision.models.mobilenet_v2, randomised, against our editions: both directions.

torchvision needs another build of PyTorch than the suite's: CONTRIBUTING.md says how to run this.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("torchvision", reason="torchvision is not installed (see CONTRIBUTING.md)")

import torchvision
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

import mobilenetv2 as mn
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import torch as edition
from mobilenetv2.hub.catalogue import find
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

Fixture = Callable[..., Any]
CASES = [(0.35, (64, 64)), (0.75, (65, 97)), (1.0, (64, 97)), (1.4, (96, 96))]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def spec_of(width: float, size: tuple[int, int]) -> NetworkSpec:
    return published("torchvision", width=width, size=size, classes=11)


def original(width: float) -> Any:
    return mobilenet_v2(num_classes=11, width_mult=width).eval()


@pytest.mark.parametrize(("width", "size"), CASES)
def test_our_file_in_their_model(
    width: float, size: tuple[int, int], tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec, x = spec_of(width, size), pictures(size)
    arrays, model = random_arrays(spec), original(width)
    write_checkpoint(ModelConfig.default(spec), arrays, "torchvision", tmp_path / "m.pth")
    model.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True), strict=True)
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], logits)


@pytest.mark.parametrize(("width", "size"), CASES)
def test_their_file_in_our_editions(
    width: float, size: tuple[int, int], tmp_path: Path, randomise: Fixture,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    model, x = original(width), pictures(size)
    randomise(model)
    torch.save(model.state_dict(), tmp_path / "m.pth")
    config, arrays = read_checkpoint(tmp_path / "m.pth")
    assert config.spec == spec_of(width, (224, 224))
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    for found in ours(config.spec.replace(size=size), arrays, x):
        assert_same(found["logits"], logits)


@pytest.mark.parametrize("version", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_the_catalogue_says_what_torchvision_says(version: str) -> None:
    theirs = MobileNet_V2_Weights[version]
    entry = find(f"torchvision-{version[-2:].lower()}")
    transforms, record = theirs.transforms(), entry.published_preprocessing()
    assert entry.where == theirs.url and entry.sha256_prefix in theirs.url
    assert entry.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert record is not None
    assert list(record.size) == transforms.crop_size * 2
    assert list(record.resize) == transforms.resize_size * 2
    assert [255 * one for one in transforms.mean] == pytest.approx(record.mean)
    assert [255 * one for one in transforms.std] == pytest.approx(record.std)


def test_torchvisions_idioms_work_on_our_network(pictures: Fixture, tmp_path: Path) -> None:
    ours = edition.build(spec_of(0.35, (64, 64)), seed=0).eval()
    x = torch.from_numpy(pictures((64, 64))).permute(0, 3, 1, 2)
    networks: list[Any] = [original(0.35), ours]
    for network in networks:
        assert len(network.features) == 19
        for parameter in network.features.parameters():
            parameter.requires_grad = False
        assert network.features(x).shape[1] == network.last_channel == 1280
        assert network.classifier[1].in_features == 1280 and network.classifier[0].p == 0.2
        network.classifier[1] = torch.nn.Linear(network.last_channel, 5)
        assert network(x).shape == (len(x), 5)
    mn.save(ours, tmp_path / "model")
    torch.testing.assert_close(mn.load(tmp_path / "model")(x), ours(x))


def test_our_transform_serves_an_image_folder_and_its_workers(photos: Path) -> None:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    network = edition.build(spec_of(0.35, (64, 64)), seed=0).eval()
    folder = ImageFolder(str(photos), transform=network.transform())
    batches = [*DataLoader(folder, batch_size=12, num_workers=2)]
    assert [batch.shape for batch, _ in batches] == [(12, 3, 64, 64)] * 3
    path, _ = folder.samples[0]
    torch.testing.assert_close(batches[0][0][0], network.transform(path))
    assert network(batches[0][0]).shape == (12, 11)


def test_our_features_are_a_backbone_of_a_torchvision_detector() -> None:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    network = edition.build(spec_of(0.35, (64, 64)), seed=0)
    backbone: Any = network.features
    backbone.out_channels = network.last_channel
    anchors = AnchorGenerator(sizes=((32, 64),), aspect_ratios=((1.0,),))
    roi = torchvision.ops.MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2)
    detector = FasterRCNN(
        backbone, num_classes=2, rpn_anchor_generator=anchors, box_roi_pool=roi, min_size=64,
        max_size=64,
    ).eval()  # fmt: skip
    assert {"boxes", "labels", "scores"} <= detector([torch.rand(3, 64, 64)])[0].keys()
