"""One optimiser step in PyTorch, Keras and JAX: the same loss, gradients, weights, statistics.

In float64, where the comparison means something: in float32 PyTorch's own two memory layouts give
gradients that differ in the third digit. Frameworks that are not installed are left out, by name.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from short import short

from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training import schedule
from mobilenetv2.training.inputs import Targets
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps import Trainer, find_steps

TOLERANCE = 1e-9
"""Of the norm of all differences, as a share of the norm of what is compared."""
Dtype = Literal["float32", "float64"]
SAME = Numerics("same", 1e-3, 0.99, "old", running_variance="biased")
TINY: Any = {"width": 0.1, "classes": 5, "head_channels": 24, "dropout": 0.0}
SMALL = short(published("small", width=0.1, classes=5, dropout=0.0))
SPECS = {
    "all blocks": NetworkSpec(size=(48, 33), **TINY),
    "symmetric, unbiased": short(NetworkSpec(size=(48, 33), **TINY)),
    "same, biased": short(NetworkSpec(size=(48, 33), numerics=SAME, **TINY)),
    "relu projections": short(NetworkSpec(size=(48, 33), projection="relu", **TINY)),
    "article-torch": short(published("article-torch", size=(48, 33), **TINY)),
    "small": SMALL,
}
HEADS: dict[str, ClassifierSpec] = {
    "hidden": ClassifierSpec(hidden=(HiddenSpec(12, bias=False), HiddenSpec(7, "relu6"))),
    "any of n": ClassifierSpec("max", (HiddenSpec(9, "none"),), outputs="sigmoid"),
    "any of n, mean": ClassifierSpec(hidden=(HiddenSpec(9, "none"),), outputs="sigmoid"),
    "one logit": ClassifierSpec(bias=False, outputs="logit"),
}
SPECS |= {
    name: SMALL.replace(
        classes=2 if name == "one logit" else 5, classifier=head, stages=SMALL.stages[:1]
    )
    for name, head in HEADS.items()
}
RECIPES = {
    "sgd": Recipe().changed(optimizer="sgd", momentum=0.9, weight_decay=0.01, precision="float32"),
    "plain sgd": Recipe().changed(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, precision="float32"
    ),
    "adamw": Recipe().changed(optimizer="adamw", weight_decay=0.05, precision="float32"),
    "frozen blocks": Recipe().changed(
        optimizer="adamw", weight_decay=0.05, precision="float32", frozen_blocks=3
    ),
}
needs = {
    "keras": pytest.mark.skipif(not find_spec("keras"), reason="keras is not installed"),
    "jax": pytest.mark.skipif(not find_spec("flax"), reason="flax is not installed"),
}
OTHERS = [pytest.param(name, marks=[mark, pytest.mark.slow]) for name, mark in needs.items()]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    if not find_spec("jax"):
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def make(edition: str, config: ModelConfig, arrays: Arrays, recipe: Recipe, dtype: Dtype) -> Any:
    """A trainer that computes in ``dtype``."""
    module: Any = find_steps(edition)
    if edition == "keras":
        trainer = module.KerasTrainer(config, recipe, dtype)
        trainer.load(arrays)
        return trainer
    from mobilenetv2.editions.edition import find as find_edition

    network = find_edition(edition).build(config, dtype=dtype)
    find_edition(edition).load(network, arrays)
    kind = module.TorchTrainer if edition == "torch" else module.JaxTrainer
    return kind(network, recipe)


def weights64(trainer: Any, edition: str) -> Arrays:
    """Canonical weights in the precision in which they are held."""
    from mobilenetv2.editions.edition import find as find_edition

    return find_edition(edition).dump(trainer.network, dtype="float64")


def batch(spec: NetworkSpec, count: int = 8) -> tuple[NDArray, NDArray]:
    random = np.random.default_rng(7)
    labels = np.arange(count) % spec.classes
    wanted = Targets(labels, spec.classes, Recipe(), outputs=spec.classifier.outputs)
    pictures = random.integers(0, 256, (count, *spec.size, 3), np.uint8)
    return wanted.make(pictures, np.arange(count), 0, 0)


def run(
    edition: str, spec: NetworkSpec, recipe: Recipe, dtype: Dtype, rates: tuple[float, ...]
) -> tuple[list[tuple[float, int]], Arrays]:
    config = ModelConfig.default(spec)
    trainer = make(edition, config, random_arrays(spec), recipe, dtype)
    pictures, wanted = batch(spec)
    found = [trainer.step(pictures, wanted, rate) for rate in rates]
    return found, weights64(trainer, edition)


def distance(found: Arrays, expected: Arrays, before: Arrays | None = None) -> float:
    """Norm of the difference of all tensors as a share of the norm of what they moved by."""
    assert found.keys() == expected.keys()
    wrong = sum(float(((found[n] - expected[n]) ** 2).sum()) for n in expected)
    moved = sum(float(((a - (before[n] if before else 0)) ** 2).sum()) for n, a in expected.items())
    return float(np.sqrt(wrong / moved))


def assert_same_steps(
    edition: str, found: list[tuple[float, int]], expected: list[tuple[float, int]]
) -> None:
    """Losses and right answers. Keras reports the loss through a float32 metric."""
    rel = 1e-6 if edition == "keras" else 1e-9
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in expected], rel=rel)
    assert [right for _, right in found] == [right for _, right in expected]


@pytest.mark.parametrize("edition", OTHERS)
@pytest.mark.parametrize("name", SPECS)
def test_one_plain_step_gives_the_gradients_of_pytorch(edition: str, name: str) -> None:
    """Plain SGD at rate 1 takes exactly the gradient off the weights, so both are compared."""
    spec, recipe = SPECS[name], RECIPES["plain sgd"]
    expected, reference = run("torch", spec, recipe, "float64", (1.0,))
    found, weights = run(edition, spec, recipe, "float64", (1.0,))
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float64)}
    assert_same_steps(edition, found, expected)
    before = {n: a.astype(np.float64) for n, a in random_arrays(spec).items()}
    trained = [n for n in before if not is_statistic(n)]
    statistics = [n for n in before if is_statistic(n)]
    for names in (trained, statistics):
        parts = [{n: arrays[n] for n in names} for arrays in (weights, reference, before)]
        assert distance(*parts) <= TOLERANCE


@pytest.mark.parametrize("edition", OTHERS)
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("sgd", "same, biased"), ("adamw", "same, biased"), ("frozen blocks", "same, biased"),
        # AdamW divides by a gradient's own size: behind a maximum, where some are nearly 0, the
        # last bit of the weights moves PyTorch's own three steps by 1e-9 to 2e-9 (behind the mean
        # by 4e-10; SGD's behind a maximum by 2e-11).
        *(("sgd" if HEADS[head].pooling == "max" else "adamw", head) for head in HEADS),
    ],
)  # fmt: skip
def test_steps_of_every_optimiser_are_those_of_pytorch(
    edition: str, name: str, network: str
) -> None:
    """Three steps at three rates: momentum, decay, and what a schedule does to both."""
    # Powers of two: Keras keeps its learning rate in float32.
    spec, rates = SPECS[network], (2**-7, 2**-6, 2**-9)
    expected, reference = run("torch", spec, RECIPES[name], "float64", rates)
    found, weights = run(edition, spec, RECIPES[name], "float64", rates)
    assert_same_steps(edition, found, expected)
    # The third step's gradients are taken at weights that have rounded twice.
    assert distance(weights, reference) <= TOLERANCE
    before = random_arrays(spec)
    still = {n for n in before if np.array_equal(weights[n], before[n])}
    limit = schedule.trained_depth(RECIPES[name].freezing.blocks, spec)
    frozen = {n for n in before if schedule.depth(n, spec) > limit}
    assert frozen <= still
    # No gradient reaches a BatchNorm all of whose channels are cut off; weights decay all the same.
    assert not {n for n in still - frozen if n.endswith("weight")}


@pytest.mark.parametrize("edition", OTHERS)
@pytest.mark.parametrize(
    ("name", "frozen_blocks"), [("symmetric, unbiased", 3), ("same, biased", 0), ("small", 0)]
)
def test_statistics_measured_anew_are_those_of_pytorch(
    edition: str, name: str, frozen_blocks: int
) -> None:
    """Of three batches, in a network that trains on as if nothing had been."""
    spec = SPECS[name]
    config = ModelConfig.default(spec)
    recipe = RECIPES["plain sgd"].changed(frozen_blocks=frozen_blocks)
    random, arrays = np.random.default_rng(5), random_arrays(spec)
    batches = [random.integers(0, 256, (6, *spec.size, 3), np.uint8) for _ in range(3)]
    trainers = {name: make(name, config, arrays, recipe, "float64") for name in ("torch", edition)}
    found: dict[str, Arrays] = {}
    for name, trainer in trainers.items():
        trainer.reestimate(iter(batches))
        found[name] = weights64(trainer, name)
    limit = schedule.trained_depth(frozen_blocks, spec)
    measured = {n for n in arrays if is_statistic(n) and schedule.depth(n, spec) <= limit}
    for name, weights in found.items():
        moved = {n for n in arrays if not np.array_equal(weights[n], arrays[n])}
        assert moved == measured, name
    assert distance(found[edition], found["torch"], arrays) <= TOLERANCE
    pictures, wanted = batch(spec)
    # A power of two: Keras keeps its learning rate in float32.
    steps = {name: [t.step(pictures, wanted, 2**-7)] for name, t in trainers.items()}
    assert_same_steps(edition, steps[edition], steps["torch"])
    after = {name: weights64(trainer, name) for name, trainer in trainers.items()}
    assert distance(after[edition], after["torch"], found["torch"]) <= TOLERANCE


@pytest.mark.parametrize("edition", OTHERS)
def test_measuring_anew_changes_nothing_else(edition: str) -> None:
    """Neither weights nor the optimiser, and dropout draws nothing."""
    spec = SPECS["small"].replace(dropout=0.5)
    trainer = make(edition, ModelConfig.default(spec), random_arrays(spec), Recipe(), "float32")
    before = trainer.state()
    trainer.reestimate([batch(spec)[0]])
    after = trainer.state()
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(changed) == sum(map(is_statistic, random_arrays(spec)))


@pytest.mark.parametrize("edition", OTHERS)
def test_an_interrupted_run_of_steps_goes_on_exactly(edition: str) -> None:
    spec, recipe = SPECS["small"].replace(dropout=0.3), RECIPES["adamw"]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    pictures, wanted = batch(spec)

    def fresh() -> Trainer:
        return find_steps(edition).make_trainer(config, arrays, recipe, "cpu")

    whole, first, second = fresh(), fresh(), fresh()
    expected = [whole.step(pictures, wanted, 0.01) for _ in range(4)]
    found = [first.step(pictures, wanted, 0.01) for _ in range(2)]
    second.restore({name: array.copy() for name, array in first.state().items()})
    found += [second.step(pictures, wanted, 0.01) for _ in range(2)]
    assert found == expected
    dumps = whole.dump(), second.dump()
    assert all(np.array_equal(dumps[0][name], dumps[1][name]) for name in dumps[0])


@needs["jax"]
@pytest.mark.slow
def test_frozen_statistics_stay_and_the_step_is_that_of_pytorch() -> None:
    spec, recipe = SPECS["same, biased"], RECIPES["sgd"].changed(batch_norm="frozen")
    expected, reference = run("torch", spec, recipe, "float64", (0.01,))
    found, weights = run("jax", spec, recipe, "float64", (0.01,))
    assert_same_steps("jax", found, expected)
    assert distance(weights, reference) <= TOLERANCE
    before = random_arrays(spec)
    assert all(np.array_equal(weights[n], before[n]) for n in before if is_statistic(n))
