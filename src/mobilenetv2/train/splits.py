"""What each photo of a run is for: learning, choosing, or the final figure."""

from dataclasses import dataclass

import numpy as np

from mobilenetv2.data.dataset import ALL, Split, stratified_split
from mobilenetv2.data.scan import CheckedDataset
from mobilenetv2.errors import DataError, RunError
from mobilenetv2.evaluate import trained_on
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder


@dataclass(frozen=True, slots=True)
class Splits:
    """What each photo is for."""

    train: Split
    selection: Split
    """Chooses the best epoch or the best penalty."""
    held_out: Split
    """Looked at once, at the end."""

    @property
    def parts(self) -> tuple[Split, Split, Split]:
        """All three."""
        return self.train, self.selection, self.held_out


def divide(checked: CheckedDataset, recipe: Recipe) -> Splits:
    """Split off what the data does not bring: a final held-out part, and a part to choose by.

    Raises:
        DataError: too few photos of a class to hold any out.
    """
    splits, place = checked.dataset.splits, checked.dataset.place
    if ALL in splits or set(splits) == {"train"}:
        whole = splits.get(ALL) or splits["train"]
        rest, held_out = stratified_split(
            whole, recipe.validation, recipe.seed, ("train", "validation"), checked.digests
        )
    elif "train" in splits:
        rest, held_out = splits["train"], splits.get("validation") or splits["test"]
    else:
        raise DataError(f"{place}: has {' and '.join(splits)} but no train folder to learn from")
    train, selection = stratified_split(
        rest, recipe.selection, recipe.seed + 1, ("train", "selection"), checked.digests
    )
    for split in (train, selection, held_out):
        for name, count in zip(split.classes, split.counts(), strict=True):
            if count == 0:
                raise DataError(
                    f"{place}: class {name!r} has too few different photos to train on, to choose "
                    "by and to hold out; give it at least 3, better 30"
                )
    return Splits(train, selection, held_out)


def check_same_photos(run: RunFolder, parts: tuple[Split, ...], data: str) -> None:
    """A resumed run goes on with the photos that it was begun with.

    Raises:
        RunError: some were added, removed or moved.
    """
    before = trained_on.read_split(run.split)
    now = {photo.name: part.name for part in parts for photo in part.photos}
    for names, how in (
        (before.keys() - now.keys(), "gone or unreadable"), (now.keys() - before.keys(), "new")
    ):  # fmt: skip
        if names:
            raise RunError(
                f"{data}: {len(names)} of the photos are {how} since {run.path} was begun (first: "
                f"{min(names)}); put them as they were or begin a new run"
            )
    # The same names: what is left is a photo that became another's copy, or was one.
    changed = sorted(name for name in before if before[name] != now[name])
    if changed:
        raise RunError(
            f"{data}: {len(changed)} photos are not as they were when {run.path} was begun "
            f"(first: {changed[0]}); put them back or begin a new run"
        )


def some(split: Split, count: int, seed: int) -> Split:
    """At most ``count`` photos of a split, chosen reproducibly."""
    if len(split) <= count:
        return split
    chosen = np.random.default_rng([seed, 2]).choice(len(split), count, replace=False)
    return split.with_photos(tuple(split.photos[index] for index in sorted(chosen)))
