"""A run's position, written after every epoch, every few minutes and on Ctrl-C: arrays and JSON,
read as data."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.errors import RunError
from mobilenetv2.files import write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.epochs import out_of_patience
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.record import RunFolder
from mobilenetv2.train.trainer import State


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that the rest of the run depends on."""

    config: ModelConfig
    recipe: str
    """As TOML."""
    trainer: State
    average: Arrays
    """Empty where none is kept."""
    averaged_steps: int
    rows: list[dict[str, float]]
    """Of metrics.csv."""
    epoch: int
    step: int
    """Steps done within the epoch."""
    sums: list[float]
    """Loss, right answers and count of the epoch so far."""
    seconds: float
    """That the steps of the epoch so far took."""

    @classmethod
    def of_run(cls, run: RunFolder, recipe: Recipe) -> "Checkpoint | None":
        """Where a run stands; None where it has not saved anything yet.

        Raises:
            RunError: damaged, or what is there was begun otherwise.
        """
        if not run.checkpoint.is_file():
            return None
        saved = cls.read(run.checkpoint)
        if saved.recipe != recipe.to_toml():
            raise RunError(
                f"{run.checkpoint}: belongs to another recipe than {run.recipe}, or was begun by "
                "another version of mobilenetv2; begin a new run"
            )
        return saved

    def finished(self, recipe: Recipe) -> bool:
        """Whether all epochs are done; then only the figures are left to be taken."""
        return self.epoch >= recipe.epochs or out_of_patience(self.rows, recipe)

    def write(self, path: Path) -> None:
        """Replace the file as a whole, or not at all."""
        from safetensors.numpy import save

        facts = {
            "config": json.loads(self.config.to_json()), "recipe": self.recipe, "rows": self.rows,
            "epoch": self.epoch, "step": self.step, "sums": self.sums,
            "averaged_steps": self.averaged_steps, "seconds": self.seconds,
        }  # fmt: skip
        tensors = {f"trainer/{name}": np.array(array) for name, array in self.trainer.items()}
        tensors |= {f"average/{name}": np.array(array) for name, array in self.average.items()}
        write_atomically(path, save(tensors, {"checkpoint": json.dumps(facts)}))

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read what :meth:`write` wrote.

        Raises:
            RunError: damaged.
        """
        from safetensors import safe_open

        parts: dict[str, State] = {"trainer": {}, "average": {}}
        try:
            with safe_open(path, "numpy") as file:
                facts: dict[str, Any] = json.loads(file.metadata()["checkpoint"])
                for key in file.keys():  # noqa: SIM118 - it is not a dict
                    part, _, name = key.partition("/")
                    parts[part][name] = file.get_tensor(key)
            config = ModelConfig.from_mapping(facts.pop("config"), str(path))
            return cls(config=config, trainer=parts["trainer"], average=parts["average"], **facts)
        except Exception as error:  # of the file format, of JSON, of keys, of values
            raise RunError(f"{path}: cannot be resumed from ({error})") from None
