"""Training steps in Keras, on any backend.

SGD and AdamW have PyTorch's conventions. Keras's own optimisers differ in three ways. The velocity
of SGD includes the learning rate, so that it keeps the rates of earlier steps. The weight decay of
SGD is not part of the momentum. Adam adds epsilon before the bias correction.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from keras.layers import BatchNormalization
from numpy.typing import NDArray

from mobilenetv2.editions import keras as edition
from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.keras.weights import POOLS, batch_norm_name, convolution_name
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
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


def check_device(device: str) -> None:
    """Raise MobileNetV2Error if the edition cannot use the device."""
    if device != "cpu":
        raise MobileNetV2Error(
            f"device {device}: Keras's backend chooses its device itself; leave device out"
        )


def make_trainer(
    config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str = "cpu"
) -> "KerasTrainer":
    """Return a trainer for a network and its weights, with the settings of a recipe."""
    trainer = KerasTrainer(config, recipe)
    trainer.load(arrays)
    return trainer


class SoftCrossEntropy(keras.losses.Loss):
    """Cross-entropy with soft targets; TensorFlow's own requires a sum of exactly 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, (batch,), from targets and logits (batch, classes)."""
        return -ops.sum(y_true * ops.log_softmax(y_pred, axis=-1), axis=-1)


class BinaryCrossEntropy(keras.losses.Loss):
    """Binary cross-entropy, summed over the logits; Keras's own takes the mean."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, (batch,), from targets and logits (batch, logits)."""
        return ops.sum(ops.softplus(y_pred) - y_true * y_pred, axis=-1)


def same_side(y_true: Any, y_pred: Any) -> Any:
    """Return True for each logit whose sign fits its target: (batch, 1) each -> (batch,)."""
    return ops.equal(y_true[:, 0] > 0.5, y_pred[:, 0] > 0)


class KerasTrainer(Trainer):
    """A trainer in Keras, without mixed precision; the backend chooses its device itself."""

    edition = edition

    def __init__(self, config: ModelConfig, recipe: Recipe, dtype: Dtype = "float32") -> None:
        self.recipe, self.dtype, self.computes = recipe, dtype, dtype
        spec = config.spec.replace(dropout=dropout_of(config.spec, recipe))
        trained = dataclasses.replace(config, spec=spec)
        # Recipes may train at another size than they evaluate at.
        self.network = edition.build(
            trained, seed=recipe.seed, dtype=dtype, input_shape=(None, None)
        )
        for layer in self.network.layers:
            if isinstance(layer, BatchNormalization):
                layer.momentum = min(layer.momentum, 1 - LEAST_UPDATE_RATE)
        freeze(self.network, config.spec, recipe.freezing.blocks)
        outputs = config.spec.classifier.outputs
        loss = {
            "softmax": SoftCrossEntropy, "sigmoid": BinaryCrossEntropy, "logit": BinaryCrossEntropy
        }[outputs]  # fmt: skip
        right = keras.metrics.CategoricalAccuracy(name="right")
        if outputs == "logit":
            right = keras.metrics.MeanMetricWrapper(same_side, name="right")
        self.network.compile(
            optimizer=make_optimizer(recipe),
            loss=loss(dtype=dtype),
            metrics=[right],
            # XLA's convolutions are slow on CPUs, but JAX requires XLA.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.network.optimizer.build(self.network.trainable_variables)
        pooled = self.network.get_layer(POOLS[self.network.config.spec.classifier.pooling]).output
        self.features = keras.Model(self.network.input, pooled)
        self.predictors = {
            outputs: edition.predictor(self.network, outputs=outputs)
            for outputs in ("logits", "features")
        }

    def step(
        self, pictures: NDArray, targets: NDArray, rate: float, whole: int | None = None
    ) -> tuple[float, int]:
        """Take one optimiser step; return (mean loss, number of correct answers) before it."""
        self.network.optimizer.learning_rate = rate
        self.network.reset_metrics()
        x, target = self._inputs(pictures), targets.astype(self.dtype)
        found = self.network.train_on_batch(x, target, return_dict=True)
        return float(found["loss"]), round(float(found["right"]) * len(targets))

    def _inputs(self, pictures: NDArray) -> NDArray:
        return normalise(pictures, self.network.config.preprocessing).astype(self.dtype)

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure the BatchNorm statistics again, on batches of step inputs."""
        norms = [layer for layer in self.network.layers if isinstance(layer, BatchNormalization)]
        before = [norm.momentum for norm in norms]
        try:
            for count, pictures in enumerate(batches, 1):
                for norm in norms:
                    norm.momentum = 1 - 1 / count  # the mean over the batches so far
                # Not compiled, so that the current momentum is used; only up to the features, so
                # that dropout draws no random numbers.
                self.features(self._inputs(pictures), training=True)
        finally:
            for norm, momentum in zip(norms, before, strict=True):
                norm.momentum = momentum

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """Return a function that runs the network in evaluation mode, with its current weights."""
        return self.predictors[outputs]

    def state(self) -> State:
        """Return the weights, the optimiser's state and the random state, for a checkpoint."""
        return {
            name: np.array(ops.convert_to_numpy(variable.value))
            for name, variable in self._saved().items()
        }

    def restore(self, state: State) -> None:
        """Restore a state from :meth:`state`."""
        require_same_state(self.state(), state)
        for name, variable in self._saved().items():
            variable.assign(state[name])

    def _saved(self) -> dict[str, Any]:
        variables = [*self.network.variables, *self.network.optimizer.variables]
        return {f"{index:04}": variable for index, variable in enumerate(variables)}


def freeze(network: keras.Model, spec: NetworkSpec, blocks: int) -> None:
    """Freeze the stem and a number of first blocks, with their BatchNorm statistics; 0 freezes
    nothing."""
    limit = trained_depth(blocks, spec)
    for layer in resolve(spec).convolutions:
        if depth(layer.name, spec) > limit:
            network.get_layer(convolution_name(layer.name)).trainable = False
            network.get_layer(batch_norm_name(layer.name)).trainable = False


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Return the recipe's optimiser."""
    options = recipe.optimizer
    if options.name == "adamw":
        return AdamW(options.weight_decay)
    return SGD(options.momentum, options.weight_decay)


class SGD(keras.optimizers.Optimizer):
    """SGD with Nesterov momentum and coupled weight decay, as in PyTorch.

    v = momentum v + g + decay w; w -= rate (g + decay w + momentum v).

    Args:
        momentum: factor of the velocity; 0 for none.
        decay: weight decay of weights with more than one axis.
    """

    def __init__(self, momentum: float, decay: float) -> None:
        super().__init__(learning_rate=0.0, name="sgd")
        self.momentum, self.decay = momentum, decay

    def build(self, variables: Any) -> None:
        """Create the velocities of the variables."""
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, name="velocity") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        if len(variable.shape) > 1:
            gradient = gradient + self.decay * variable
        if self.momentum:
            velocity = self.velocities[self._get_variable_index(variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            gradient = gradient + self.momentum * velocity
        self.assign_sub(variable, rate * gradient)


class AdamW(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay (arXiv 1711.05101), as in PyTorch.

    Args:
        decay: weight decay of weights with more than one axis.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(learning_rate=0.0, name="adamw")
        self.decay = decay

    def build(self, variables: Any) -> None:
        """Create the moments of the variables."""
        super().build(variables)
        self.first, self.second = (
            [self.add_variable_from_reference(variable, name=name) for variable in variables]
            for name in ("first", "second")
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        one, two = MOMENTUM_OF_ADAM
        self.assign(first, one * first + (1 - one) * gradient)
        self.assign(second, two * second + (1 - two) * gradient * gradient)
        # Not ops.cast: TensorFlow's converts a Python number to float32 first.
        first_correction, second_correction = (
            1 - ops.power(ops.convert_to_tensor(beta, variable.dtype), step) for beta in (one, two)
        )
        length = ops.sqrt(second / second_correction) + EPSILON_OF_ADAM
        direction = (first / first_correction) / length
        if len(variable.shape) > 1:
            direction = direction + self.decay * variable
        self.assign_sub(variable, rate * direction)
