"""Training steps in JAX."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from mobilenetv2.editions import jax as edition
from mobilenetv2.editions.jax.network import BatchNorm, MobileNetV2, check_device
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import depth, trained_depth
from mobilenetv2.training.steps import (
    EPSILON_OF_ADAM,
    LEAST_UPDATE_RATE,
    MOMENTUM_OF_ADAM,
    State,
    Trainer,
    dropout_of,
    require_same_state,
)

__all__ = ["check_device", "make_trainer"]


def make_trainer(
    config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str = "cpu"
) -> "JaxTrainer":
    """Return a trainer for a network and its weights, with the settings of a recipe."""
    network = MobileNetV2(config, seed=recipe.seed)
    edition.load(network, arrays)
    return JaxTrainer(network, recipe, device)


class JaxTrainer(Trainer):
    """A trainer in JAX, without mixed precision."""

    edition = edition

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.network, self.recipe, self.device = network, recipe, device
        self.computes = f"float32 on {device}"
        network.dropout.rate = dropout_of(network.spec, recipe)
        network.train()
        spec = network.spec
        limit = trained_depth(recipe.freezing.blocks, spec)

        def learns(path: tuple[Any, ...], _: Any) -> bool:
            return depth(".".join(map(str, path)), spec) <= limit

        for path, module in nnx.iter_modules(network):
            if isinstance(module, BatchNorm):
                module.update_rate = max(module.update_rate, LEAST_UPDATE_RATE)
                frozen = recipe.freezing.batch_norm == "frozen" or not learns(path, module)
                module.use_running_average = frozen
        self.trained = nnx.All(nnx.Param, learns)
        self.where = check_device(device)
        self._commit()
        self.optimizer = make_optimizer(recipe)
        # The graph is in training mode, even if the network's mode changes later.
        graph, parameters, _ = nnx.split(network, self.trained, ...)
        self.moments = jax.device_put(self.optimizer.init(parameters), self.where)
        self._step = jax.jit(self._make_step(graph))
        self._measure = jax.jit(_make_measure(network, learns))

    def _make_step(self, graph: Any) -> Any:
        optimizer, trained = self.optimizer, self.trained
        outputs = self.network.spec.classifier.outputs

        def step(parameters: Any, rest: Any, moments: Any, x: Any, target: Any, rate: Any) -> Any:
            def loss_of(parameters: Any) -> Any:
                network = nnx.merge(graph, parameters, rest, copy=True)
                logits = network(x)
                _, _, moved = nnx.split(network, trained, ...)
                if outputs == "softmax":
                    losses = optax.softmax_cross_entropy(logits, target)
                elif outputs == "sigmoid" or outputs == "logit":
                    losses = optax.sigmoid_binary_cross_entropy(logits, target).sum(1)
                else:
                    assert_never(outputs)
                return losses.mean(), (logits, moved)

            (loss, (logits, moved)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                parameters
            )
            directions, moments = optimizer.update(gradients, moments, parameters)
            parameters = jax.tree.map(lambda p, d: p - rate * d, parameters, directions)
            if outputs == "logit":
                right = (logits[:, 0] > 0) == (target[:, 0] > 0.5)
            else:
                right = logits.argmax(1) == target.argmax(1)
            return parameters, moved, moments, loss, right.sum()

        return step

    def step(
        self, pictures: NDArray, targets: NDArray, rate: float, whole: int | None = None
    ) -> tuple[float, int]:
        """Take one optimiser step; return (mean loss, number of correct answers) before it."""
        _, parameters, rest = nnx.split(self.network, self.trained, ...)
        x, target = self._inputs(pictures), targets.astype(self.network.dtype)
        parameters, rest, self.moments, loss, right = self._step(
            parameters, rest, self.moments, x, jax.device_put(target, self.where),
            jnp.asarray(rate, self.network.dtype),
        )  # fmt: skip
        nnx.update(self.network, parameters, rest)
        return float(loss), int(right)

    def _inputs(self, pictures: NDArray) -> jax.Array:
        x = normalise(pictures, self.network.config.preprocessing).astype(self.network.dtype)
        return jax.device_put(x, self.where)

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure the BatchNorm statistics again, on batches of step inputs."""
        _, state = nnx.split(self.network)
        means: Any = None  # starts with those of the first batch
        for count, pictures in enumerate(batches, 1):
            found = self._measure(state, self._inputs(pictures))
            means = found if count == 1 else jax.tree.map(partial(_joined, 1 / count), means, found)
        nnx.update(self.network, means)

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """Return a function that runs the network in evaluation mode, with its current weights."""
        return edition.predictor(self.network, self.device, outputs)

    def load(self, arrays: Arrays) -> None:
        """Replace the weights of the network; the optimiser is not changed."""
        super().load(arrays)
        self._commit()

    def state(self) -> State:
        """Return the weights, the optimiser's state and the random state, for a checkpoint."""
        leaves = jax.tree.leaves((self._saved(), self.moments))
        return {f"{index:04}": np.array(leaf) for index, leaf in enumerate(leaves)}

    def restore(self, state: State) -> None:
        """Restore a state from :meth:`state`."""
        require_same_state(self.state(), state)
        leaves, structure = jax.tree.flatten((self._saved(), self.moments))
        arrays = [
            jnp.asarray(state[f"{index:04}"], leaf.dtype) for index, leaf in enumerate(leaves)
        ]
        saved, moments = jax.tree.unflatten(structure, arrays)
        self.moments = jax.device_put(moments, self.where)
        nnx.update(self.network, saved)
        self._commit()

    def _commit(self) -> None:
        """Commit the network's arrays to their device; otherwise the step is compiled again."""
        nnx.update(self.network, jax.device_put(nnx.state(self.network), self.where))

    def _saved(self) -> Any:
        """Return the network's state to save; of dropout only the count, since the recipe's seed
        gives the key."""
        return nnx.state(self.network, nnx.Any(nnx.Param, nnx.BatchStat, nnx.RngCount))


def _make_measure(
    network: MobileNetV2, learns: Callable[[tuple[Any, ...], Any], bool]
) -> Callable[[Any, Any], Any]:
    """Return a function (state, batch) -> BatchNorm statistics of that batch alone.

    The statistics of layers for which ``learns`` is False do not change.
    """
    measuring = nnx.clone(network)
    measuring.eval()
    for path, module in nnx.iter_modules(measuring):
        if isinstance(module, BatchNorm) and learns(path, module):
            module.use_running_average, module.update_rate = False, 1.0
    graph, _ = nnx.split(measuring)

    def measure(state: Any, x: Any) -> Any:
        network = nnx.merge(graph, state, copy=True)
        network(x)
        return nnx.state(network, nnx.BatchStat)

    return measure


def _joined(share: float, mean: jax.Array, new: jax.Array) -> jax.Array:
    """Return the mean with a share of a new value; a constant value stays exact."""
    return mean + (new - mean) * share


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Return the recipe's optimiser; the caller multiplies its updates by the learning rate."""
    options = recipe.optimizer
    decay = optax.add_decayed_weights(
        options.weight_decay, lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree)
    )
    if options.name == "adamw":
        return optax.chain(optax.scale_by_adam(*MOMENTUM_OF_ADAM, eps=EPSILON_OF_ADAM), decay)
    if not options.momentum:
        return decay
    return optax.chain(decay, optax.trace(options.momentum, nesterov=True))
