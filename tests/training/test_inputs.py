"""Views are a function of (seed, epoch, index); targets of labels, mixing and a teacher."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.data.augment import Augmentation, Mixing, augment, generator
from mobilenetv2.data.batches import Batches, chunked
from mobilenetv2.data.caches import shrink
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.sources import Source
from mobilenetv2.errors import RecipeError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import sigmoid, softmax
from mobilenetv2.spec.network import NetworkSpec, Outputs
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.training.inputs import (
    PhotoViews,
    Targets,
    Teacher,
    open_teacher,
    step_inputs,
)
from mobilenetv2.training.recipe import Distillation, Recipe


def test_sizes_follow_the_phases_in_steps_of_8(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(100, 224)))
    recipe = Recipe().changed(epochs=6, phases=(0.5, 0.75, 1.0))
    views = PhotoViews(split, record, recipe)
    assert [views.size(epoch) for epoch in (0, 2, 4)] == [(48, 112), (72, 168), (100, 224)]
    assert views.view(0, 2).shape == (72, 168, 3)
    small = PhotoViews(split, Preprocessing.default(NetworkSpec(size=(32, 32))), recipe)
    assert [small.size(epoch) for epoch in (0, 2, 4)] == [(16, 16), (24, 24), (32, 32)]


def test_a_view_can_be_made_again(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    views, again = (PhotoViews(split, record, Recipe().changed(seed=seed)) for seed in (0, 0))
    assert np.array_equal(views.view(3, 1), again.view(3, 1))
    assert not np.array_equal(views.view(3, 1), views.view(3, 2))
    assert not np.array_equal(views.view(3, 1), views.view(2, 1))


@pytest.mark.parametrize(("crop", "held"), [("shifted", True), ("none", True), ("resized", False)])
def test_batches_are_the_views_one_by_one(photos: Path, crop: str, held: bool) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    recipe = Recipe().changed(epochs=2, phases=(0.5, 1.0), augmentation=Augmentation(crop=crop))  # type: ignore[arg-type]
    views = PhotoViews(split, record, recipe)
    order = np.array([5, 2, 9, 1, 7, 3])
    for epoch in (0, 1):
        made = list(views.batches(chunked(order, 2, start=1), epoch))
        assert [indices.tolist() for _, indices in made] == [[9, 1], [7, 3]]
        for pictures, indices in made:
            expected = np.stack([views.view(int(index), epoch) for index in indices])
            assert np.array_equal(pictures, expected)
        assert (views._image_cache is not None) == held


def test_photos_are_downscaled_for_the_largest_view_unless_the_recipe_says_no(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(64, 64)))
    recipe = Recipe().changed(epochs=2, phases=(0.5, 1.0), shrink=1.5)
    views = PhotoViews(split, record, recipe)
    assert views._resized_cache is not None and views._resized_cache.side == 96
    assert PhotoViews(split, record, recipe.changed(shrink=0.0))._resized_cache is None
    smaller = PhotoViews(split, record.at((16, 16)), recipe.changed(phases=(), shrink=1.0))
    expected = augment(
        shrink(split.image(split.photos[0]), 16), recipe.augmentation, record, (16, 16),
        generator(recipe.seed, 1, 0),
    )  # fmt: skip
    assert np.array_equal(smaller.view(0, 1), expected)
    whole = PhotoViews(split, record, recipe.changed(shrink=0.0))
    image = split.image(split.photos[0])
    random = generator(recipe.seed, 1, 0)
    expected = augment(image, recipe.augmentation, record, (64, 64), random)
    assert np.array_equal(whole.view(0, 1), expected)


class Counting(Source):
    """A source that says how often a file was read."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.place, source.names())
        self.source, self.reads = source, 0

    def read(self, name: str) -> bytes:
        self.reads += 1
        return self.source.read(name)


@pytest.mark.parametrize("crop", ["resized", "shifted"])
def test_a_photo_is_read_once_for_all_epochs(photos: Path, crop: str) -> None:
    split = open_dataset(photos).splits["all"]
    source = Counting(split.source)
    split = dataclasses.replace(split, source=source)
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    recipe = Recipe().changed(epochs=3, augmentation=Augmentation(crop=crop))  # type: ignore[arg-type]
    views = PhotoViews(split, record, recipe)
    for epoch in range(3):
        assert len(list(views.batches(chunked(range(len(split)), 6), epoch))) == len(split) // 6
    assert source.reads == len(split)


PICTURES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_labels_alone() -> None:
    recipe = Recipe().changed(label_smoothing=0.3)
    pictures, wanted = Targets(LABELS, 3, recipe).make(PICTURES, np.arange(6), 0, 0)
    assert pictures is PICTURES and wanted.dtype == np.float32
    assert wanted[0] == pytest.approx([0.8, 0.1, 0.1])


@pytest.mark.parametrize(
    ("outputs", "classes", "expected"),
    [
        ("sigmoid", 3, [[0.85, 0.15, 0.15], [0.15, 0.85, 0.15]]),
        ("logit", 2, [[0.15], [0.85]]),
        ("softmax", 2, [[0.85, 0.15], [0.15, 0.85]]),
    ],
)
def test_targets_follow_what_the_outputs_mean(
    outputs: Outputs, classes: int, expected: list[list[float]]
) -> None:
    recipe = Recipe().changed(label_smoothing=0.3)
    made = Targets(np.array([0, 1]), classes, recipe, outputs=outputs)
    _, wanted = made.make(PICTURES[:2], np.arange(2), 0, 0)
    assert wanted.dtype == np.float32 and wanted == pytest.approx(np.array(expected))
    mixing = recipe.changed(mixing=Mixing(mixup=1.0))
    mixed = dataclasses.replace(made, recipe=mixing).make(PICTURES[:2], np.arange(2), 0, 1)[1]
    assert mixed.shape == wanted.shape and mixed.sum() == pytest.approx(wanted.sum(), rel=1e-6)


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid"])
def test_a_teacher_of_another_kind_gives_probabilities(outputs: Outputs) -> None:
    logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    teacher = Teacher(lambda _: logits, (32, 32), (2, 0, 1), "sigmoid")
    recipe = Recipe().changed(label_smoothing=0.0, distillation=Distillation("t", 1.0, 2.0))
    _, wanted = Targets(LABELS, 3, recipe, teacher, outputs).make(PICTURES, np.arange(6), 0, 0)
    expected = sigmoid(logits / 2)[:, [2, 0, 1]]
    if outputs == "softmax":
        expected /= expected.sum(1, keepdims=True)
    assert wanted == pytest.approx(expected, abs=1e-6)


def test_a_teacher_has_its_share_and_its_classes_are_matched() -> None:
    logits = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    seen = []

    def answer(pictures: np.ndarray) -> np.ndarray:
        seen.append(pictures)
        return logits

    teacher = Teacher(answer, (48, 40), (3, 0, 2))
    recipe = Recipe().changed(label_smoothing=0.0, distillation=Distillation("t", 0.75, 2.0))
    _, wanted = Targets(LABELS, 3, recipe, teacher).make(PICTURES, np.arange(6), 0, 0)
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
    with pytest.raises(RecipeError, match=r"takes images of 3 channels, .* takes 1"):
        open_teacher(path, ("a", "b"), 1)


class Kept:
    """Inputs that are there already, and the photos that were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def batches(self, chunks: Sequence[np.ndarray], epoch: int) -> Batches:
        for chunk in chunks:
            self.asked += chunk.tolist()
            yield PICTURES[chunk], chunk


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(mixup=0.4, cutmix=1.0, share=0.7)])
def test_parts_of_a_batch_are_those_of_the_whole_and_only_partners_are_read_besides(
    mixing: Mixing,
) -> None:
    recipe = Recipe().changed(mixing=mixing, batch_size=6)
    made = Targets(LABELS, 3, recipe)
    chunks = [np.random.default_rng(i).permutation(6) for i in range(8)]
    whole = list(step_inputs(Kept(), made, chunks, 1, np.arange))
    parts = [np.array([0, 4]), np.array([5, 1, 2]), np.array([3])]
    kept = [Kept() for _ in parts]
    found = [
        list(step_inputs(views, made, chunks, 1, lambda _, rows=rows: rows))  # type: ignore[misc]
        for views, rows in zip(kept, parts, strict=True)
    ]
    for step, (pictures, wanted) in enumerate(whole):
        for rows, steps in zip(parts, found, strict=True):
            assert np.array_equal(steps[step][0], pictures[rows])
            assert np.array_equal(steps[step][1], wanted[rows])
    count = [len(views.asked) for views in kept]
    least = [8 * len(rows) for rows in parts]
    assert count == least if not mixing.mixup else sum(least) < sum(count) < 2 * sum(least)


def test_steps_go_on_in_the_middle_of_an_epoch_as_they_were() -> None:
    recipe = Recipe().changed(mixing=Mixing(mixup=0.4), batch_size=2)
    made, chunks = Targets(LABELS, 3, recipe), list(np.arange(6).reshape(3, 2))
    whole = list(step_inputs(Kept(), made, chunks, 0, np.arange))
    rest = list(step_inputs(Kept(), made, chunks[1:], 0, np.arange, 1))
    for (pictures, wanted), (expected, targets) in zip(rest, whole[1:], strict=True):
        assert np.array_equal(pictures, expected) and np.array_equal(wanted, targets)
