"""Networks read from model folders and written to them."""

import dataclasses
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import torch

import mobilenetv2 as mn
from mobilenetv2.editions.numpy.network import FeaturesOnly as NumpyFeatures
from mobilenetv2.editions.numpy.network import MobileNetV2 as NumpyNetwork
from mobilenetv2.editions.torch.features import FeaturesOnly as TorchFeatures
from mobilenetv2.editions.torch.network import MobileNetV2 as TorchNetwork
from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.records import Origin

SPEC = mn.published("small", width=0.1, classes=3)
SHALLOW = SPEC.replace(stages=SPEC.stages[:3])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights. Only to be read."""
    folder = tmp_path_factory.mktemp("models") / "m"
    store.save(folder, mn.ModelConfig.default(SHALLOW), random_arrays(SHALLOW))
    return folder


def test_a_network_is_built_saved_and_loaded_again(tmp_path: Path) -> None:
    labels = mn.Labels(("ant", "bee", "cat"))
    config = mn.ModelConfig(SPEC, mn.Preprocessing.default(SPEC), labels, metrics={"a.b": 0.5})
    network = mn.build(config).train()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32))
    network(x)  # moves the running statistics
    mn.save(network, tmp_path / "saved")
    again = mn.load(str(tmp_path / "saved"))
    assert again.config == config
    assert not again.training
    with torch.inference_mode():
        expected, found = network.eval()(x), again(x)
    assert torch.equal(found, expected)
    assert float(expected.std()) > 0


def test_saving_replaces_a_folder_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    network = mn.build(SPEC)
    mn.save(network, folder)
    (folder / "old").write_text("")
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        network.state_dict()["classifier.bias"][1] = float("nan")
    with pytest.raises(
        mn.MobileNetV2Error, match=r"classifier.bias has values that are not finite"
    ):
        mn.save(network, folder)
    assert (folder / "model.safetensors").read_bytes() == before and (folder / "old").exists()
    with torch.no_grad():
        network.state_dict()["classifier.bias"][1] = 0.0
    mn.save(network, folder)
    assert not (folder / "old").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_loading_gives_the_stored_numbers(tmp_path: Path) -> None:
    arrays = random_arrays(SPEC)
    store.save(tmp_path / "m", mn.ModelConfig.default(SPEC), arrays)
    state = mn.load(tmp_path / "m").state_dict()
    np.testing.assert_array_equal(state["head.bn.running_var"], arrays["head.bn.variance"])
    np.testing.assert_array_equal(state["classifier.weight"], arrays["classifier.weight"])


def test_loading_for_other_classes_draws_a_classifier_by_seed(saved: Path) -> None:
    one, same, other = (
        mn.load(saved, "numpy", classes=4, seed=seed).arrays for seed in (None, 0, 1)
    )
    assert one["classifier.weight"].shape[0] == 4
    assert np.array_equal(one["classifier.weight"], same["classifier.weight"])
    assert not np.array_equal(one["classifier.weight"], other["classifier.weight"])
    assert np.array_equal(one["head.conv.weight"], random_arrays(SHALLOW)["head.conv.weight"])
    named = mn.load(saved, classes=mn.Labels(("a", "b")))
    assert named.config.labels.names == ("a", "b") and named.config.spec.classes == 2


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["hat", "shoes"], ("hat", "shoes")),
        (("a", "b", "c"), ("a", "b", "c")),
        (mn.Labels(("a", "b")), ("a", "b")),
        (2, ("class 0", "class 1")),
        (np.int64(2), ("class 0", "class 1")),
    ],
)
def test_classes_are_names_or_a_number(classes: Any, names: tuple[str, ...], saved: Path) -> None:
    for edition in ("torch", "numpy"):
        network = mn.load(saved, edition, classes=classes)
        assert network.config.labels.names == names
        assert network.config.spec.classes == len(names)


@pytest.mark.parametrize(
    "classes", ["hat", [], 0, -1, True, 2.5, [1, 2], ["a", ""], {"a": 1}, b"ab"]
)
def test_what_is_neither_is_named(classes: Any, saved: Path) -> None:
    with pytest.raises(SpecError, match=r"classes .* must be"):
        mn.load(saved, classes=classes)
    with pytest.raises(SpecError, match=r"classes .* must be"):
        mn.save(mn.build(SPEC), saved.with_name("other"), classes=classes)
    assert not saved.with_name("other").exists()


def test_saving_with_classes_names_the_outputs(tmp_path: Path) -> None:
    network = mn.build(SPEC)
    mn.save(network, tmp_path / "m", classes=["hat", "shoes", "t-shirt"])
    assert mn.load(tmp_path / "m").config.labels.names == ("hat", "shoes", "t-shirt")
    assert network.config.labels.names[0] == "class 0"
    with pytest.raises(SpecError, match="2 classes for a network of 3 outputs"):
        mn.save(network, tmp_path / "m", classes=["hat", "shoes"])
    background = mn.build(mn.published("tf-slim", width=0.1, size=32))
    mn.save(background, tmp_path / "b", classes=[f"n{index}" for index in range(1001)])
    labels = store.load_config(tmp_path / "b").labels
    assert (labels.background, labels.names[7]) == (0, "n7")


def test_what_is_no_folder_and_no_name_is_an_error(tmp_path: Path) -> None:
    for given in (SPEC, 3, None):
        with pytest.raises(WeightsError, match="load takes a model folder or a name, not"):
            mn.load(given)  # type: ignore[call-overload]
    with pytest.raises(WeightsError, match=r"no weights are published at width 0.35"):
        mn.load("mobilenetv2_035")
    with pytest.raises(WeightsError, match=r"mobilenet_v3: no such .*did you mean 'mobilenet_v2'"):
        mn.load("mobilenet_v3")


def test_indices_are_of_feature_maps(saved: Path) -> None:
    with pytest.raises(SpecError, match="out_indices selects feature maps and needs features_only"):
        mn.load(saved, out_indices=(1,))  # type: ignore[call-overload]


def test_a_backbone_gives_the_maps_of_the_network(saved: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 48, 32)).astype(np.float32)
    every = mn.load(saved, features_only=True)
    assert_type(every, TorchFeatures)
    chosen = mn.load(saved, features_only=True, out_indices=(1, 0))
    plain = mn.load(saved, "numpy", features_only=True)
    assert_type(plain, NumpyFeatures)
    with torch.inference_mode():
        maps, two = every(torch.from_numpy(x)), chosen(torch.from_numpy(x))
    assert len(maps) == 2 and not every.training
    assert torch.equal(two[0], maps[1]) and torch.equal(two[1], maps[0])
    for found, expected in zip(maps, plain(x), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert expected.std() > 0
    with pytest.raises(SpecError, match="out_indices 9 is no feature map"):
        mn.load(saved, features_only=True, out_indices=(9,))


def test_another_classifier_is_saved_with_its_names(saved: Path, tmp_path: Path) -> None:
    network = mn.load(saved)
    network.classifier = torch.nn.Linear(1280, 2)
    mn.save(network, tmp_path / "m", classes=["hat", "shoes"])
    again = mn.load(tmp_path / "m")
    assert again.config.labels.names == ("hat", "shoes")
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32))
    with torch.inference_mode():
        assert torch.equal(again(x), network(x))
    with pytest.raises(SpecError, match="3 classes for a network of 2 outputs"):
        mn.save(network, tmp_path / "m", classes=3)


def test_every_edition_loads_its_own_class(saved: Path) -> None:
    """mypy reads this one, too."""
    assert_type(mn.load(saved), TorchNetwork)
    assert_type(mn.load("embedded", "numpy", classes=["a", "b"]), NumpyNetwork)
    assert isinstance(mn.load(saved, "numpy"), NumpyNetwork)


@pytest.mark.parametrize("name", ["m.tflite", "m.pth", "m.h5"])
def test_a_checkpoint_is_named_with_the_call_that_imports_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"a checkpoint")
    with pytest.raises(WeightsError, match=rf"import_checkpoint\(.*{name}', output="):
        mn.load(tmp_path / name)


@pytest.mark.parametrize("edition", ["torch", "jax", "keras", "numpy"])
def test_a_backbone_is_described_but_not_saved(edition: Any, tmp_path: Path) -> None:
    if edition in ("jax", "keras"):
        pytest.importorskip({"jax": "flax", "keras": "keras"}[edition])
    whole = mn.load("embedded", edition)
    made: Any = mn.load("embedded", edition, features_only=True)
    assert made.config == whole.config and made.transform == whole.transform
    with pytest.raises(mn.MobileNetV2Error, match=f"editions.{edition}.*pass the whole network"):
        mn.save(made, tmp_path / "m")


@pytest.mark.parametrize("edition", ["torch", "jax", "keras"])
def test_a_changed_dropout_is_saved(edition: Any, tmp_path: Path) -> None:
    if edition != "torch":
        pytest.importorskip({"jax": "flax", "keras": "keras"}[edition])
    config = mn.ModelConfig.default(SHALLOW.replace(dropout=0.1))
    named = mn.ModelConfig(config.spec, config.preprocessing, mn.Labels(("ant", "bee", "cat")))
    network: Any = mn.build(named, edition)
    if edition == "torch":
        network.dropout.p = 0.7
    elif edition == "jax":
        network.dropout.rate = 0.7
    else:
        network.get_layer("dropout").rate = 0.7
    mn.save(network, tmp_path / "m")
    saved = mn.load(tmp_path / "m", "numpy").config
    assert saved.spec == SHALLOW.replace(dropout=0.7) and saved.labels == named.labels
    assert "NetworkSpec" in repr(mn.load(tmp_path / "m", "numpy"))
    assert len(repr(mn.load(tmp_path / "m", "numpy"))) < 400


@pytest.mark.parametrize("edition", ["torch", "jax", "keras"])
def test_backbones_of_folded_networks_warn_at_the_users_line(edition: Any, tmp_path: Path) -> None:
    if edition != "torch":
        pytest.importorskip({"jax": "flax", "keras": "keras"}[edition])
    config = mn.ModelConfig.default(SHALLOW)
    origin = Origin("somewhere", "unknown", folded=True)
    folded = dataclasses.replace(config, origin=origin)
    store.save(tmp_path / "m", folded, random_arrays(SHALLOW))
    if edition == "keras":
        with pytest.warns(UserWarning, match="is folded") as warned:
            mn.load(tmp_path / "m", edition)
    else:
        made: Any = mn.load(tmp_path / "m", edition, features_only=True)
        with pytest.warns(UserWarning, match="is folded") as warned:
            made.train()
    assert [found.filename for found in warned] == [__file__]
    if edition == "torch":
        network = mn.load(tmp_path / "m")
        with pytest.warns(UserWarning, match="is folded"):
            network.features.train()
