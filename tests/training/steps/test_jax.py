"""What only JAX's trainer could get wrong: how often it compiles."""

import numpy as np
import pytest

pytest.importorskip("flax", reason="flax is not installed (extra: jax)")

from mobilenetv2.data.augment import targets
from mobilenetv2.editions.jax import network as edition
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps.jax import JaxTrainer, make_trainer

SPEC = NetworkSpec(
    width=0.1, size=(32, 32), classes=5, head_channels=24, stages=PAPER_STAGES[:2], dropout=0.3
)


@pytest.mark.slow
def test_step_and_predictor_are_compiled_once() -> None:
    """Through what the loop does after every epoch, and through a resumed run."""
    recipe = Recipe().changed(optimizer="adamw", precision="float32")
    trainer = make_trainer(ModelConfig.default(SPEC), random_arrays(SPEC), recipe, "cpu")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    before = compiled()

    def epoch(trainer: JaxTrainer) -> None:
        for _ in range(2):
            trainer.step(pictures, targets(np.arange(4), 5), 0.01)
        current = trainer.dump()
        trainer.load({name: array.copy() for name, array in current.items()})
        trainer.predictor()(pictures)
        trainer.load(current)

    epoch(trainer)
    epoch(trainer)
    trainer.restore(trainer.state())
    epoch(trainer)
    assert trainer._step._cache_size() == 1
    assert compiled() - before == 1


def compiled() -> int:
    """How many programs JAX holds for predictors."""
    return int(edition._run.jitted_fn._cache_size())
