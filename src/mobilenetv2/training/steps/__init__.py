"""A training step in PyTorch, Keras and JAX, behind one class.

One loop trains every edition: ``steps/torch``, ``steps/keras`` and ``steps/jax`` each have a
:class:`Trainer` and the two functions of :class:`TrainerModule`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.inputs import PhotoViews, Views
from mobilenetv2.training.recipe import Recipe

TrainedEdition = Literal["torch", "keras", "jax"]
FRAMEWORKS = {"torch": ("torch",), "keras": ("keras",), "jax": ("jax", "flax", "optax")}
MOMENTUM_OF_ADAM = (0.9, 0.999)
EPSILON_OF_ADAM = 1e-8
LEAST_UPDATE_RATE = 0.1
"""The share of a batch in the running statistics under ``freezing.batch_norm = 'adapt'``."""

State = dict[str, NDArray]


class Trainer(ABC):
    """A network in training. Everything that a step changes is in :meth:`state`.

    A step is the same in every framework: the mean over the batch of the cross-entropy with soft
    targets, or, where the outputs are 'sigmoid' or 'logit', of the binary cross-entropy summed over
    the logits, whose gradient is as long; SGD with Nesterov's momentum and coupled weight decay, or
    AdamW, both in PyTorch's conventions; weights with more than one axis decay, BatchNorm and
    biases do not. Label smoothing, mixup, CutMix and a teacher make the targets
    (:mod:`mobilenetv2.training.inputs`), so that no edition knows of them.
    """

    edition: Any
    """The module ``mobilenetv2.editions.NAME``."""
    network: Any
    """The edition's own."""
    precision: str = "float32"
    """Precision that a step computes in: 'float32' or 'bfloat16'; weights stay float32."""
    computes: str
    """The precision and the device, such as 'bfloat16 on cpu'."""

    @abstractmethod
    def step(self, pictures: NDArray, targets: NDArray, rate: float) -> tuple[float, int]:
        """Take one optimiser step.

        Args:
            pictures: uint8 (batch, height, width, channels), of any size; where :meth:`views` gives
                something else, that.
            targets: float32 (batch, logits), from 0 to 1; under a softmax each row's sum is 1.
            rate: the learning rate of this step.

        Returns:
            (the batch's mean loss, its right answers), both before the step. Right is the class
            with the largest target; of one logit, the side of 0 on which the target lies of a half.
        """

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """Return what its steps take for the photos: mostly the pictures themselves.

        Args:
            cache: a file that may hold what is computed once; whoever asked removes it.
        """
        return photos

    def thaw(self, epoch: float) -> None:  # noqa: B027 - most editions unfreeze nothing
        """Say how far the run is, in epochs: gradual unfreezing goes by it."""

    @abstractmethod
    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure BatchNorm's statistics anew on inputs of a step."""

    @abstractmethod
    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """Return the network in evaluation mode, as it is when the function is called."""

    def dump(self) -> Arrays:
        """Return the network's weights, canonical."""
        return cast(Arrays, self.edition.dump(self.network))

    def load(self, arrays: Arrays) -> None:
        """Replace the network's weights; the optimiser stays as it is."""
        self.edition.load(self.network, arrays)

    @abstractmethod
    def state(self) -> State:
        """Return weights, optimiser and random state, for a checkpoint."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave."""


def dropout_of(spec: NetworkSpec, recipe: Recipe) -> float:
    """Return the dropout before the classifier in training."""
    return spec.dropout if recipe.network.dropout is None else recipe.network.dropout


def shown_loss(loss: float, spec: NetworkSpec) -> float:
    """Return a step's loss as metrics have it: the mean of a binary cross-entropy over the logits,
    not their sum."""
    return loss if spec.classifier.outputs == "softmax" else loss / spec.logits


class TrainerModule(Protocol):
    """The module ``mobilenetv2.training.steps.NAME``."""

    def check_device(self, device: str) -> None:
        """Raise MobileNetV2Error where the edition cannot use the device."""

    def make_trainer(
        self, config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str
    ) -> Trainer:
        """Return a trainer of that network, with those weights, under that recipe."""


def find_steps(edition: str) -> TrainerModule:
    """Import an edition's framework and return its steps.

    Raises:
        MissingExtra: the framework is not installed.
    """
    for framework in FRAMEWORKS[edition]:
        if framework == "keras":
            from mobilenetv2.editions.keras_backend import choose

            choose()
        else:
            require(framework)
    return cast(TrainerModule, importlib.import_module(f"mobilenetv2.training.steps.{edition}"))
