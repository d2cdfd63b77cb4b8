"""Names that people know lead to the same checked weights wherever a MODEL is asked for."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.checkpoints.containers import safetensors
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.cli.main import main
from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import cache, catalogue, fetching, models
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.networks.creation import create_model
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels

SPEC = published("timm", width=0.5)
ARRAYS = random_arrays(SPEC)


@pytest.fixture
def offered(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """'timm-050' lies on loopback, in a catalogue that is otherwise the published one."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    site.body = safetensors.safetensors_bytes(registry.TENSORS["timm"].encode(SPEC, ARRAYS))
    known = dict(catalogue.catalogue())

    def offer(**changes: Any) -> None:
        checks = {"sha256": site.sha256, "sha256_prefix": None} | changes
        known["timm-050"] = dataclasses.replace(
            known["timm-050"], where=site.url, file="timm.safetensors", **checks
        )
        for module in (catalogue, fetching):
            monkeypatch.setattr(module, "catalogue", lambda: known)

    return offer


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenetv2_050", {}),
        ("mobilenetv2_050", {"pretrained": "lamb_in1k"}),
        ("mobilenetv2_050.lamb_in1k", {}),
        ("timm-050", {}),
        ("timm", {"width": 0.5}),
        ("mobilenetv2_100", {"width": 0.5}),
    ],
)
def test_a_pretrained_network_is_the_published_weights(
    name: str, options: dict[str, Any], site: Any, offered: Callable[..., None]
) -> None:
    offered()
    network = create_model(name, **{"pretrained": True} | options, edition="numpy")
    assert len(site.asked) == 1
    assert network.config.spec == SPEC and network.config.labels == Labels.imagenet()
    assert network.config.preprocessing.interpolation == "bicubic"
    for tensor in ("stem.conv.weight", "classifier.weight", "head.bn.variance"):
        np.testing.assert_array_equal(network.arrays[tensor], ARRAYS[tensor])
    assert network.config.origin is not None
    assert network.config.origin.sha256 == site.sha256


def test_another_number_of_classes_replaces_the_classifier(offered: Callable[..., None]) -> None:
    offered()
    network = create_model("mobilenetv2_050", True, num_classes=["hat", "shoes"], edition="numpy")
    assert network.config.labels.names == ("hat", "shoes")
    assert network.arrays["classifier.weight"].shape == (2, 1280)
    np.testing.assert_array_equal(network.arrays["head.conv.weight"], ARRAYS["head.conv.weight"])
    same = create_model("mobilenetv2_050", True, num_classes=1000, edition="numpy")
    np.testing.assert_array_equal(same.arrays["classifier.weight"], ARRAYS["classifier.weight"])
    assert same.config.labels == Labels.imagenet()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, f"wrong bytes: .* the published one is {'0' * 64}"),
        ({"sha256": None, "sha256_prefix": "01234567"}, "the published one begins 01234567"),
    ],
)
def test_weights_that_are_not_the_published_ones_are_refused(
    changes: dict[str, Any], message: str, offered: Callable[..., None]
) -> None:
    offered(**changes)
    with pytest.raises(WeightsError, match=message):
        create_model("mobilenetv2_050", pretrained=True)


def test_a_name_is_fetched_and_imported_once_wherever_it_is_given(
    site: Any, offered: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offered()
    folder = models.locate("mobilenetv2_050")
    assert folder == models.locate("timm-050") == models.locate("timm/mobilenetv2_050.lamb_in1k")
    assert folder.name.startswith("timm-050-")
    fetched = fetching.fetch("mobilenetv2_050.lamb_in1k")
    assert (fetched.name, fetched.cached, fetched.verified) == ("timm-050", True, "published")
    assert mn.load("mobilenetv2_050", "numpy").config.spec == SPEC
    capsys.readouterr()
    assert main(["weights", "fetch", "mobilenetv2_050", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == site.sha256
    assert main(["describe", "--spec", "mobilenetv2_050", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 1_968_680
    photo = tmp_path / "photo.png"
    from PIL import Image

    Image.new("RGB", (40, 40), "red").save(photo)
    assert main(["predict", str(photo), "--model", "mobilenetv2_050", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[0])
    assert "photo.png" in json.dumps(answer)
    assert len(site.asked) == 1


def test_a_folder_of_ones_own_comes_before_a_name(
    offered: Callable[..., None], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobilenetv2_050").symlink_to(model)
    assert mn.load("mobilenetv2_050", "numpy").config.spec.classes == 3


def test_a_name_without_weights_says_which_have_some(offered: Callable[..., None]) -> None:
    offered()
    for verb in (models.locate, fetching.fetch, mn.load):
        with pytest.raises(WeightsError, match=r"mobilenetv2_035: no weights .* width 0.5, 1, 1.4"):
            verb("mobilenetv2_035")
