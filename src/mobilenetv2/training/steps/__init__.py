"""The interface of training steps, which PyTorch, Keras and JAX implement.

One loop trains all editions: ``steps/torch``, ``steps/keras`` and ``steps/jax`` each have a
:class:`Trainer` and the two functions of :class:`TrainerModule`.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import RecipeError, RunError, argument, require
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.inputs import PhotoViews, Views
from mobilenetv2.training.recipe import Recipe

TrainedEdition = Literal["torch", "keras", "jax"]
FRAMEWORKS = {"torch": ("torch",), "keras": ("keras",), "jax": ("jax", "flax", "optax")}
MOMENTUM_OF_ADAM = (0.9, 0.999)
EPSILON_OF_ADAM = 1e-8
LEAST_UPDATE_RATE = 0.1
"""Smallest share of a batch in the running statistics with ``freezing.batch_norm = 'adapt'``."""

State = dict[str, NDArray]


class Trainer(ABC):
    """A network in training. :meth:`state` has everything that a step changes.

    A step is the same in every framework:

    * The loss is the mean over the batch of the cross-entropy with soft targets. For 'sigmoid' and
      'logit' outputs it is the binary cross-entropy, summed over the logits, whose gradient has a
      similar norm.
    * The optimiser is SGD with Nesterov momentum and coupled weight decay, or AdamW, both with
      PyTorch's conventions. Weights with more than one axis decay; BatchNorm and biases do not.
    * Label smoothing, mixup, CutMix and distillation are part of the targets
      (:mod:`mobilenetv2.training.inputs`), so that editions do not implement them.
    """

    edition: Any
    """Module ``mobilenetv2.editions.NAME``."""
    network: Any
    """Network of the edition."""
    precision: str = "float32"
    """Precision of the computation: 'float32' or 'bfloat16'; weights are always float32."""
    computes: str
    """Precision and device, such as 'bfloat16 on cpu'."""

    def join(self, group: Group) -> None:
        """Compute a part of each batch from now on, as one process of a group.

        Raises:
            RecipeError: the edition trains in one process.
        """
        if group.size > 1:
            raise RecipeError(
                f"{group.size} processes train together only with "
                f"{argument('edition', 'torch')}; start one process, without torchrun"
            )

    def rows(self, count: int) -> NDArray:
        """Return the rows of a batch of ``count`` images that this process computes."""
        return np.arange(count)

    @abstractmethod
    def step(
        self, pictures: NDArray, targets: NDArray, rate: float, whole: int | None = None
    ) -> tuple[float, int]:
        """Take one optimiser step.

        Args:
            pictures: images of any size, uint8 (batch, height, width, channels), or the inputs
                from :meth:`views`.
            targets: targets from 0 to 1, float32 (batch, logits); for a softmax, each row has the
                sum 1.
            rate: learning rate of this step.
            whole: number of images of the batch, of which ``pictures`` are those of :meth:`rows`.
                Default: ``pictures`` are all.

        Returns:
            (mean loss of the whole batch, number of correct answers in it), both before the step.
            The correct class is the one with the largest target; for one logit, targets above 0.5
            are the second class.
        """

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """Return the inputs of steps for the photos; by default, the views of the photos.

        Args:
            photos: the views of the photos.
            cache: path of a file for cached inputs; the caller removes it.
        """
        return photos

    def thaw(self, epoch: float) -> None:  # noqa: B027 - most editions unfreeze nothing
        """Unfreeze layers (gradual unfreezing); ``epoch`` is the position in the run, in epochs."""

    @abstractmethod
    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure the BatchNorm statistics again, on batches of step inputs."""

    @abstractmethod
    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """Return a function that runs the network in evaluation mode, with its current weights."""

    def dump(self) -> Arrays:
        """Return the weights of the network as canonical arrays."""
        return cast(Arrays, self.edition.dump(self.network))

    def load(self, arrays: Arrays) -> None:
        """Replace the weights of the network; the optimiser is not changed."""
        self.edition.load(self.network, arrays)

    @abstractmethod
    def state(self) -> State:
        """Return the weights, the optimiser's state and the random state, for a checkpoint."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Restore a state from :meth:`state`."""


def require_same_state(expected: State, found: State) -> None:
    """Raise RunError unless a state has the names, shapes and types of the trainer's own.

    Frameworks would cast, broadcast or leave out what differs.
    """
    if lacking := sorted(expected.keys() ^ found.keys()):
        what = "lacks" if lacking[0] in expected else "has an unknown"
        raise RunError(f"its state {what} {lacking[0]!r}")
    for name, array in expected.items():
        own, other = (array.dtype, array.shape), (found[name].dtype, found[name].shape)
        if own != other:
            raise RunError(
                f"{name!r} of its state is {other[0]} of shape {list(other[1])}, "
                f"not {own[0]} of {list(own[1])}"
            )


def dropout_of(spec: NetworkSpec, recipe: Recipe) -> float:
    """Return the dropout probability before the classifier in training."""
    return spec.dropout if recipe.network.dropout is None else recipe.network.dropout


def shown_loss(loss: float, spec: NetworkSpec) -> float:
    """Return a step's loss in the scale of the metrics.

    Metrics have the mean of the binary cross-entropy over the logits, steps the sum.
    """
    return loss if spec.classifier.outputs == "softmax" else loss / spec.logits


class TrainerModule(Protocol):
    """The functions of a module ``mobilenetv2.training.steps.NAME``."""

    def check_device(self, device: str) -> None:
        """Raise MobileNetV2Error if the edition cannot use the device."""

    def make_trainer(
        self, config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str
    ) -> Trainer:
        """Return a trainer for a network and its weights, with the settings of a recipe."""


def find_steps(edition: str) -> TrainerModule:
    """Return the training steps of an edition, after importing its framework.

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
