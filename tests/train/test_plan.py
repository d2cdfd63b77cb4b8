"""What a run is going to do: whatever is refused is refused before anything is written."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from mobilenetv2.errors import MissingExtra, RecipeError, RunError
from mobilenetv2.train import run
from mobilenetv2.train.recipe import Distillation, Recipe
from mobilenetv2.train.recipe_file import read_recipe
from mobilenetv2.train.run import Job, train

QUICK = Recipe().changed(
    epochs=1, batch_size=4, network="small", width=0.1, size=(32, 32), precision="float32"
)


def test_a_start_that_is_refused_leaves_nothing(
    folded: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebasing is the last thing before the first step that needs a package."""
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(run, "rebased", Mock(side_effect=MissingExtra("torch is not there")))
    with pytest.raises(MissingExtra):
        train(Job(str(photos), tmp_path / "run", folded, QUICK.changed(size=None)))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_teacher_is_found_again_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is a link: a runtime goes by the suffix and by what lies beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big.onnx").symlink_to("blob")
    expected = Distillation(str(tmp_path / "big.onnx"), 0.7)
    assert run.found_again(Distillation("big.onnx", 0.7)) == expected
    assert run.found_again(expected) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained": "head"}, "give --weights, or train from scratch"),
        ({"trained": "later"}, "give --weights, or train from scratch"),
        ({"frozen_blocks": 3}, "give --weights, or --set frozen_blocks=0"),
    ],
)
def test_what_builds_on_weights_needs_some(
    change: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(Job(str(photos), tmp_path / "run", None, QUICK.changed(**change)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("distillation", "message"),
    [
        (Distillation(share=0.7), "distillation.share = 0.7 needs a teacher: --set"),
        (Distillation("runs/big"), "distillation.teacher needs the share of its answers"),
    ],
)
def test_a_teacher_and_its_share_come_together(
    distillation: Distillation, message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(Job(str(photos), tmp_path / "run", None, QUICK.changed(distillation=distillation)))
    assert list(tmp_path.iterdir()) == []


def test_a_head_takes_no_steps_to_try_rates_with(photos: Path, model: Path, tmp_path: Path) -> None:
    recipe = QUICK.changed(trained="head")
    with pytest.raises(RecipeError, match="--find-rate tries rates of steps"):
        train(Job(str(photos), tmp_path / "run", model, recipe, find_rate=True))


@pytest.mark.parametrize("change", ["added", "removed", "moved"])
def test_resuming_with_other_photos_is_an_error(
    change: str, trained: Path, photos: Path, tmp_path: Path
) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(trained, run)
    shutil.copytree(photos, data)
    (run / "summary.md").unlink()
    photo = data / "ball" / "00.png"
    if change == "added":
        (data / "ball" / "new.png").write_bytes(photo.read_bytes() + b"other")
    else:
        photo.rename(data / "box" / "moved.png" if change == "moved" else tmp_path / "away.png")
    expected = {
        "added": r"data: 1 of the photos are new since .*run was begun \(first: ball/new.png\)",
        "removed": r"1 of the photos are gone or unreadable since .* \(first: ball/00.png\)",
        "moved": r"1 of the photos are gone or unreadable since .* \(first: ball/00.png\)",
    }
    with pytest.raises(RunError, match=expected[change]):
        train(Job(str(data), run, None, read_recipe(str(run / "recipe.toml")), resume=True))
