"""Functions that every edition offers."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import MobileNetV2Error, SpecError, require
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec, Outputs, Size
from mobilenetv2.spec.records import Labels, ModelConfig

EditionName = Literal["torch", "keras", "jax", "numpy"]
Dtype = Literal["float32", "float64"]
FRAMEWORKS = {"torch": ("torch",), "keras": ("keras",), "jax": ("jax", "flax"), "numpy": ()}
INVERTED_ONLY = ("keras", "jax")
"""Editions that build inverted residuals only."""


Network: TypeAlias = Any
"""Model object of any framework."""
Draw: TypeAlias = Callable[[Size], NDArray[np.float32]]
"""Function that draws normalised images (batch, height, width, channels) of a size."""
ROUNDING = {"float32": 1e-3, "float64": 1e-3, "float16": 2e-2}
"""Largest rounding error of a network's outputs, relative to them, by the type on a CPU."""
COARSE = 0.2
"""Rounding error of any other type, and of accelerators, which may shorten float32."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Images that passed through a network in evaluation mode, and its outputs."""

    images: NDArray
    """Normalised, (batch, height, width, channels)."""
    outputs: NDArray
    tolerance: float = ROUNDING["float32"]
    """Rounding error, relative to the logits."""
    ending: Outputs | None = None
    """Function of the logits that the network itself computes."""

    @property
    def least(self) -> float:
        """Rounding error of outputs that are almost 0."""
        if self.ending is None and self.tolerance == ROUNDING["float32"]:
            return 0.0
        return self.tolerance


class Edition(Protocol):
    """Functions of a module ``mobilenetv2.editions.NAME``.

    A network is a model object of the framework. It has its :class:`ModelConfig` in ``.config``
    and its preprocessing in ``.transform``, a :class:`mobilenetv2.images.transform.Transform`.
    """

    def build(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: Dtype = "float32",
        **options: Any,
    ) -> Any:
        """Return a network with initial weights, in training mode if the framework has modes.

        Args:
            config: spec or config of the network.
            initialisation: scheme of the initial weights: 'torchvision' (He, fan-out) or 'paper'
                (TF-slim's truncated normal).
            seed: seed of the initial weights. A seed gives the same weights in every edition.
                Default: 0; in PyTorch, a random seed.
            dtype: data type of weights and computation.
            options: further options of the edition.

        Raises:
            SpecError: the dtype is unknown, the seed is negative, or the edition cannot build the
                network.
        """

    def load(self, network: Any, arrays: Arrays, where: str = "weights") -> None:
        """Copy canonical arrays into the network in place; its dtype stays.

        Raises:
            WeightsError: names or shapes of the arrays differ; the message lists every difference.
        """

    def dump(self, network: Any, dtype: Dtype = "float32") -> Arrays:
        """Return copies of the network's weights as canonical arrays."""

    def config_of(self, network: Any) -> ModelConfig:
        """Return the config of a network, with its present classifier.

        Raises:
            SpecError: no spec can describe the present classifier; the message says why.
            MobileNetV2Error: the network has lost its config.
        """

    def reset_classifier(
        self, network: Any, classes: int | Iterable[str] | Labels, seed: int | None = None
    ) -> Any:
        """Return the network with a new, freshly initialised classifier; hidden layers stay.

        Args:
            network: the network. It is changed in place and returned; in Keras, the result is a
                new model that shares the network's layers.
            classes: number of classes, or their names in the order of the outputs.
            seed: seed of the new weights. Default: 0; in PyTorch, a random seed.

        Raises:
            SpecError: there are no classes, or no names.
        """

    def features_only(self, network: Any, out_indices: Sequence[int] | None = None) -> Any:
        """Return a backbone: a module of the framework that gives feature maps.

        The backbone shares the network's weights: training one trains the other. Its maps are those
        of timm's ``features_only=True``: the last one of each resolution, from the stem to the last
        block. It does not compute the head convolution and the classifier.

        Args:
            network: the network.
            out_indices: indices of the maps to return, in this order, such as ``(2, 3, 4)``;
                negative indices count from the end. Default: all, which is ``(0, 1, 2, 3, 4)`` for
                the published networks.

        Returns:
            A module from images to a list of feature maps in the framework's layout. Its
            ``.feature_info`` is the table of channels and strides
            (:class:`mobilenetv2.editions.feature_info.FeatureInfo`).

        Raises:
            SpecError: the network has no feature map of an index.
        """

    def predictor(
        self,
        network: Any,
        device: str = "cpu",
        outputs: Literal["logits", "features"] = "logits",
    ) -> Callable[[NDArray], NDArray]:
        """Return a function from uint8 images (batch, height, width, channels) to float32 outputs.

        Raises:
            MobileNetV2Error: the framework cannot use the device on this machine.
        """

    def evaluate(self, network: Any, draw: Draw, size: Size) -> Evaluated:
        """Pass random images through the network as it is; its state does not change.

        Args:
            network: the network.
            draw: function that draws the images.
            size: height and width of the images, where the network allows every size.
        """

    def intermediates(self, network: Any, x: NDArray) -> dict[str, NDArray]:
        """Return the intermediate tensors in evaluation mode, in the order of computation.

        Args:
            x: normalised float images (batch, height, width, channels), of any size.

        Returns:
            Tensors by their names of :func:`spec.names.intermediate_names`: feature maps
            (batch, height, width, channels), ``features`` and ``logits`` (batch, n).
        """


def check_options(dtype: Any = "float32", seed: object = None) -> Dtype:
    """Check the options of an edition's ``build`` and return the name of the dtype.

    Raises:
        SpecError: ``dtype`` is neither float32 nor float64, as a name or a NumPy dtype, or
            ``seed`` is not a whole number from 0.
    """
    if seed is not None and not (isinstance(seed, int | np.integer) and seed >= 0):
        raise SpecError(f"seed {seed!r} must be a whole number, at least 0")
    try:
        name = "" if dtype is None else np.dtype(dtype).name  # NumPy takes None for float64
    except TypeError:
        name = ""
    if name not in get_args(Dtype):
        raise SpecError(f"dtype {dtype!r} must be 'float32' or 'float64'")
    return cast(Dtype, name)


def find(name: str) -> Edition:
    """Import an edition and its framework, and return it.

    Raises:
        MobileNetV2Error: the name is unknown.
        MissingExtra: its framework is not installed.
    """
    known = get_args(EditionName)
    if name not in known:
        raise MobileNetV2Error(f"edition {name!r} is unknown; {suggestion(name, known)}")
    for framework in FRAMEWORKS[name]:
        if framework != "keras":  # imported by the edition, once it has chosen a backend
            require(framework)
    return cast(Edition, importlib.import_module(f"mobilenetv2.editions.{name}"))
