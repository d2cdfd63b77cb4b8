"""The splits of a run, and the keys of the default recipe that the photos choose.

Only the photos choose, and only keys that nobody set are chosen: the same photos, seed and recipe
give the same recipe on every machine, however busy it is.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from mobilenetv2.data.dataset import ALL, Split, stratified_split
from mobilenetv2.data.scan import CheckedDataset
from mobilenetv2.errors import DataError, RunError
from mobilenetv2.evaluation.run_record import read_split
from mobilenetv2.spec.network import Size
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.recipe import Recipe

VIEWS = 22_000
"""Views of photos that a run of the default is trained on, as far as :data:`EPOCHS` allows. Of
2,761 photos, 8 epochs were right on 92.1% of 341 others, 18 to 20 epochs on 92.5% (the standard
error is 1.4 points) in twice the time; of 687 photos, 30 epochs were right on 87.8% of 550 others,
no epoch on 84.5% (benchmarks/clothing.md)."""
EPOCHS = (4, 30)
"""The fewest and the most."""
FEWEST_STEPS = 8
"""Steps of an epoch; with fewer, a smaller batch gives more of them."""
IMBALANCE = 10.0
"""Times that the largest class is the smallest one, from which the small ones are helped. At 7
times (clothes) that gained nothing: a run with it was right on 92.1% of 722 held-out photos, one
without on 92.9%."""
FEW = 400
"""Photos. With fewer, only a new classifier is fitted: of 269, it was right on 81.3% of 550 others
(tempered loss 0.51), and so were 30 epochs of the whole network (0.56); of 687, on 84.5%, and the
network on 87.1% (benchmarks/clothing.md)."""
MOVING = frozenset({
    "trained", "epochs", "patience", "optimizer.name", "optimizer.learning_rate",
    "optimizer.layer_decay", "schedule.name", "classifier.fit_first", "classifier.hidden",
    "freezing.blocks", "freezing.unfreeze_epochs",
})  # fmt: skip
"""Keys of the recipe; a person who sets one wants the network to move."""
SMALL_PHOTO, SMALL_SIZE = 100, 128
"""Pixels: photos smaller than the first are trained on at the second."""
SAMPLE = 64


@dataclass(frozen=True, slots=True)
class Splits:
    """The training, validation and test split of a run."""

    train: Split
    selection: Split
    """The validation split, which selects the best epoch or the best penalty."""
    held_out: Split
    """The test split, used once, for the final figures."""

    @property
    def parts(self) -> tuple[Split, Split, Split]:
        """The three splits."""
        return self.train, self.selection, self.held_out


def divide(checked: CheckedDataset, recipe: Recipe) -> Splits:
    """Split off what the data does not bring: a test split, and a validation split.

    Raise DataError if a class has too few photos to hold any out.
    """
    splits, place = checked.dataset.splits, checked.dataset.place
    if ALL in splits or set(splits) == {"train"}:
        whole = splits.get(ALL) or splits["train"]
        rest, held_out = stratified_split(
            whole, recipe.data.validation, recipe.seed, ("train", "validation"), checked.digests
        )
    elif "train" in splits:
        rest, held_out = splits["train"], splits.get("validation") or splits["test"]
    else:
        raise DataError(f"{place}: has {' and '.join(splits)} but no train folder to learn from")
    train, selection = stratified_split(
        rest, recipe.data.selection, recipe.seed + 1, ("train", "selection"), checked.digests
    )
    for split in (train, selection, held_out):
        for name, count in zip(split.classes, split.counts(), strict=True):
            if count == 0:
                raise DataError(
                    f"{place}: class {name!r} has too few different photos for a training, a "
                    "validation and a test split; give it at least 3, better 30"
                )
    return Splits(train, selection, held_out)


def check_same_photos(folder: RunFolder, parts: tuple[Split, ...], data: str) -> None:
    """Raise RunError where photos were added, removed or moved since a resumed run was begun."""
    before = read_split(folder.split)
    now = {photo.name: part.name for part in parts for photo in part.photos}
    for names, how in (
        (before.keys() - now.keys(), "gone or unreadable"), (now.keys() - before.keys(), "new")
    ):  # fmt: skip
        if names:
            raise RunError(
                f"{data}: {len(names)} of the photos are {how} since {folder.path} was begun "
                f"(first: {min(names)}); put them as they were or begin a new run"
            )
    # The same names: what is left is a photo that became another's copy, or was one.
    changed = sorted(name for name in before if before[name] != now[name])
    if changed:
        raise RunError(
            f"{data}: {len(changed)} photos are not as they were when {folder.path} was begun "
            f"(first: {changed[0]}); put them back or begin a new run"
        )


def sample(split: Split, count: int, seed: int) -> Split:
    """Return at most ``count`` photos of a split, chosen reproducibly."""
    if len(split) <= count:
        return split
    chosen = np.random.default_rng([seed, 2]).choice(len(split), count, replace=False)
    return split.with_photos(tuple(split.photos[index] for index in sorted(chosen)))


def choose(
    train: Split, recipe: Recipe, kept: frozenset[str], size: Size
) -> tuple[Recipe, list[str]]:
    """Choose the network's size, whether it moves, batch size, balance and epochs; say why.

    Keys in ``kept`` are not changed; ``size`` is the network's as it is.
    """
    changes: dict[str, Any] = {}
    reasons = []
    count = len(train)
    if "network.size" not in kept and min(size) > SMALL_SIZE:
        some = train.photos[:: max(1, count // SAMPLE)]
        side = median(min(train.image(photo).size) for photo in some)
        if side < SMALL_PHOTO:
            changes["network.size"] = (SMALL_SIZE, SMALL_SIZE)
            reasons.append(
                f"size {SMALL_SIZE}: half of the photos have a shorter side of at most {side:.0f} "
                "pixels, which a larger size would only blow up"
            )
    few = count < FEW and not kept & MOVING and not recipe.distillation.teacher
    if recipe.trained == "all" and few:
        changes["trained"] = "head"
        reasons.append(
            f"only a new classifier: {count} photos are fewer than the {FEW} with which moving the "
            "whole network pays (set trained=all to move it)"
        )
    elif recipe.trained == "all":
        if "batch_size" not in kept and count < FEWEST_STEPS * recipe.batch_size:
            size_chosen = changes["batch_size"] = max(2, count // FEWEST_STEPS)
            reasons.append(f"batch_size {size_chosen}: {count} photos give few steps an epoch")
        counts = [number for number in train.counts() if number]
        ratio = max(counts) / min(counts)
        if "data.balance" not in kept and ratio >= IMBALANCE:
            changes["data.balance"] = 0.5
            reasons.append(
                f"balance 0.5: the largest class has {ratio:.0f} times the photos of the smallest, "
                "so photos of small classes come more often"
            )
        if "epochs" not in kept:
            changes["epochs"] = epochs_for(count)
            reasons.append(f"epochs {changes['epochs']}: {count} photos")
    return recipe.changed(changes), reasons


def epochs_for(photos: int) -> int:
    """Return the epochs of the default for so many photos to train on: more of fewer photos."""
    fewest, most = EPOCHS
    return min(most, max(fewest, round(VIEWS / photos)))
