"""The model inside the package: what its card says is what it does."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluate.metrics import wilson
from mobilenetv2.evaluate.predictions import predict_split as answers
from mobilenetv2.hub import embedded
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.model.card import card
from mobilenetv2.runtime.predictor import predictor

SOME = 400


def test_it_is_small_and_stored_in_float16() -> None:
    folder = embedded.folder()
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
    assert locate("embedded") == embedded.folder()
    (tmp_path / "embedded").mkdir()
    assert locate("embedded") == Path("embedded")


def test_its_card_names_recipe_time_accuracy_calibration_and_data() -> None:
    text = (embedded.folder() / "README.md").read_text("utf-8")
    config = store.load_config(embedded.folder())
    assert text == card(config, "embedded")
    for word in ("scratch-small", "minutes", "CIFAR-10", "Krizhevsky", "Apache-2.0", "temperature"):
        assert word in text
    for figure in ("test.top1", "test.calibration_error"):
        assert f"| {figure} | {config.metrics[figure]:.4f} |" in text
    assert config.metrics["test.images"] == 5000


def test_it_is_as_good_as_its_card_says(public_folder: Callable[[str], Path]) -> None:
    """On some of the test photos: its figure lies in the interval that so many allow."""
    config, answer = predictor(embedded.folder())
    test = open_dataset(public_folder("cifar10")).splits["test"]
    assert test.classes == config.labels.names
    chosen = np.random.default_rng(0).choice(len(test), SOME, replace=False)
    some = test.with_photos(tuple(test.photos[index] for index in sorted(chosen)))
    logits, truth = answers(answer, some, config.preprocessing)
    low, high = wilson(int((logits.argmax(1) == truth).sum()), SOME)
    assert low <= config.metrics["test.top1"] <= high
