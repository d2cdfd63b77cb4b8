"""The checkpoint of a run: its complete state, as arrays and JSON under one checksum.

A checkpoint is checked as a whole before anything continues from it: a state that is nearly right
would train on without a word.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.documents import parse_json
from mobilenetv2.errors import MobileNetV2Error, RunError, argument
from mobilenetv2.files import open_file, write_atomically
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.mapping import shown
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import parse_recipe, recipe_toml
from mobilenetv2.training.steps import State

Row = dict[str, float]
"""Figures of an epoch: a row of ``metrics.csv``."""
COLUMNS = (
    "epoch", "learning_rate", "train_loss", "train_top1", "selection_loss", "selection_top1",
    "seconds", "images_per_second",
)  # fmt: skip
LARGEST_SUM = 2.0**53
"""Largest sum over an epoch; beyond it, floats cannot count photos."""
FACTS = frozenset((
    "config", "recipe", "rows", "epoch", "step", "sums", "averaged_steps", "seconds",
))  # fmt: skip


def damaged(path: Path, reason: object) -> RunError:
    """Return the error for a file of a run folder that the run cannot continue from."""
    return RunError(
        f"{path}: cannot be resumed from ({first_line(reason)[:500]}); start the run again with "
        f"{argument('overwrite', True)}, which removes its models best and last"
    )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The complete state of a run, for resuming.

    It is saved after every epoch, every few minutes and on Ctrl-C, as arrays and JSON.
    """

    config: ModelConfig
    recipe: Recipe
    trainer: State
    average: Arrays
    """EMA weights; empty without averaging."""
    averaged_steps: int
    rows: list[Row]
    """Rows of ``metrics.csv`` so far."""
    epoch: int
    step: int
    """Number of finished steps in the epoch."""
    sums: list[float]
    """Sums over the epoch so far: loss, correct answers, photos."""
    seconds: float
    """Seconds of training in the epoch so far."""

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically; an existing file is replaced."""
        facts = {
            "config": json.loads(self.config.to_json()), "recipe": recipe_toml(self.recipe),
            "rows": self.rows, "epoch": self.epoch, "step": self.step, "sums": self.sums,
            "averaged_steps": self.averaged_steps, "seconds": self.seconds,
        }  # fmt: skip
        tensors = {f"trainer/{name}": np.array(array) for name, array in self.trainer.items()}
        tensors |= {f"average/{name}": np.array(array) for name, array in self.average.items()}
        write_atomically(path, sealed(facts, tensors))

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint that :meth:`save` wrote.

        Raises:
            OSError: it is a pipe, a device or a folder, or may not be read.
            RunError: it is damaged, was changed, or has a state that no run can have.
        """
        open_file(path).close()  # the library would wait for a pipe
        try:
            facts, tensors = read_parts(path)
            if facts.keys() != FACTS:
                written = facts.pop("sha256")
                if written != _digest(facts, tensors):
                    raise ValueError("it was changed or damaged since it was written")
                return cls._checked(facts, tensors, path)
        # Errors of the file format, which are of its library's own classes, and of keys and values.
        except Exception as error:
            raise damaged(path, _reason(error)) from None
        raise RunError(
            f"{path}: written by an older version of this package, which recorded no checksum; "
            f"finish the run with that version, or start it again with "
            f"{argument('overwrite', True)}"
        )

    @classmethod
    def _checked(cls, facts: Mapping[str, Any], tensors: State, path: Path) -> "Checkpoint":
        if facts.keys() != FACTS:
            raise ValueError(f"its record has the keys {shown(sorted(facts))}")
        parts: dict[str, State] = {"trainer": {}, "average": {}}
        for key, array in tensors.items():
            part, _, name = key.partition("/")
            if part not in parts:
                raise ValueError(f"its array {key!r} belongs to no part")
            if not np.isfinite(array).all():
                raise ValueError(f"its array {key!r} has values that are not finite")
            parts[part][name] = array
        config = ModelConfig.from_mapping(facts["config"], "its config")
        recipe = parse_recipe(facts["recipe"], "its recipe")
        epoch, step = _count(facts, "epoch", recipe.epochs), _count(facts, "step")
        averaged = _count(facts, "averaged_steps")
        if bool(averaged) != bool(parts["average"]) or (averaged and not recipe.averaging.decay):
            raise ValueError(f"averaged_steps {averaged} does not fit its arrays and recipe")
        if averaged:
            check_arrays(config.spec, parts["average"], "its average")
        sums, seconds = facts["sums"], facts["seconds"]
        if not (isinstance(sums, list) and len(sums) == 3 and all(map(_is_sum, sums))):
            raise ValueError(f"sums {shown(sums)} must be three numbers")
        if not _is_sum(seconds):
            raise ValueError(f"seconds {shown(seconds)} must be a number")
        rows = _rows(facts["rows"], epoch)
        return cls(
            config, recipe, parts["trainer"], parts["average"], averaged, rows, epoch, step, sums,
            seconds,
        )  # fmt: skip

    def check_place(self, path: Path, steps: int, batch_size: int) -> None:
        """Raise unless the position in the run is one of a run on these photos.

        Args:
            path: the checkpoint, for the message.
            steps: steps of an epoch.
            batch_size: photos of a step.

        Raises:
            RunError: the steps, the sums or the average do not fit.
        """
        done = self.epoch * steps + self.step
        if self.step > steps:
            raise damaged(path, f"step {self.step:,} of an epoch of {steps:,} steps")
        if not 0 <= self.sums[1] <= self.sums[2] == self.step * batch_size:
            raise damaged(path, f"sums {shown(self.sums)} after {self.step:,} steps")
        if self.averaged_steps != (done if self.recipe.averaging.decay else 0):
            raise damaged(path, f"averaged_steps {self.averaged_steps:,} after {done:,} steps")


def sealed(facts: Mapping[str, Any], tensors: State) -> bytes:
    """Return a checkpoint's file, with a checksum over its record and its arrays.

    Args:
        facts: the record, plain values for JSON.
        tensors: the arrays by name, 'trainer/NAME' or 'average/NAME'.
    """
    from safetensors.numpy import save

    told = json.dumps({**facts, "sha256": _digest(facts, tensors)})
    return save(dict(tensors), {"checkpoint": told})


def read_parts(path: Path) -> tuple[dict[str, Any], State]:
    """Return the record and the arrays of a checkpoint's file, neither of them checked.

    Raises:
        SafetensorError, KeyError, RunError, OSError: the file is none of a checkpoint.
    """
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        told = file.metadata()["checkpoint"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
    return parse_json(told, "its record", RunError, constants=True), tensors


def _digest(facts: Mapping[str, Any], tensors: State) -> str:
    """Return the SHA-256 of everything that a checkpoint holds."""
    found = hashlib.sha256(json.dumps(facts).encode())
    for name in sorted(tensors):
        array = tensors[name]
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _reason(error: Exception) -> str:
    told = isinstance(error, MobileNetV2Error | ValueError)
    return f"{'' if told else 'it is no checkpoint: '}{error}"


def _count(facts: Mapping[str, Any], name: str, most: int | None = None) -> int:
    value = facts[name]
    if type(value) is not int or value < 0 or (most is not None and value > most):
        bound = "" if most is None else f" to {most:,}"
        raise ValueError(f"{name} {shown(value)} must be a whole number from 0{bound}")
    return value


def _is_sum(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < LARGEST_SUM


def _rows(found: object, epoch: int) -> list[Row]:
    """Return the rows of the metrics: one for each epoch, after one of a fitted classifier."""
    if not isinstance(found, list):
        raise ValueError(f"its rows are {shown(found)}")
    for row in found:
        numbers = isinstance(row, dict) and all(type(x) in (int, float) for x in row.values())
        if not numbers or row.keys() != set(COLUMNS):
            raise ValueError(f"its rows have one that is no row of metrics: {shown(row)}")
    epochs = [row["epoch"] for row in found]
    first = 0 if epochs[:1] == [0] else 1
    if epochs != list(range(first, epoch + 1)):
        raise ValueError(f"its rows have the epochs {shown(epochs)}, and {epoch} are finished")
    return found
