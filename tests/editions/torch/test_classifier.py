"""A classifier that is put onto the PyTorch edition as onto torchvision's and timm's models."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mobilenetv2 as mn
from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.editions.torch.classifier import Classifier
from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Labels

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24, dropout=0.3)
HIDDEN = SPEC.replace(classifier=ClassifierSpec(hidden=(HiddenSpec(7, "relu6", dropout=0.1),)))


def built(spec: NetworkSpec = SPEC) -> MobileNetV2:
    network = MobileNetV2(spec, seed=0)
    load(network, random_arrays(spec))
    return network.eval()


def pictures() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 32, 32))).float()


def assert_saved(network: MobileNetV2, folder: Path) -> MobileNetV2:
    """The network comes back from a model folder with the same answers."""
    mn.save(network, folder)
    again = mn.load(folder)
    assert isinstance(again, MobileNetV2)
    torch.testing.assert_close(again(pictures()), network.eval()(pictures()))
    assert again.config == network.config
    return again


def linear(network: MobileNetV2) -> nn.Module:
    return nn.Linear(network.num_features, 3)


def sequential(network: MobileNetV2) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.4), nn.Linear(network.last_channel, 3))


def hidden(network: MobileNetV2) -> nn.Module:
    inner = nn.Sequential(nn.Flatten(), nn.Linear(network.num_features, 8), nn.ReLU())
    return nn.Sequential(inner, nn.Dropout(0.5), nn.Identity(), nn.Linear(8, 3, bias=False))


@pytest.mark.parametrize(
    ("make", "dropout", "head"),
    [
        (linear, 0.3, ClassifierSpec()),
        (sequential, 0.4, ClassifierSpec()),
        (hidden, 0.0, ClassifierSpec(hidden=(HiddenSpec(8, dropout=0.5),), bias=False)),
    ],
)
def test_a_classifier_that_is_assigned_is_saved(
    make: Callable[[MobileNetV2], nn.Module], dropout: float, head: ClassifierSpec, tmp_path: Path
) -> None:
    network = built()
    module = make(network)
    network.classifier = module
    assert network.classifier is module is network.get_classifier() and network.num_classes == 3
    assert network.config.labels == Labels.numbered(3)
    again = assert_saved(network, tmp_path / "model")
    assert again.spec.classifier == head and again.spec.dropout == dropout


def test_the_last_layer_is_replaced_as_torchvisions(tmp_path: Path) -> None:
    network = built()
    assert len(network.classifier) == 2 and network.classifier[-1] is network.classifier
    assert network.classifier[1].in_features == network.classifier.in_features == 24
    layer = nn.Linear(network.last_channel, 5)
    network.classifier[1] = layer
    assert network.classifier.weight is layer.weight  # an optimiser may hold it already
    assert network.config.labels == Labels.numbered(5)  # of the same number, but other classes
    network.classifier[0] = nn.Dropout(0.6)
    assert network.dropout.p == 0.6 and next(iter(network.classifier)) is network.dropout
    assert list(network.state_dict())[-2:] == ["classifier.weight", "classifier.bias"]
    assert_saved(network, tmp_path / "model")
    with pytest.raises(TypeError, match=r"classifier\[1\] must be an nn.Linear, not a ReLU"):
        network.classifier[1] = nn.ReLU()


def test_labels_that_are_given_afterwards_are_kept(tmp_path: Path) -> None:
    network = built()
    network.classifier = nn.Sequential(nn.Linear(24, 2))
    labels = Labels(("hat", "shoes"))
    network.config = dataclasses.replace(network.config, labels=labels)
    assert assert_saved(network, tmp_path / "model").config.labels == labels
    network.classifier[0] = nn.Linear(24, 3)  # it is the user's own module
    assert network.config.labels == Labels.numbered(3)


def test_one_output_tells_two_classes_apart(tmp_path: Path) -> None:
    network = built()
    network.classifier = nn.Linear(24, 1)
    assert network.config.spec.classifier.outputs == "logit" and network.spec.classes == 2
    assert_saved(network, tmp_path / "model")


def test_hidden_layers_stay_in_front_of_a_layer_that_fits_them(tmp_path: Path) -> None:
    network = built(HIDDEN)
    network.classifier = nn.Linear(network.classifier.in_features, 2)
    assert assert_saved(network, tmp_path / "model").spec.classifier.hidden == (
        HiddenSpec(7, "relu6", dropout=0.1),
    )
    network = built(HIDDEN)
    network.classifier = nn.Linear(network.num_features, 2)
    assert not assert_saved(network, tmp_path / "other").spec.classifier.hidden


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :2]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Identity(), "it has no linear layer"),
        (Own(), "it has a Own"),
        (nn.Sequential(nn.BatchNorm1d(24), nn.Linear(24, 2)), "it has a BatchNorm1d"),
        (nn.Sequential(nn.Linear(24, 2), nn.ReLU()), "follows its last linear layer"),
        (nn.Sequential(nn.Linear(24, 2), nn.Softmax(1)), "it has a Softmax"),
        (nn.Sequential(nn.Linear(24, 9), nn.Linear(8, 2)), "has 8 inputs but gets 9 features"),
        (nn.Sequential(nn.ReLU(), nn.Linear(24, 2)), "it begins with relu"),
    ],
)
def test_what_no_folder_can_hold_computes_but_is_an_error_when_it_is_saved(
    module: nn.Module, message: str, tmp_path: Path
) -> None:
    network = built()
    network.classifier = module.eval()
    if "has 8" not in message:
        network(pictures())
    with pytest.raises(SpecError, match=f"cannot be saved: .*{message}"):
        mn.save(network, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    network.reset_classifier(3)
    assert_saved(network, tmp_path / "model")


def test_reset_classifier_keeps_hidden_layers_of_a_module_that_was_assigned() -> None:
    network = built()
    network.classifier = hidden(network)
    weight = network.classifier[0][1].weight
    network.reset_classifier(["a", "b"], seed=4)
    assert isinstance(network.classifier, Classifier) and network.hidden[0].weight is weight
    assert network.config.labels.names == ("a", "b") and not network.classifier.training
    assert dump(network)["classifier.weight"].shape == (2, 8)
    network.double().reset_classifier(2)
    assert network(pictures().double()).dtype == torch.float64


def test_without_classes_the_features_are_left_as_in_timm() -> None:
    network = built()
    network.reset_classifier(0)
    torch.testing.assert_close(network(pictures()), network.pooled_features(pictures()))
    assert network.num_classes == 0


def test_copies_and_pickles_keep_what_was_put_in() -> None:
    network = built()
    network.classifier = sequential(network).eval()
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(again(pictures()), network(pictures()))
        assert again.config == network.config and again.features[0] is again.stem
    own: Any = copy.deepcopy(built())
    assert own.classifier[0] is own.dropout
