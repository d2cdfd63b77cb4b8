"""What the loop needs of a framework: a network that can take a step, answer, and be written down.

One loop trains every edition. ``train/torch``, ``train/keras`` and ``train/jax`` each have a
:class:`Trainer` and the two functions of :class:`TrainerModule`.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, cast

from numpy.typing import NDArray

from mobilenetv2.errors import RecipeError, require
from mobilenetv2.evaluate.predictions import Predictor
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.views import PhotoViews, Views

TrainedEdition = Literal["torch", "keras", "jax"]
FRAMEWORKS = {"torch": ("torch",), "keras": ("keras",), "jax": ("jax", "flax", "optax")}
MOMENTUM_OF_ADAM = (0.9, 0.999)
EPSILON_OF_ADAM = 1e-8
LEAST_UPDATE_RATE = 0.1
"""The share of a batch in the running statistics under ``batch_norm = 'adapt'``."""

State = dict[str, NDArray]


class Trainer(Protocol):
    """A network in training. Everything that a step changes is in :meth:`state`.

    A step is the same in every framework: cross-entropy with soft targets; SGD with Nesterov's
    momentum and coupled weight decay, or AdamW, both in PyTorch's conventions; weights with more
    than one axis decay, BatchNorm and biases do not. Label smoothing, mixup, CutMix and a teacher
    make the targets (:mod:`mobilenetv2.train.targets`), so that no edition knows of them.
    """

    @property
    def computes(self) -> str:
        """What a step computes with, such as 'bfloat16 on cpu'; weights stay float32."""

    def step(self, pictures: NDArray, targets: NDArray, rate: float) -> tuple[float, int]:
        """One optimiser step.

        Args:
            pictures: uint8 (batch, height, width, channels), of any size; where :meth:`views` gives
                something else, that.
            targets: float32 (batch, classes), each row's sum 1.
            rate: the learning rate of this step.

        Returns:
            (the batch's mean loss, its right answers), both before the step. Right is the class
            with the largest target.
        """

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """What its steps take for the photos: mostly the pictures themselves.

        Args:
            cache: a file that may hold what is computed once; whoever asked removes it.
        """

    def thaw(self, epoch: float) -> None:
        """Say how far the run is, in epochs: gradual unfreezing goes by it."""

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure BatchNorm's statistics anew on inputs of a step."""

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """The network in evaluation mode, as it is when the function is called."""

    def dump(self) -> Arrays:
        """The network's weights, canonical."""

    def load(self, arrays: Arrays) -> None:
        """Replace the network's weights; the optimiser stays as it is."""

    def state(self) -> State:
        """Weights, optimiser and random state, for a checkpoint."""

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave."""


class TrainerModule(Protocol):
    """The module ``mobilenetv2.train.NAME``."""

    def check(self, recipe: Recipe, device: str) -> None:
        """Raise where the edition cannot do what is asked.

        Raises:
            RecipeError: a key that it does not support.
            MobileNetV2Error: a device that is not there.
        """

    def make(self, config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str) -> Trainer:
        """A trainer of that network, with those weights, under that recipe."""


def find(edition: str) -> TrainerModule:
    """The trainer of an edition; its framework is imported.

    Raises:
        MissingExtra: the framework is not installed.
    """
    for framework in FRAMEWORKS[edition]:
        if framework == "keras":
            from mobilenetv2.editions.keras_backend import choose

            choose()
        else:
            require(framework)
    return cast(TrainerModule, importlib.import_module(f"mobilenetv2.train.{edition}"))


def refuse(recipe: Recipe, edition: str, **supported: tuple[object, ...]) -> None:
    """Raise for the first key whose value an edition does not support.

    Args:
        supported: key -> the values that it does.

    Raises:
        RecipeError: naming the key, the value and what to do.
    """
    for key, values in supported.items():
        value = getattr(recipe, key)
        if value not in values:
            raise RecipeError(
                f"{key} = {value!r} is not supported by the {edition} edition; use "
                f"--set {key}={values[0]} or --edition torch"
            )


TORCH_ONLY: dict[str, tuple[object, ...]] = {
    "trained": ("all", "head"), "optimizer": ("sgd", "adamw"), "gradient_clip": (0.0,),
    "accumulate": (1,), "layer_decay": (1.0,), "unfreeze_epochs": (0.0,), "replicas": (1,),
    "precision": ("float32", "auto"),
}  # fmt: skip
"""What the other editions support of the keys that PyTorch alone has in full."""
