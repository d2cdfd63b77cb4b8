"""Classifiers that are put onto the JAX edition, and the list of their parts."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import mobilenetv2 as mn
from mobilenetv2.editions import jax as edition
from mobilenetv2.editions.heads import ActivationPart, DropoutPart, LinearPart, OtherPart
from mobilenetv2.editions.jax.layers import list_parts
from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.records import Labels

SPEC = NetworkSpec(
    width=0.25, size=(32, 32), classes=5, head_channels=24, stages=(StageSpec(1, 16, 1, 2),)
)
HIDDEN = SPEC.replace(classifier=ClassifierSpec(hidden=(HiddenSpec(7, "relu6", dropout=0.1),)))
X = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)


def built(spec: NetworkSpec = SPEC) -> Any:
    network = edition.build(spec, seed=0)
    network.eval()
    return network


def sequential() -> nnx.Sequential:
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Dropout(0.4, rngs=rngs), nnx.Linear(24, 8, rngs=rngs), nnx.relu,
        nnx.Linear(8, 3, use_bias=False, rngs=rngs),
    )  # fmt: skip


def test_the_parts_of_a_module_are_listed() -> None:
    parts = [*list_parts([sequential(), jax.nn.relu6, jax.nn.gelu])]
    kinds = [DropoutPart, LinearPart, ActivationPart, LinearPart, ActivationPart, OtherPart]
    assert [type(part) for part in parts] == kinds and parts[-1] == OtherPart("gelu")


@pytest.mark.parametrize("kind", ["linear", "sequential"])
def test_a_classifier_that_is_assigned_is_saved(kind: str, tmp_path: Path) -> None:
    network = built()
    linear = nnx.Linear(network.num_features, 3, rngs=nnx.Rngs(0))
    network.classifier = linear if kind == "linear" else sequential()
    network.eval()
    assert network.config.labels == Labels.numbered(3)
    labels = Labels(("hat", "pants", "shoes"))
    network.config = dataclasses.replace(network.config, labels=labels)
    mn.save(network, tmp_path / "model")
    again: Any = mn.load(tmp_path / "model", edition="jax")
    np.testing.assert_allclose(again(X), network(X), atol=1e-5)
    assert again.config == network.config and again.config.labels == labels
    assert again.spec.dropout == (0.2 if kind == "linear" else 0.4)
    network.reset_classifier(["a", "b"])
    assert network(X).shape == (2, 2) and network.config.labels.names == ("a", "b")
    assert len(network.spec.classifier.hidden) == (kind == "sequential")


def test_hidden_layers_stay_in_front_of_a_layer_that_fits_them() -> None:
    network = built(HIDDEN)
    network.classifier = nnx.Linear(7, 2, rngs=nnx.Rngs(0))
    assert network.spec.classifier.hidden == HIDDEN.classifier.hidden
    network.classifier = nnx.Linear(24, 2, rngs=nnx.Rngs(0))
    assert network(X).shape == (2, 2) and not network.spec.classifier.hidden


def test_what_no_folder_can_hold_is_an_error_when_it_is_saved(tmp_path: Path) -> None:
    network = built()
    network.classifier = nnx.Sequential(nnx.BatchNorm(24, rngs=nnx.Rngs(0)))
    with pytest.raises(SpecError, match="cannot be saved: it has a BatchNorm"):
        mn.save(network, tmp_path / "model")


def test_training_what_came_folded_warns() -> None:
    from mobilenetv2.spec.records import ModelConfig, Origin

    config = dataclasses.replace(ModelConfig.default(SPEC), origin=Origin("x", folded=True))
    network = edition.build(config)
    network.eval()
    with pytest.warns(UserWarning, match="is folded"):
        network.train()
