"""The training of a study's networks: the same photos for all, paired seeds, the same numbers."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.errors import DataError
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.studies import training
from mobilenetv2.studies.accuracy import LEARNED
from mobilenetv2.studies.networks import BASE
from mobilenetv2.studies.study import Options
from mobilenetv2.studies.training import PACKAGES, QUICK, Plan, photos, recipe_for, train
from mobilenetv2.training.job import Run
from mobilenetv2.training.loop import fit

PLAN = Plan(photos=40, epochs=2, tested=20)
SPEC = BASE.at(width=0.1, classes=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cifar10/``, of four classes that differ in their colour."""
    folder = tmp_path_factory.mktemp("data") / "cifar10"
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 10)):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for label in range(4):
                for number in range(count):
                    noise = random.normal(0, 30, (32, 32, 3))
                    noise += 60 + 50 * (np.arange(3) == label)
                    buffer = io.BytesIO()
                    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG")
                    archive.writestr(f"{part}/class{label}/{number:04d}.jpg", buffer.getvalue())
    return folder.parent


def test_a_plan_takes_what_a_person_chose() -> None:
    plan = Plan(photos=4000, epochs=8)
    assert plan.of(Options()) == plan
    assert plan.of(Options(epochs=30, photos=0)) == Plan(0, 30)
    assert plan.of(Options(quick=True)) == QUICK
    assert plan.of(Options(quick=True, epochs=3)) == Plan(QUICK.photos, 3, QUICK.tested)


def test_photos_are_balanced_apart_and_the_same_for_all(data: Path) -> None:
    place = str(data / "cifar10")
    splits = photos(place, 40, 20)
    assert [len(split) for split in splits.parts] == [40, 4, 20]
    assert [split.counts() for split in splits.parts] == [[10] * 4, [1] * 4, [5] * 4]
    assert not {*splits.train.photos} & {*splits.selection.photos}
    assert all(photo.name.startswith("test/") for photo in splits.held_out.photos)
    photos.cache_clear()
    assert photos(place, 40, 20).train.photos == splits.train.photos
    more = photos(place, 80, 20)
    assert more.held_out.photos == splits.held_out.photos
    assert len(photos(place, 0, 5_000).train) == 4 * 29  # all but those that are watched
    assert len(photos(place, 0, 5_000).held_out) == 40


def test_the_recipe_has_larger_steps_for_many_photos() -> None:
    few, many = recipe_for(4_000, 8, 3), recipe_for(50_000, 30, 3)
    assert few.seed == 3 and few.epochs == 8 and few.computation.precision == "float32"
    assert few.batch_size < many.batch_size
    assert few.optimizer.learning_rate < many.optimizer.learning_rate
    same = {"batch_size": 2, "epochs": 1, "optimizer.learning_rate": 1.0}
    assert few.changed(same) == many.changed(same)


def test_without_photos_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make data"):
        train(SPEC, 0, Options(data=tmp_path), PLAN)


@pytest.mark.slow
def test_a_training_gives_the_same_numbers_and_each_seed_its_own(data: Path) -> None:
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed (extra: torch)")
    from mobilenetv2.training.threads import one_thread

    options = Options(data=data)
    with one_thread():
        first, again = (train(SPEC, 1, options, PLAN) for _ in range(2))
        other = train(SPEC, 2, options, PLAN)
    assert first == again
    assert {**first} != {**other}
    assert {*first} == {"top1", "loss", "train_loss", "parameters", "multiply_adds", "width"}
    assert first["parameters"] == parameters(SPEC) and first["width"] == 0.1
    assert first["multiply_adds"] == multiply_adds(SPEC)
    assert 0 <= first["top1"] <= 1 and first["loss"] > 0


@pytest.mark.slow
def test_a_quick_training_is_better_than_a_guess(public_folder: Callable[[str], Path]) -> None:
    """The narrowest network of ``linear-bottleneck``, on 500 photos: a guess has 10 +- 2.6%."""
    for package in PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed (extra: torch)")
    from mobilenetv2.training.threads import one_thread

    options = Options(quick=True, data=public_folder("cifar10").parent)
    with one_thread():
        found = train(BASE.at(width=0.35), 0, options, PLAN)
    assert found["top1"] > LEARNED


@pytest.mark.slow
def test_no_photo_of_the_test_is_trained_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    trained: set[str] = set()

    def watched(run: Run) -> None:
        trained.update(photo.name for photo in run.splits.train.photos)
        fit(run)
        assert run.epochs == PLAN.epochs and run.folder.is_dir()

    monkeypatch.setattr(training, "fit", watched)
    train(SPEC, 0, Options(data=data), PLAN)
    assert len(trained) == 40 and not any(name.startswith("test") for name in trained)
