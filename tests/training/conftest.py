"""What several of this room's tests share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.data.dataset import Split
from mobilenetv2.model import store
from mobilenetv2.model.arrays import identity_batch_norm
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Origin
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import find_steps


@pytest.fixture
def folded(model: Path, tmp_path: Path) -> Path:
    """The random model as LiteRT files come: BatchNorm an identity that carries the bias."""
    config, arrays = store.load(model)
    for name in {name.partition(".bn.")[0] for name in arrays if ".bn." in name}:
        bias = arrays[f"{name}.bn.shift"]
        arrays |= identity_batch_norm(name, bias, config.spec.numerics.epsilon)
    store.save(tmp_path / "folded", replace(config, origin=Origin("x", folded=True)), arrays)
    return tmp_path / "folded"


@pytest.fixture(scope="session")
def begun() -> Callable[..., Run]:
    """A run of fresh weights (seed 0) as it is before its first step, without a folder."""

    def make(
        folder: Path, photos: Split | Splits, recipe: Recipe, spec: NetworkSpec,
        edition: str = "torch", **known: Any,
    ) -> Run:  # fmt: skip
        from mobilenetv2.model.initialisation import initialise
        from mobilenetv2.spec.names import parameter_shapes

        splits = photos if isinstance(photos, Splits) else Splits(photos, photos, photos)
        config = ModelConfig.default(spec)
        arrays = initialise(parameter_shapes(spec), "torchvision", 0)
        trainer = find_steps(edition).make_trainer(config, arrays, recipe, "cpu")
        job = Job("photos/", folder, None, recipe)
        return Run(job, RunFolder(folder), recipe, config, splits, trainer, **known)

    return make
