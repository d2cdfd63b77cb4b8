"""A finished run in words."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from mobilenetv2.evaluate.metrics import Metrics
from mobilenetv2.evaluate.run_record import best_epoch, epochs_of
from mobilenetv2.files import write_atomically
from mobilenetv2.model.card import kind
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import visible
from mobilenetv2.train.choice import FEW
from mobilenetv2.train.epochs import Row
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder

CLOSE = 0.05
"""A larger gap between the training and the held-out figure is worth a word."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What came out of a run."""

    run: RunFolder
    config: ModelConfig
    figures: dict[str, Metrics]
    """By part: a sample of train, selection, and the held-out split."""
    held_out: str
    epochs: int
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "run": str(self.run.path),
            "model": str(self.run.best),
            "held_out": self.held_out,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "metrics": self.config.metrics,
        }


def summarise(
    run: RunFolder, data: str, recipe: Recipe, config: ModelConfig, figures: dict[str, Metrics],
    held_out: str, rows: Sequence[Row], seconds: float,
) -> Summary:  # fmt: skip
    """Write ``summary.md`` and return what it says."""
    result = figures[held_out]
    low, high = result.top1_interval
    part = (
        f"what follows the first {recipe.cache.blocks} blocks"
        if recipe.trained == "later"
        else "the network"
    )
    epochs = epochs_of(rows)
    plural = "" if epochs == 1 else "s"
    how = f"{epochs} epoch{plural} of {part}" if epochs else "only a new classifier"
    moved = bool(rows) and best_epoch(rows) > 0
    if rows and not moved:
        how += (
            f", none of them with a lower loss on {figures['selection'].images} photos that choose "
            "(each at the temperature that suits it) than a new classifier alone, which is what "
            "was kept"
        )
    # A resumed run has its earlier epochs behind it.
    seconds = max(seconds, sum(row["seconds"] for row in rows))
    lines = [
        f"# {run.path.name}",
        "",
        f"{kind(config.spec)} of width {config.spec.width:g} at {config.spec.size[0]} x "
        f"{config.spec.size[1]} pixels ({parameters(config.spec):,} parameters, "
        f"{multiply_adds(config.spec):,} multiply-adds), trained on {data} in "
        f"{seconds / 60:.1f} minutes: {how}.",
        "",
        f"On {result.images} photos of {held_out} that it never saw and that chose nothing, it is "
        f"right on {result.top1:.1%} (95% interval {low:.1%} to {high:.1%}).",
        "",
        *_table(figures, top5=config.spec.classes > 5),
        "",
        _advice(figures["train"], result, moved),
        "",
        _weakest(result),
        "",
        f"All of it on one page, with the surest mistakes: {run.report.name}",
        "",
        "![curves](curves.png)" if rows else "",
        "![confusion](confusion.png)",
        "![classes](classes.png)",
        "![reliability](reliability.png)",
        "",
    ]
    write_atomically(run.summary, "\n".join(lines))
    return Summary(run, config, figures, held_out, epochs, seconds)


def _table(figures: dict[str, Metrics], top5: bool) -> list[str]:
    """A row for each part. Five answers out of five classes are always enough: no top-5 then."""
    header = ["photos", "number", "top-1", *(["top-5"] if top5 else []), "loss"]
    rows = [header, ["---"] * len(header)]
    for part, metrics in figures.items():
        shares = [metrics.top1, *([metrics.top5] if top5 else [])]
        cells = [part, str(metrics.images), *(f"{share:.1%}" for share in shares)]
        rows.append([*cells, f"{metrics.loss:.3f}"])
    return [f"| {' | '.join(row)} |" for row in rows]


def _advice(train: Metrics, held_out: Metrics, moved: bool) -> str:
    gap = train.top1 - held_out.top1
    if gap > CLOSE:
        more = (
            "more photos or stronger augmentation would help more than more epochs"
            if moved
            else f"more photos would help, and with at least {FEW} to train on the default moves "
            "the whole network"
        )
        return (
            f"It is right on its training photos {100 * gap:.0f} points more often than on new "
            f"ones: {more}."
        )
    if moved and train.top1 < 0.9:
        return "It does not yet know its training photos: more epochs would help."
    return "It is right on new photos at least about as often as on those it was trained on."


def named(name: str) -> str:
    """A class's name as text: what a folder is called is no markup."""
    return html.escape(visible(name), quote=False)


def _weakest(metrics: Metrics) -> str:
    rows = sorted((row for row in metrics.classes if row.photos), key=lambda row: row.recall)[:3]
    parts = []
    for row in rows:
        if row.recall == 1:
            continue
        index = [other.name for other in metrics.classes].index(row.name)
        answers = metrics.confusion[index].copy()
        answers[index] = 0
        taken_for = metrics.classes[int(answers.argmax())].name
        parts.append(
            f"{named(row.name)} ({row.recall:.0%} of {row.photos} found, most often taken for "
            f"{named(taken_for)})"
        )
    return (
        f"Weakest classes: {'; '.join(parts)}."
        if parts
        else f"Every class was always found in these {metrics.images} photos."
    )
