"""Networks that were trained in a loop of their own keep no figures of their old weights."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mobilenetv2 as mn
from mobilenetv2.errors import WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.networks.loaded import present, remembered
from mobilenetv2.spec.records import Origin

SPEC = mn.published("small", width=0.1, classes=3)
SHALLOW = SPEC.replace(stages=SPEC.stages[:3])
LABELS = mn.Labels(("ant", "bee", "cat"))
BEFORE = ("Fine-tuned from timm-100 on 90 photos of insects (3 classes).",)
CHANGED = "Weights changed since they were loaded from insects."
EDITIONS = {"torch": "torch", "numpy": "numpy", "keras": "keras", "jax": "flax"}


@pytest.fixture(scope="module")
def insects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with figures, a note and a history. Only to be read."""
    origin = Origin("trained here", licence="MIT", note="An old note.", history=BEFORE)
    record, figures = mn.Preprocessing.default(SHALLOW), {"validation.top1": 0.93}
    folder = tmp_path_factory.mktemp("models") / "insects"
    config = mn.ModelConfig(SHALLOW, record, LABELS, origin, figures)
    store.save(folder, config, random_arrays(SHALLOW))
    return folder


def train(network: Any, edition: str) -> None:
    """Take a step as a user's own loop does; all layers learn."""
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    if edition == "torch":
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        logits = network(torch.from_numpy(images).permute(0, 3, 1, 2))
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    elif edition == "keras":
        network.compile("sgd", "mse")
        network.train_on_batch(images, np.zeros((4, 3), np.float32))
    elif edition == "jax":
        kernel = network.stem.kernel
        kernel[...] = kernel[...] * 0.9
    else:
        network.arrays["stem.conv.weight"] *= np.float32(0.9)


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_network_that_was_trained_since_loses_the_old_figures(
    edition: Any, insects: Path, tmp_path: Path
) -> None:
    pytest.importorskip(EDITIONS[edition])
    network: Any = mn.load(insects, edition)
    mn.save(network, tmp_path / "same")
    assert store.load_config(tmp_path / "same") == store.load_config(insects)
    train(network, edition)
    for name in ("once", "twice"):  # the step is told once
        mn.save(network, tmp_path / name)
        saved = store.load_config(tmp_path / name)
        assert saved.metrics == {} and saved.labels == LABELS
        assert saved.origin == Origin("trained here", licence="MIT", history=(CHANGED, *BEFORE))
    assert "0.93" not in (tmp_path / "once" / "README.md").read_text("utf-8")


def test_a_converted_network_tells_it_too(insects: Path, tmp_path: Path) -> None:
    network = mn.load(insects)
    assert mn.convert(network, "numpy", dtype="float64").config == store.load_config(insects)
    train(network, "torch")
    converted = mn.convert(network, "numpy", dtype="float64")
    assert converted.config.metrics == {} and converted.config.origin is not None
    assert converted.config.origin.history == (CHANGED, *BEFORE)
    mn.save(converted, tmp_path / "m")
    assert store.load_config(tmp_path / "m") == converted.config


def test_an_exported_file_tells_it_too(insects: Path, tmp_path: Path) -> None:
    network = mn.load(insects)
    train(network, "torch")
    mn.export(network.eval(), tmp_path / "m.onnx")
    content = (tmp_path / "m.onnx").read_bytes()
    assert CHANGED.encode() in content and b"validation.top1" not in content


def test_copies_of_a_network_and_of_its_config_remember(insects: Path, tmp_path: Path) -> None:
    whole = mn.load(insects)
    for network in (copy.deepcopy(whole), mn.build(whole.config, seed=1)):
        train(network, "torch")
        mn.save(network, tmp_path / "m")
        assert store.load_config(tmp_path / "m").metrics == {}
    assert pickle.loads(pickle.dumps(whole.config)).loaded == whole.config.loaded is not None


@pytest.mark.parametrize("body", ["frozen", "trained"])
def test_a_new_classifier_is_a_step_of_its_own(body: str, insects: Path, tmp_path: Path) -> None:
    network = mn.load(insects, classes=["hat", "shoes", "scarf"])
    with torch.no_grad():
        network.classifier.weight.mul_(2)
        if body == "trained":
            network.stem.conv.weight.mul_(0.9)
    mn.save(network, tmp_path / "m")
    saved = store.load_config(tmp_path / "m")
    step = "New classifier for 3 classes on the other layers of insects."
    expected = (step, *BEFORE) if body == "frozen" else (CHANGED, step, *BEFORE)
    assert saved.origin is not None and saved.origin.history == expected and not saved.metrics


def test_a_trained_classifier_of_the_same_classes_is_a_change(
    insects: Path, tmp_path: Path
) -> None:
    network = mn.load(insects)
    with torch.no_grad():
        network.classifier.bias.add_(1)
    mn.save(network, tmp_path / "m")
    assert store.load_config(tmp_path / "m").metrics == {}


def test_the_built_in_model_is_named_as_it_was_asked_for() -> None:
    origin = mn.load("embedded", classes=["hat", "shoes"]).config.origin
    assert origin is not None
    assert origin.history[0] == "New classifier for 2 classes on the other layers of embedded."


def test_weights_of_somebody_else_are_named_by_their_file() -> None:
    config, arrays = mn.ModelConfig.default(SHALLOW), random_arrays(SHALLOW)
    assert present(config, arrays) is config
    unknown = remembered(config, arrays, Path("somewhere"))
    assert present(unknown, random_arrays(SHALLOW, 1)).origin is None
    theirs = mn.ModelConfig(
        SHALLOW, config.preprocessing, LABELS, Origin("timm.safetensors", "00", "timm")
    )
    known = remembered(theirs, arrays, Path("somewhere"))
    assert present(known, arrays) == theirs
    origin = present(known, random_arrays(SHALLOW, 1)).origin
    assert origin is not None and origin.sha256 is None and origin.source == "trained here"
    assert origin.history == ("Weights changed since they were loaded from timm.safetensors.",)


def test_no_file_has_the_fingerprint(insects: Path, tmp_path: Path) -> None:
    config = mn.load(insects).config
    assert config.loaded is not None and "loaded" not in config.to_json() + repr(config)
    mapping = json.loads(config.to_json()) | {"loaded": None}
    store.save(tmp_path / "m", config, random_arrays(SHALLOW))
    (tmp_path / "m" / "config.json").write_text(json.dumps(mapping))
    with pytest.raises(WeightsError, match="unknown key 'loaded'"):
        store.load_config(tmp_path / "m")
