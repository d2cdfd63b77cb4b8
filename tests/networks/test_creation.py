"""Networks by name, with fresh weights; those with published ones are in tests/hub."""

from typing import Any, assert_type

import numpy as np
import pytest
import torch

import mobilenetv2 as mn
from mobilenetv2.editions.numpy.network import MobileNetV2 as NumpyNetwork
from mobilenetv2.editions.torch.network import MobileNetV2 as TorchNetwork
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.hub.catalogue import catalogue
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.networks.creation import create_model, list_models
from mobilenetv2.networks.description import describe
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.count import parameters
from mobilenetv2.spec.published import PUBLISHED

NAMES = [name for name in list_models() if not name.startswith("litert")]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_a_network(name: str) -> None:
    network = create_model(name, num_classes=3, edition="numpy")
    assert network.config.labels.names == ("class 0", "class 1", "class 2")
    assert network.config.preprocessing.size == network.config.spec.size
    assert describe(name, classes=3) == describe(network)


@pytest.mark.parametrize(
    ("name", "width", "size", "count"),
    [
        ("mobilenet_v2", None, None, 3_504_872),
        ("mobilenetv2_050", None, None, 1_968_680),
        ("mobilenetv2_110d", None, None, 4_516_520),
        ("mobilenetv2_120d", None, None, 5_831_144),
        ("mobilenetv2_140", None, None, 6_108_776),
        ("MobileNetV2", 0.35, 96, 1_677_128),
        ("MobileNetV2", 1.3, 224, 5_386_792),
        ("google/mobilenet_v2_1.0_224", None, None, 3_506_153),
    ],
)
def test_the_publishers_networks_have_their_parameters(
    name: str, width: float | None, size: int | None, count: int
) -> None:
    network = create_model(name, width=width, size=size)
    assert network.training
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert parameters(network.config.spec) == count


def test_a_network_takes_what_its_publisher_publishes() -> None:
    timm = create_model("mobilenetv2_100", edition="numpy").config
    keras = create_model("MobileNetV2", width=0.35, size=96, edition="numpy").config
    assert timm.preprocessing == PUBLISHED["timm"].preprocessing
    assert keras.preprocessing == PUBLISHED["keras"].at((96, 96))
    assert keras.spec.numerics.padding == "same"
    assert timm.labels.names[0] == "class 0"  # untrained: its outputs mean nothing yet


def test_classes_by_name_or_by_number() -> None:
    named = create_model("mobilenetv2_035", num_classes=["hat", "shoes"])
    assert named.config.labels == mn.Labels(("hat", "shoes"))
    assert named.classifier.out_features == 2
    slim = create_model("tf-slim", edition="numpy").config
    assert (slim.spec.classes, slim.labels.background) == (1001, 0)
    many = create_model("tf-slim", num_classes=["x"] * 1001, edition="numpy").config
    assert (many.spec.background, many.labels.background) == (None, None)
    last = mn.Labels(("a", "b", "none"), background=2)
    assert create_model("paper", num_classes=last, edition="numpy").config.labels == last


def test_the_embedded_model_is_pretrained_without_a_network() -> None:
    network = create_model("embedded", pretrained=True)
    assert not network.training
    config, arrays = store.load(embedded_folder())
    assert network.config == config
    np.testing.assert_array_equal(
        network.state_dict()["head.conv.weight"], arrays["head.conv.weight"]
    )
    kept = create_model("embedded", True, num_classes=10, edition="numpy")
    np.testing.assert_array_equal(kept.arrays["classifier.weight"], arrays["classifier.weight"])
    other = create_model("embedded", True, num_classes=["hat", "shoes"], edition="numpy")
    assert other.arrays["classifier.weight"].shape[0] == 2
    assert other.config.labels.names == ("hat", "shoes")
    np.testing.assert_array_equal(other.arrays["head.conv.weight"], arrays["head.conv.weight"])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("mobilenet_v3",), {}, SpecError, "did you mean 'mobilenet_v2'"),
        (("mobilenetv2_035", True), {}, WeightsError, "there are width 0.5, 1, 1.4 at 224 pixels"),
        (("mobilenet_v2", True), {"width": 0.5}, WeightsError, "there are width 1 at 224"),
        (("mobilenet_v2", True), {"size": 160}, WeightsError, "width 1 and 160 pixels"),
        (("mobilenet_v2", "V1"), {}, WeightsError, "there are IMAGENET1K_V1, IMAGENET1K_V2"),
        (("mobilenet_v2", 3), {}, WeightsError, "pretrained 3 must be True, False or a tag"),
        (("mobilenet_v2",), {"num_classes": "hat"}, SpecError, "classes 'hat' must be"),
        (("mobilenet_v2",), {"num_classes": 0, "edition": "numpy"}, SpecError, "pooled_features"),
        (("mobilenet_v2",), {"width": -1}, SpecError, "width -1"),
        (("mobilenet_v2",), {"size": 8}, SpecError, "size 8"),
        (("mobilenet_v2",), {"edition": "tensorflow"}, MobileNetV2Error, "edition 'tensorflow'"),
        (("mobilenet_v2",), {"out_indices": (1,)}, SpecError, "needs features_only=True"),
        (("litert-1.0-224",), {}, SpecError, "give pretrained=True"),
        (("src",), {}, SpecError, r"load\('src'\) reads a model folder"),
        (("hf://a/b",), {}, SpecError, r"load\('hf://a/b'\)"),
        ((mn.NetworkSpec(),), {}, SpecError, "create_model takes a name, not NetworkSpec"),
    ],
)
def test_what_cannot_be_made_is_named(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str,
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    monkeypatch.chdir(pytestconfig.rootpath)
    with pytest.raises(error, match=message):
        create_model(*arguments, **options)


def test_backbones_by_name() -> None:
    backbone = create_model("mobilenetv2_050", features_only=True, out_indices=(1, 2, 3, 4))
    assert backbone.feature_info.channels() == [16, 16, 48, 160]
    assert backbone.feature_info.reduction() == [4, 8, 16, 32]
    maps = backbone(torch.zeros(1, 3, 96, 64))
    assert [tuple(found.shape) for found in maps] == [
        (1, 16, 24, 16), (1, 16, 12, 8), (1, 48, 6, 4), (1, 160, 3, 2),
    ]  # fmt: skip
    trained = create_model("embedded", pretrained=True, features_only=True, edition="numpy")
    arrays = store.load(embedded_folder())[1]
    np.testing.assert_array_equal(
        trained.network.arrays["stem.conv.weight"], arrays["stem.conv.weight"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("edition", "package"), [("keras", "keras"), ("jax", "flax")])
def test_backbones_of_the_other_editions(edition: str, package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (extra: {edition})")
    backbone: Any = create_model(
        "embedded", True, edition=edition, features_only=True, out_indices=(0, 2)
    )
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    plain = create_model("embedded", True, edition="numpy", features_only=True, out_indices=(0, 2))
    for found, expected in zip(backbone(x), plain(x.transpose(0, 3, 1, 2)), strict=True):
        np.testing.assert_allclose(np.asarray(found), expected.transpose(0, 2, 3, 1), atol=1e-4)


def test_every_edition_makes_its_own_class() -> None:
    """mypy reads this one, too."""
    assert_type(create_model("mobilenetv2_035", num_classes=2), TorchNetwork)
    plain = create_model("mobilenetv2_035", num_classes=2, edition="numpy")
    assert_type(plain, NumpyNetwork)
    assert isinstance(plain, NumpyNetwork)


def test_names_are_listed_as_people_know_them() -> None:
    names = list_models()
    assert {*aliases(), *catalogue(), *PUBLISHED, "small"} == set(names) and len(names) > 150
    assert list_models("*100*") == [
        "mobilenetv2_100", "mobilenetv2_100.ra_in1k", "timm-100", "timm/mobilenetv2_100.ra_in1k",
    ]  # fmt: skip
    assert list_models("MOBILENETV2") == ["MobileNetV2"]
    assert list_models("nothing*") == []


def test_numbers_are_sorted_as_numbers() -> None:
    names = list_models("keras-0.35-*[0-9]")
    assert names == [f"keras-0.35-{size}" for size in (96, 128, 160, 192, 224)]


def test_only_what_has_weights_is_listed_where_they_are_asked_for() -> None:
    with_weights = list_models(pretrained=True)
    assert {"mobilenet_v2", "timm", "MobileNetV2", "embedded", *catalogue()} <= {*with_weights}
    assert not {"mobilenetv2_035", "mobilenetv2_075", "paper", "small"} & {*with_weights}


def test_no_classes_give_the_pooled_features_as_in_timm() -> None:
    network = create_model("embedded", True, num_classes=0)
    x = torch.zeros(2, 3, 32, 32)
    assert torch.equal(network(x), network.pooled_features(x))


def test_several_patterns_give_the_names_of_each() -> None:
    both = mn.list_models(["mobilenetv2_050*", "tf-slim"])
    assert both == sorted([*mn.list_models("mobilenetv2_050*"), "tf-slim"])
    wrong: Any
    for wrong in (3, [3], None):
        with pytest.raises(SpecError, match="a pattern or a list of patterns"):
            mn.list_models(wrong)
