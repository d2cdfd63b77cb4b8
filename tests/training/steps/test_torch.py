"""A step in PyTorch: clipped, in parts, on cached maps."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobilenetv2.data.augment import targets
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.errors import RecipeError, Stopped
from mobilenetv2.spec.published import published
from mobilenetv2.training import loop
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.inputs import PhotoViews
from mobilenetv2.training.job import Job
from mobilenetv2.training.recipe import Cache, Recipe
from mobilenetv2.training.run import carry_out
from mobilenetv2.training.schedule import depth
from mobilenetv2.training.steps.torch import AT_ONCE, CachedFeaturesTrainer, TorchTrainer

SPEC = published("small", width=0.1, classes=3, dropout=0.0)
RECIPE = Recipe().changed(
    trained="later", epochs=4, precision="float32", batch_norm="frozen", cache=Cache(12, 2)
)


@pytest.fixture(scope="module")
def split(photos: Path) -> Split:
    whole = open_dataset(photos).splits["all"]
    return whole.with_photos(whole.photos[::2])


def make(recipe: Recipe = RECIPE) -> CachedFeaturesTrainer:
    return CachedFeaturesTrainer(MobileNetV2(SPEC, seed=0), recipe)


def photo_views(split: Split, trainer: CachedFeaturesTrainer) -> PhotoViews:
    return PhotoViews(split, trainer.network.config.preprocessing, trainer.recipe)


def test_a_step_on_maps_is_the_step_on_pictures_but_for_the_frozen_part(
    split: Split, tmp_path: Path
) -> None:
    trainer, whole = make(), TorchTrainer(MobileNetV2(SPEC, seed=0), RECIPE)
    photos = photo_views(split, trainer)
    views = trainer.views(photos, tmp_path / "maps.npy")
    indices, wanted = [1, 5, 2, 4], targets(np.array([0, 1, 2, 0]), 3)
    before = trainer.dump()

    def view(index: int, epoch: int) -> NDArray:
        return next(views.batches([np.array([index])], epoch))[0][0]

    loss, right = trainer.step(np.stack([view(i, 1) for i in indices]), wanted, 0.01)
    # Epoch 3 has the views of epoch 1 again. Frozen statistics: both compute alike.
    assert np.array_equal(view(5, 1), view(5, 3))
    assert not np.array_equal(view(5, 1), view(5, 0))
    expected, hits = whole.step(np.stack([photos.view(i, 1) for i in indices]), wanted, 0.01)
    assert loss == pytest.approx(expected, rel=1e-3) and right == hits  # maps are float16
    cut = 1 + 17 - 12
    for name, array in trainer.dump().items():
        if depth(name, SPEC) > cut:
            assert np.array_equal(array, before[name])
        else:
            assert array == pytest.approx(whole.dump()[name], abs=2e-4, rel=1e-3)
    moved = {depth(n, SPEC) for n, a in trainer.dump().items() if not np.array_equal(a, before[n])}
    assert moved == set(range(cut + 1))


def test_maps_are_computed_once_and_whole(split: Split, tmp_path: Path) -> None:
    trainer, path = make(), tmp_path / "maps.npy"
    photos = photo_views(split, trainer)

    def first_map() -> Any:
        return next(trainer.views(photos, path).batches([np.array([0])], 0))[0][0]

    first = first_map()
    made = path.stat().st_mtime_ns
    assert np.array_equal(first_map(), first)
    assert path.stat().st_mtime_ns == made and [*tmp_path.iterdir()] == [path]
    maps = np.load(path)
    assert maps.shape == (2, len(split), 8, 8, maps.shape[-1]) and maps.dtype == np.float16
    batch = np.stack([photos.view(index, 1) for index in range(min(AT_ONCE, len(split)))])
    assert np.array_equal(maps[1, :AT_ONCE], trainer.early(batch))
    whole = path.read_bytes()
    for damaged in (b"", whole[:200], whole[: len(whole) // 2], b"x" * 500):
        path.write_bytes(damaged)  # computed again
        assert np.array_equal(first_map(), first)
        assert path.read_bytes() == whole
    np.save(path, maps[:, 1:])  # of fewer photos
    assert np.array_equal(first_map(), first)
    assert path.read_bytes() == whole


def test_a_network_without_so_many_blocks_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"cache.blocks 18: the network has 17 blocks"):
        make(Recipe().changed(trained="later", cache=Cache(18, 1)))


def test_each_view_that_is_computed_has_its_epoch(split: Split, tmp_path: Path) -> None:
    trainer = make(RECIPE.changed(epochs=1, cache=Cache(12, 4)))
    trainer.views(photo_views(split, trainer), tmp_path / "maps.npy")
    assert len(np.load(tmp_path / "maps.npy")) == 1


def test_a_disk_without_room_is_an_error_before_anything_is_written_into_maps(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    trainer = make()
    with pytest.raises(OSError, match="No space left") as caught:
        trainer.views(photo_views(split, trainer), tmp_path / "maps.npy")
    assert caught.value.filename == str(tmp_path / "maps.npy")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("maps", ["kept", "gone"])
def test_a_run_goes_on_bit_for_bit_with_its_maps_or_without(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maps: str
) -> None:
    recipe = RECIPE.changed(epochs=2, batch_size=8, cache=Cache(1, 2), head_first=True)
    job = Job(str(photos), tmp_path / "whole", model, recipe)
    carry_out(job)
    assert not (tmp_path / "whole" / "maps.npy").exists()

    @contextmanager
    def at_once() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    stopped = replace(job, output=tmp_path / "stopped")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "stop_on_interrupt", at_once)
        with pytest.raises(Stopped):
            carry_out(stopped)
    assert (tmp_path / "stopped" / "maps.npy").is_file()
    if maps == "gone":
        (tmp_path / "stopped" / "maps.npy").unlink()
    carry_out(replace(stopped, resume=True))
    for name in ("best", "last"):
        files = [tmp_path / run / name / "model.safetensors" for run in ("whole", "stopped")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_that_was_begun_on_the_cpu_goes_on_on_a_gpu() -> None:
    """Its generator has no state yet; there is no GPU here, and none is touched."""
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), Recipe().changed(precision="float32"))
    state = trainer.state()
    trainer.device = torch.device("cuda")
    trainer.restore(state)
    assert "random/cuda" not in state


def plain(**changes: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights before and after one step of SGD without momentum, rate 0.1."""
    recipe = Recipe().changed(
        momentum=0.0, weight_decay=0.0, precision="float32", dropout=0.0, batch_norm="frozen",
        **changes,
    )  # fmt: skip
    trainer = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    before = trainer.dump()
    trainer.step(pictures, targets(np.arange(8) % 3, 3), 0.1)
    return before, trainer.dump()


def length(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(((after[n] - before[n]).astype(float) ** 2).sum() for n in before)))


def test_a_longer_gradient_is_shortened_to_the_clip_and_a_shorter_one_is_not() -> None:
    whole = length(*plain())
    assert length(*plain(gradient_clip=whole / 0.1 / 4)) == pytest.approx(whole / 4, rel=1e-3)
    assert length(*plain(gradient_clip=whole / 0.1 * 2)) == pytest.approx(whole, rel=1e-4)


def test_a_batch_in_parts_is_the_batch() -> None:
    before, expected = plain()
    for parts in (2, 4, 8):  # 8 of 8 pictures would be single ones, which BatchNorm cannot take
        _, found = plain(accumulate=parts)
        step = max(np.abs(expected[name] - before[name]).max() for name in before)
        gap = max(np.abs(expected[name] - found[name]).max() for name in before)
        assert gap < 1e-4 * step


def three_steps(trainer: TorchTrainer) -> list[tuple[float, int]]:
    """Take three steps on a process's rows of batches of ten pictures."""
    found = []
    for step in range(3):
        random = np.random.default_rng(step)
        pictures = random.integers(0, 256, (10, 32, 32, 3), np.uint8)
        wanted, rows = targets(np.arange(10) % 3, 3), trainer.rows(10)
        found.append(trainer.step(pictures[rows], wanted[rows], 0.002, 10))
    return found


@pytest.mark.parametrize("size", [2, 3, 4])
def test_processes_that_share_statistics_take_the_steps_of_one(
    size: int, together: Callable[[int, Callable[[Group], Any]], list[Any]]
) -> None:
    changes = {"precision": "float32", "gradient_clip": 1.0, "batch_size": 10}
    recipe = Recipe().changed(changes, **{"computation.sync_batch_norm": True})
    trainers = [TorchTrainer(MobileNetV2(SPEC, seed=0), recipe) for _ in range(size + 1)]
    for trainer in trainers:
        trainer.network.double()
    *members, alone = trainers

    def process(group: Group) -> list[tuple[float, int]]:
        members[group.rank].join(group)
        return three_steps(members[group.rank])

    steps, expected = together(size, process), three_steps(alone)
    for found, member in zip(steps, members, strict=True):
        assert [right for _, right in found] == [right for _, right in expected]
        assert [loss for loss, _ in found] == pytest.approx([x for x, _ in expected], rel=1e-12)
        for name, array in member.dump().items():
            np.testing.assert_allclose(array, alone.dump()[name], rtol=1e-9, atol=1e-11)


def test_processes_with_statistics_of_their_own_take_the_steps_of_replicas(
    together: Callable[[int, Callable[[Group], Any]], list[Any]],
) -> None:
    recipe = Recipe().changed(precision="float32", batch_size=10)
    members = [TorchTrainer(MobileNetV2(SPEC, seed=0), recipe) for _ in range(2)]
    alone = TorchTrainer(MobileNetV2(SPEC, seed=0), recipe.changed(replicas=2))

    def process(group: Group) -> list[tuple[float, int]]:
        members[group.rank].join(group)
        return three_steps(members[group.rank])

    assert together(2, process) == [three_steps(alone)] * 2
    for member in members:
        assert all(np.array_equal(a, alone.dump()[n]) for n, a in member.dump().items())
