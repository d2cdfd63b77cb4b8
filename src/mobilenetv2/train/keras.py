"""A training step in Keras, on whichever backend it runs."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras.layers import BatchNormalization
from numpy.typing import NDArray

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.keras import build, dump, load, predictor
from mobilenetv2.editions.keras.weights import POOLS, batch_norm_name, convolution_name
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.evaluate.predictions import Predictor
from mobilenetv2.images.normalise import normalise
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import depth
from mobilenetv2.train.keras_optimizers import SGD, AdamW
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.trainer import (
    EPSILON_OF_ADAM,
    LEAST_UPDATE_RATE,
    MOMENTUM_OF_ADAM,
    TORCH_ONLY,
    State,
    refuse,
)
from mobilenetv2.train.views import PhotoViews, Views


def check(recipe: Recipe, device: str) -> None:
    """See :class:`mobilenetv2.train.trainer.TrainerModule`.

    There is no mixed precision. A Keras layer with frozen statistics has frozen scales, too.
    """
    refuse(recipe, "keras", batch_norm=("adapt",), **TORCH_ONLY)
    if device != "cpu":
        raise MobileNetV2Error(
            f"--device {device}: Keras's backend chooses its device by itself; leave --device out"
        )


def make(config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str) -> "KerasTrainer":
    """See :class:`mobilenetv2.train.trainer.TrainerModule`."""
    trainer = KerasTrainer(config, recipe)
    trainer.load(arrays)
    return trainer


class SoftCrossEntropy(keras.losses.Loss):
    """With soft targets; TensorFlow's own takes for granted that they add up to 1 exactly."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch, classes) each -> (batch,)."""
        return -keras.ops.sum(y_true * keras.ops.log_softmax(y_pred, axis=-1), axis=-1)


class KerasTrainer:
    """See :class:`mobilenetv2.train.trainer.Trainer`."""

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        dtype: Dtype = "float32",
    ) -> None:
        self.recipe, self.dtype = recipe, dtype
        dropout = config.spec.dropout if recipe.dropout is None else recipe.dropout
        trained = dataclasses.replace(config, spec=config.spec.replace(dropout=dropout))
        # Recipes may train at another size than they evaluate at.
        self.network = build(trained, seed=recipe.seed, dtype=dtype, input_shape=(None, None))
        for layer in self.network.layers:
            if isinstance(layer, BatchNormalization):
                layer.momentum = min(layer.momentum, 1 - LEAST_UPDATE_RATE)
        freeze(self.network, config.spec, recipe.frozen_blocks)
        self.network.compile(
            optimizer=make_optimizer(recipe),
            loss=SoftCrossEntropy(dtype=dtype),
            metrics=[keras.metrics.CategoricalAccuracy(name="right")],
            # XLA's convolutions are slow on CPUs, and on JAX there is no way without.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.network.optimizer.build(self.network.trainable_variables)
        pooled = self.network.get_layer(POOLS[self.network.config.spec.classifier.pooling]).output
        self.features = keras.Model(self.network.input, pooled)
        self.predictors = {
            outputs: predictor(self.network, outputs=outputs) for outputs in ("logits", "features")
        }

    @property
    def computes(self) -> str:
        """See the protocol; the device is the backend's own choice."""
        return self.dtype

    def step(self, pictures: NDArray, targets: NDArray, rate: float) -> tuple[float, int]:
        """See the protocol."""
        self.network.optimizer.learning_rate = rate
        self.network.reset_metrics()
        x, target = self._inputs(pictures), targets.astype(self.dtype)
        found = self.network.train_on_batch(x, target, return_dict=True)
        return float(found["loss"]), round(float(found["right"]) * len(targets))

    def _inputs(self, pictures: NDArray) -> NDArray:
        return normalise(pictures, self.network.config.preprocessing).astype(self.dtype)

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """See the protocol."""
        return photos

    def thaw(self, epoch: float) -> None:
        """See the protocol; ``check`` refuses recipes that unfreeze."""

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """See the protocol."""
        norms = [layer for layer in self.network.layers if isinstance(layer, BatchNormalization)]
        before = [norm.momentum for norm in norms]
        try:
            for count, pictures in enumerate(batches, 1):
                for norm in norms:
                    norm.momentum = 1 - 1 / count  # the mean so far; the first replaces all
                # Not compiled, so that the momentum is that of now; up to the features, so that
                # dropout draws nothing.
                self.features(self._inputs(pictures), training=True)
        finally:
            for norm, momentum in zip(norms, before, strict=True):
                norm.momentum = momentum

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """See the protocol."""
        return self.predictors[outputs]

    def dump(self) -> Arrays:
        """See the protocol."""
        return dump(self.network)

    def load(self, arrays: Arrays) -> None:
        """See the protocol."""
        load(self.network, arrays)

    def state(self) -> State:
        """See the protocol."""
        variables = [*self.network.variables, *self.network.optimizer.variables]
        return {
            f"{index:04}": np.array(keras.ops.convert_to_numpy(variable.value))
            for index, variable in enumerate(variables)
        }

    def restore(self, state: State) -> None:
        """See the protocol."""
        variables = [*self.network.variables, *self.network.optimizer.variables]
        for index, variable in enumerate(variables):
            variable.assign(state[f"{index:04}"])


def freeze(network: keras.Model, spec: NetworkSpec, blocks: int) -> None:
    """Keep the stem and so many blocks as they are, their statistics too."""
    limit = depth.trained(blocks, spec)
    for layer in resolve(spec).convolutions:
        if depth.depth(layer.name, spec) > limit:
            network.get_layer(convolution_name(layer.name)).trainable = False
            network.get_layer(batch_norm_name(layer.name)).trainable = False


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """In PyTorch's conventions, which Keras's own do not follow."""
    if recipe.optimizer == "adamw":
        return AdamW(MOMENTUM_OF_ADAM, EPSILON_OF_ADAM, recipe.weight_decay)
    return SGD(recipe.momentum, recipe.weight_decay)
