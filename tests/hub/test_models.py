"""MODEL by folder, name and address; the model inside the package does what its card says."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2 import __version__
from mobilenetv2.checkpoints.containers import safetensors
from mobilenetv2.checkpoints.description import digest
from mobilenetv2.checkpoints.dialects import configs, registry
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import WeightsError
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.evaluation.predictions import predict_split as answers
from mobilenetv2.hub import cache, catalogue, fetching
from mobilenetv2.hub.fetching import Fetched
from mobilenetv2.hub.models import embedded_folder, locate
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.card import card
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

SPEC = published("timm", width=0.5)


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """'timm-050' is already in the cache, a file of ours; no network is touched."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))

    def offer(**changes: Any) -> Path:
        file = tmp_path / "timm.safetensors"
        arrays = registry.TENSORS["timm"].encode(SPEC, random_arrays(SPEC))
        file.write_bytes(safetensors.safetensors_bytes(arrays))
        entry = dataclasses.replace(
            catalogue.find("timm-050"), file=file.name, sha256=digest(file), sha256_prefix=None,
            **changes,
        )  # fmt: skip
        for module in (catalogue, fetching):
            monkeypatch.setattr(module, "catalogue", lambda: {entry.name: entry})
        place = tmp_path / "cache" / entry.name / file.name
        place.parent.mkdir(parents=True)
        file.rename(place)
        return place

    return offer


def test_a_catalogue_name_is_imported_once_with_what_the_catalogue_knows(
    offered: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    offered(resize=240)
    folder = locate("timm-050")
    assert "importing timm-050" in capsys.readouterr().err
    config = store.load_config(folder)
    assert config.spec == SPEC and config.labels == Labels.imagenet()
    assert config.preprocessing.resize == (240, 240)
    assert config.preprocessing.interpolation == "bicubic"
    assert config.origin is not None and config.origin.licence == "Apache-2.0"
    assert locate("timm-050") == folder
    assert capsys.readouterr().err == ""


def test_what_older_code_imported_is_imported_anew(
    offered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports may change without a version: BatchNorm that came folded once stayed so."""
    place = offered()
    folder = locate("timm-050")
    old = folder.rename(folder.with_name(f"timm-050-{str(digest(place))[:12]}-{__version__}"))
    assert locate("timm-050") == folder != old
    monkeypatch.setattr(fetching, "IMPORT_REVISION", 99)
    assert locate("timm-050") not in (folder, old)


def test_a_repository_with_other_configs_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub's repository changes its configs and keeps its weights."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    weights = tmp_path / "snapshot" / "model.safetensors"
    weights.parent.mkdir()
    spec = published("huggingface", width=0.35, size=96)
    arrays = configs.HUGGING_FACE.encode(spec, random_arrays(spec))
    weights.write_bytes(safetensors.safetensors_bytes(arrays))
    network, preprocessor = configs.compose(ModelConfig.default(spec))
    fetched = Fetched("hf://a/b", weights.parent, weights, str(digest(weights)), "nothing", True)
    monkeypatch.setattr(fetching, "fetch", lambda _: fetched)

    def put(name: str, content: dict[str, Any]) -> Path:
        (weights.parent / name).write_text(json.dumps(content))
        return locate("hf://a/b")

    first = put("config.json", network)
    second = put("preprocessor_config.json", preprocessor | {"size": {"shortest_edge": 130}})
    third = put("preprocessor_config.json", preprocessor | {"size": {"shortest_edge": 140}})
    assert len({first, second, third}) == 3
    sides = [store.load_config(folder).preprocessing.resize for folder in (second, third)]
    assert sides == [(130, 130), (140, 140)]
    assert (
        put("preprocessor_config.json", preprocessor | {"size": {"shortest_edge": 130}}) == second
    )
    named = {"id2label": {str(index): f"shoe {index}" for index in range(spec.classes)}}
    other = put("config.json", network | named)
    assert other not in (first, second, third)
    assert store.load_config(other).labels.names[7] == "shoe 7"


def test_a_folder_of_ones_own_comes_first(
    offered: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm-050").mkdir()
    assert locate("timm-050") == Path("timm-050")


def test_a_damaged_cache_is_found_by_its_checksum(offered: Callable[..., Path]) -> None:
    place = offered(where="http://127.0.0.1:9/timm.safetensors")
    place.write_bytes(b"something else")
    with pytest.raises(WeightsError):
        locate("timm-050")


def test_a_folder_here_that_is_called_nearly_so_is_suggested(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model, tmp_path / "imagenet")
    with pytest.raises(WeightsError, match=r"did you mean '.*imagenet'"):
        locate(str(tmp_path / "imagent"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="did you mean 'imagenet'"):
        locate("imagent")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm-10", "did you mean 'timm-1"),
        ("no/such/folder", "no such model folder, nor a name in the catalogue; 'mobilenetv2 w"),
        ("shoes", "no such model folder"),
        ("hf://nobody", "hf://nobody"),
    ],
)
def test_what_is_nowhere(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        locate(name)


SOME = 400


def test_it_is_small_and_stored_in_float16() -> None:
    folder = embedded_folder()
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["README.md", "config.json", "model.safetensors"]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__")
    assert {entry["dtype"] for entry in header.values()} == {"F16"}


def test_its_name_leads_to_it_unless_a_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("embedded") == embedded_folder()
    (tmp_path / "embedded").mkdir()
    assert locate("embedded") == Path("embedded")


def test_its_card_names_recipe_time_accuracy_calibration_and_data() -> None:
    text = (embedded_folder() / "README.md").read_text("utf-8")
    config = store.load_config(embedded_folder())
    assert text == card(config, "embedded")
    for word in ("scratch-small", "minutes", "CIFAR-10", "Krizhevsky", "Apache-2.0", "temperature"):
        assert word in text
    for figure in ("test.top1", "test.calibration_error"):
        assert f"| {figure} | {config.metrics[figure]:.4f} |" in text
    assert config.metrics["test.images"] == 5000


@pytest.mark.slow
def test_it_is_as_good_as_its_card_says(public_folder: Callable[[str], Path]) -> None:
    """On some of the test photos: its figure lies in the interval that so many allow."""
    config, answer = load_predictor(embedded_folder())
    test = open_dataset(public_folder("cifar10")).splits["test"]
    assert test.classes == config.labels.names
    chosen = np.random.default_rng(0).choice(len(test), SOME, replace=False)
    some = test.with_photos(tuple(test.photos[index] for index in sorted(chosen)))
    logits, truth = answers(answer, some, config.preprocessing)
    low, high = wilson(int((logits.argmax(1) == truth).sum()), SOME)
    assert low <= config.metrics["test.top1"] <= high
