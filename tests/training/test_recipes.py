"""Every recipe that is shipped runs, on a tiny network and a few photos."""

import json
from pathlib import Path

import pytest

from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.job import Job
from mobilenetv2.training.recipe_file import read_recipe, recipe_names
from mobilenetv2.training.run import carry_out

FOLDER = Path(__file__).parents[2] / "recipes"
HEADER = ("Source", "Hardware", "Time", "Expected", "Command")
SMALL = ["epochs=1", "batch_size=4", "width=0.1", "size=32", "selection=0.3", "validation=0.3"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of the photos' classes: to start from, and to be a teacher."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    spec = NetworkSpec(width=0.1, size=(32, 32), classes=3)
    store.save(path, ModelConfig.default(spec), random_arrays(spec))
    return path


QUICK = ("finetune", "head-only", "scratch-small")
"""Recipes that the quick tests run: one of each kind of training."""


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
     for name in recipe_names()],
)  # fmt: skip
def test_it_runs(name: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    scratch = name.startswith(("scratch", "imagenet", "digits"))
    changes = [*SMALL, "cache.views=2"] if name == "later-blocks" else SMALL
    if name == "distill":
        classes = sorted(entry.name for entry in photos.iterdir())
        teacher = tmp_path / "teacher"
        config, arrays = store.load(weights)
        labels = type(config.labels)(tuple(classes))
        spec, seen = config.spec, config.preprocessing
        store.save(teacher, ModelConfig(spec, seen, labels), arrays)
        changes = [*SMALL, f"distillation.teacher={teacher}"]
    recipe = read_recipe(name, changes)
    out = tmp_path / "run"
    summary = carry_out(Job(str(photos), out, None if scratch else weights, recipe))
    assert summary.figures["train"].images > 0
    assert json.loads((out / "best" / "config.json").read_text("utf-8"))["metrics"]
    trained = recipe.trained != "head"
    assert summary.epochs == (1 if trained else 0)
    assert not (out / "maps.npy").exists()


@pytest.mark.parametrize("name", recipe_names())
def test_its_header_says_where_it_comes_from_and_what_to_expect(name: str) -> None:
    lines = (FOLDER / f"{name}.toml").read_text("utf-8").splitlines()
    header = [line for line in lines if line.startswith("# ")]
    found = [line.split()[1] for line in header if line.split()[1] in HEADER]
    assert found == list(HEADER)
    assert "measured yet" not in " ".join(header)
    assert f"--recipe {name}" in " ".join(header) or name in ("digits", "finetune", "scratch")
