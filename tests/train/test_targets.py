"""Targets: smoothing, mixing, and a teacher that sees what the student sees."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.errors import RecipeError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import softmax
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.train.recipe import Distillation, Recipe
from mobilenetv2.train.targets import Teacher, make, open_teacher

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_labels_alone() -> None:
    recipe = Recipe(label_smoothing=0.3)
    pictures, wanted = make(PICTURES, LABELS, 3, recipe, None, np.random.default_rng(0))
    assert pictures is PICTURES and wanted.dtype == np.float32
    assert wanted[0] == pytest.approx([0.8, 0.1, 0.1])


def test_a_teacher_has_its_share_and_its_classes_are_matched() -> None:
    logits = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    seen = []

    def answer(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures)
        return logits

    teacher = Teacher(answer, (48, 40), (3, 0, 2))
    recipe = Recipe(label_smoothing=0.0, distillation=Distillation("t", 0.75, 2.0))
    _, wanted = make(PICTURES, LABELS, 3, recipe, teacher, np.random.default_rng(0))
    said = softmax(logits[:, [3, 0, 2]] / 2.0)
    assert wanted == pytest.approx(0.25 * np.eye(3)[LABELS] + 0.75 * said, abs=1e-6)
    assert seen[0].shape == (6, 48, 40, 3) and seen[0].dtype == np.uint8
    assert wanted.sum(1) == pytest.approx(1)


def saved(path: Path, names: tuple[str, ...]) -> str:
    spec = published("small", width=0.1, classes=len(names))
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(names))
    store.save(path, config, random_arrays(spec))
    return str(path)


def test_an_exported_file_teaches_as_its_model_folder_does(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", ("c", "a", "b"))
    file = str(tmp_path / "m.onnx")
    assert main(["export", folder, file]) == 0
    said = [open_teacher(p, ("a", "b"), 3).probabilities(PICTURES, 1.0) for p in (folder, file)]
    assert said[0] == pytest.approx(said[1], abs=1e-5)


def test_a_model_folder_teaches(tmp_path: Path) -> None:
    path = saved(tmp_path / "m", ("c", "a", "b"))
    teacher = open_teacher(path, ("a", "b"), 3)
    assert teacher.outputs == (1, 2)
    assert teacher.probabilities(PICTURES, 1.0).sum(1) == pytest.approx(1)
    with pytest.raises(RecipeError, match=r"takes pictures of 3 channels, .* takes 1"):
        open_teacher(path, ("a", "b"), 1)
