"""A model by its folder, by a name, or as a network."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.model import store
from mobilenetv2.networks.folders import load
from mobilenetv2.networks.given_model import GivenModel, located
from mobilenetv2.weights import Imported


def test_a_folder_and_a_name_are_where_they_are(model: Path) -> None:
    for given in (model, str(model)):
        with located(given) as found:
            assert (found.place, found.name) == (model, str(model))
    with located("embedded") as found:
        assert (found.place / "config.json").is_file() and found.name == "embedded"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("runs/shoes/best", "shoes"),
        ("runs/shoes/last/", "shoes"),
        ("runs/v1.2", "v1.2"),
        ("files/hats.int8.tflite", "hats.int8"),
        ("runs/my shoes (ü)", "my-shoes"),
        ("runs/" + "x" * 80, "x" * 64),
        ("runs/鞋", "model"),
        (".", "here"),
        ("embedded", "embedded"),
        ("hf://somebody/mobilenet", "mobilenet"),
        ("MobileNetV2", "MobileNetV2"),
    ],
)
def test_the_title_is_a_name_for_folders_and_addresses(
    name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "here").mkdir()
    monkeypatch.chdir(home)
    place = Path(name)
    if name.startswith("runs"):
        place.mkdir(parents=True)
    elif name.startswith("files"):
        place.parent.mkdir()
        place.write_bytes(b"x")
    assert GivenModel(place, name).title == title


@pytest.mark.parametrize("edition", ["torch", "numpy"])
def test_a_network_lies_in_a_folder_for_the_time(model: Path, edition: str) -> None:
    network = load(model, edition=edition)
    with located(network) as found:
        place = found.place
        assert found.name == "MobileNetV2"
        config, arrays = store.load(place)
    assert not place.exists()
    theirs_config, theirs = store.load(model)
    assert config == theirs_config and theirs.keys() == arrays.keys()
    assert all(np.array_equal(theirs[name], arrays[name]) for name in arrays)


def test_an_imported_checkpoint_is_a_model(model: Path) -> None:
    imported = Imported(*store.load(model))
    with located(imported) as found:
        assert store.load(found.place)[0] == imported.config


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="nowhere: no such model folder"), located("nowhere"):
        pass
    with pytest.raises(MobileNetV2Error, match="is not a network of an edition"), located(3):
        pass
