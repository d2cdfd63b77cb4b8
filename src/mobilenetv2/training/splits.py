"""The splits of a run, and the adaptation of the default recipe to the photos.

Only keys that the user did not set are adapted, and only to the photos. So the same photos, seed
and recipe give the same recipe on every machine.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.batches import epoch_order
from mobilenetv2.data.dataset import Split, stratified_split
from mobilenetv2.data.layout import ALL
from mobilenetv2.data.scan import CheckedDataset
from mobilenetv2.errors import DataError, RecipeError, RunError, recipe_key
from mobilenetv2.evaluation.run_record import read_split
from mobilenetv2.spec.network import Size
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.recipe import Recipe

VIEWS = 22_000
"""Target number of views (photos times epochs) of a default run, within :data:`EPOCHS`. With 2,761
training photos, 8 epochs gave 92.1% top-1 accuracy (n = 341), and 18 to 20 epochs 92.5% in twice
the time (standard error 1.4 points). With 687 photos, 30 epochs gave 87.8% (n = 550), and the
fitted classifier alone 84.5% (benchmarks/clothing.md)."""
EPOCHS = (4, 30)
"""Smallest and largest number of epochs of a default run."""
FEWEST_STEPS = 8
"""Smallest number of steps in an epoch; with fewer, the batch size is reduced."""
IMBALANCE = 10.0
"""Ratio of the largest to the smallest class from which the classes are balanced. At a ratio of 7
(clothes), balancing gained nothing: 92.1% top-1 accuracy with it and 92.9% without (n = 722)."""
FEW = 400
"""Smallest number of training photos for training the whole network; with fewer, only a new
classifier is fitted. With 269 photos, both gave 81.3% top-1 accuracy (n = 550), at a
temperature-scaled loss of 0.51 for the classifier and 0.56 for the network after 30 epochs. With
687 photos, the classifier gave 84.5% and the network 87.1% (benchmarks/clothing.md)."""
MOVING = frozenset({
    "trained", "epochs", "patience", "optimizer.name", "optimizer.learning_rate",
    "optimizer.layer_decay", "schedule.name", "classifier.fit_first", "classifier.hidden",
    "freezing.blocks", "freezing.unfreeze_epochs",
})  # fmt: skip
"""Recipe keys for training the whole network; setting one of them prevents the change to
``trained = 'head'``."""
SMALL_PHOTO, SMALL_SIZE = 100, 128
"""Side of small photos, and the input size of the network for them, in pixels."""
SAMPLE = 64
"""Approximate number of photos that are opened to find their size."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The training, validation and test split of a run."""

    train: Split
    selection: Split
    """Validation split, which selects the best epoch or the best penalty."""
    held_out: Split
    """Test split, used once, for the final figures."""

    @property
    def parts(self) -> tuple[Split, Split, Split]:
        """The three splits."""
        return self.train, self.selection, self.held_out


def divide(checked: CheckedDataset, recipe: Recipe) -> Splits:
    """Return the splits of the data; a validation split and, if missing, a test split are made.

    Raises:
        DataError: the data has no training photos, or a class has too few photos for the splits.
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
        raise DataError(f"{place}: has {' and '.join(splits)}, but no train folder")
    train, selection = stratified_split(
        rest, recipe.data.selection, recipe.seed + 1, ("train", "selection"), checked.digests
    )
    given = held_out.name in splits  # it may lack classes, which a note has said
    for split in (train, selection, held_out):
        for name, count in zip(split.classes, split.counts(), strict=True):
            if count == 0 and not (given and split is held_out and len(held_out)):
                raise DataError(
                    f"{place}: class {name!r} has too few different photos for a training, a "
                    "validation and a test split; give it at least 3, better 30"
                )
    return Splits(train, selection, held_out)


def check_same_photos(folder: RunFolder, parts: tuple[Split, ...], data: str) -> None:
    """Raise RunError if photos were added, removed or moved since a resumed run was started."""
    before = read_split(folder.split)
    now = {photo.name: part.name for part in parts for photo in part.photos}
    for names, how in (
        (before.keys() - now.keys(), "gone or unreadable"), (now.keys() - before.keys(), "new")
    ):  # fmt: skip
        if names:
            raise RunError(
                f"{data}: {len(names)} of the photos are {how} since {folder.path} was started "
                f"(first: {min(names)}); restore the photos or start a new run"
            )
    # The names are the same: a photo has become a copy of another, or no longer is one.
    changed = sorted(name for name in before if before[name] != now[name])
    if changed:
        raise RunError(
            f"{data}: {len(changed)} photos have changed since {folder.path} was started "
            f"(first: {changed[0]}); restore the photos or start a new run"
        )


def epoch_photos(train: Split, labels: NDArray, recipe: Recipe, epoch: int) -> NDArray:
    """Return the indices of an epoch's training photos in order, int64 (photos,).

    The order depends only on the recipe, its seed, the epoch and the photos.

    Args:
        train: the training split.
        labels: class of each photo, int (photos,).
        recipe: the recipe.
        epoch: the epoch.

    Raises:
        RecipeError: the recipe asks for the order of shards, and the photos are in none.
    """
    if recipe.data.shuffle == "whole":
        return epoch_order(labels, recipe.seed, epoch, recipe.data.balance)
    order = train.source.buffered([photo.name for photo in train.photos], recipe.seed, epoch)
    if order is None:
        raise RecipeError(
            f"{train.source.place}: data.shuffle = 'runs' is for shards; make some with "
            "'mobilenetv2 data shard', or set data.shuffle=whole"
        )
    return order


def sample(split: Split, count: int, seed: int) -> Split:
    """Return a reproducible random sample of at most ``count`` photos of a split."""
    if len(split) <= count:
        return split
    chosen = np.random.default_rng([seed, 2]).choice(len(split), count, replace=False)
    return split.with_photos(tuple(split.photos[index] for index in sorted(chosen)))


def choose(
    train: Split, recipe: Recipe, kept: frozenset[str], size: Size
) -> tuple[Recipe, list[str]]:
    """Return the recipe adapted to the photos, and the reasons as sentences.

    Input size, trained part, batch size, balance and epochs may change.

    Args:
        train: the training split.
        recipe: the default recipe.
        kept: keys that are not changed.
        size: height and width of the network's input in pixels.
    """
    changes: dict[str, Any] = {}
    reasons = []
    count = len(train)
    if "network.size" not in kept and min(size) > SMALL_SIZE:
        some = train.photos[:: max(1, count // SAMPLE)]
        side = median(min(train.stored_size(photo)) for photo in some)
        if side < SMALL_PHOTO:
            changes["network.size"] = (SMALL_SIZE, SMALL_SIZE)
            reasons.append(
                f"size {SMALL_SIZE}: half of the photos have a shorter side of at most {side:.0f} "
                "pixels, so that a larger size adds no detail"
            )
    few = count < FEW and not kept & MOVING and not recipe.distillation.teacher
    if recipe.trained == "all" and few:
        changes["trained"] = "head"
        reasons.append(
            f"training only a new classifier: {count} training photos are fewer than {FEW}, too "
            f"few to gain from training the whole network "
            f"({recipe_key('trained', 'all')} trains it)"
        )
    elif recipe.trained == "all":
        if "batch_size" not in kept and count < FEWEST_STEPS * recipe.batch_size:
            size_chosen = changes["batch_size"] = max(2, count // FEWEST_STEPS)
            reasons.append(
                f"batch_size {size_chosen}: with {count} training photos, larger batches give too "
                "few steps in an epoch"
            )
        counts = [number for number in train.counts() if number]
        ratio = max(counts) / min(counts)
        whole = recipe.data.shuffle == "whole"
        if "data.balance" not in kept and ratio >= IMBALANCE and whole:
            changes["data.balance"] = 0.5
            reasons.append(
                f"balance 0.5: the largest class has {ratio:.0f} times the photos of the smallest, "
                "so photos of small classes are used more often"
            )
        if "epochs" not in kept:
            changes["epochs"] = epochs_for(count)
            reasons.append(f"epochs {changes['epochs']}: chosen for {count} training photos")
    return recipe.changed(changes), reasons


def epochs_for(photos: int) -> int:
    """Return the default number of epochs for a number of training photos; few photos need more."""
    fewest, most = EPOCHS
    return min(most, max(fewest, round(VIEWS / photos)))
