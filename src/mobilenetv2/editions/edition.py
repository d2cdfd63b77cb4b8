"""The functions that every edition offers, whatever its framework."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import MobileNetV2Error, SpecError, require
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig

EditionName = Literal["torch", "keras", "jax", "numpy"]
Dtype = Literal["float32", "float64"]
FRAMEWORKS = {"torch": ("torch",), "keras": ("keras",), "jax": ("jax", "flax"), "numpy": ()}
INVERTED_ONLY = ("keras", "jax")
"""Editions that call :func:`mobilenetv2.spec.blocks.require_inverted`."""


class Edition(Protocol):
    """The module ``mobilenetv2.editions.NAME``.

    A network is the framework's own object. It has its :class:`ModelConfig` in ``.config`` and its
    preprocessing in ``.transform``, an :class:`mobilenetv2.images.transform.Transform`.
    """

    def build(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: Dtype = "float32",
        **options: Any,
    ) -> Any:
        """A network with fresh weights, in training mode where the framework has modes.

        Args:
            config: a spec, or a model's whole config.
            initialisation: how the weights start, 'torchvision' (He, fan-out) or 'paper' (TF-slim's
                truncated normal).
            seed: of the weights: the same seed, the same weights in every edition. None is 0, but
                in PyTorch.
            dtype: of the weights and of what is computed.
            options: the edition's own.

        Raises:
            SpecError: another dtype, a negative seed, or a network that the edition does not have.
        """

    def load(self, network: Any, arrays: Arrays, where: str = "weights") -> None:
        """Copy canonical arrays into the network, in place; its dtype stays.

        Raises:
            WeightsError: the arrays are not exactly the network's, with the whole difference.
        """

    def dump(self, network: Any, dtype: Dtype = "float32") -> Arrays:
        """The network's weights as canonical arrays: copies."""

    def config_of(self, network: Any) -> ModelConfig:
        """Return what a network is and takes, with the classifier that it has now.

        Raises:
            SpecError: a user put a classifier on it that no spec can describe; the message says
                what cannot be described.
            MobileNetV2Error: the network has lost its config.
        """

    def reset_classifier(
        self, network: Any, classes: int | Iterable[str] | Labels, seed: int | None = None
    ) -> Any:
        """Return the network with a new, freshly initialised classifier; hidden layers stay.

        Args:
            network: it is changed in place and returned; but for Keras, where the result is a new
                model that shares the network's layers.
            classes: how many, or their names in the order of the outputs.
            seed: of the new weights; None is 0, but in PyTorch, where it is drawn.

        Raises:
            SpecError: no classes, or no names.
        """

    def features_only(self, network: Any, out_indices: Sequence[int] | None = None) -> Any:
        """Return the network as a backbone: a module of the framework that gives feature maps.

        The backbone shares the network's weights: training one trains the other. Its maps are those
        of timm's ``features_only=True``: the last one of each resolution, from the stem to the last
        block. The head convolution and the classifier are not computed.

        Args:
            network: the network.
            out_indices: maps that are returned, in this order, such as ``(2, 3, 4)``; negative
                numbers count from the end. None is all of them: ``(0, 1, 2, 3, 4)`` for the
                published networks.

        Returns:
            A module from pictures to a list of feature maps in the framework's layout, with the
            table of channels and strides as ``.feature_info``
            (:class:`mobilenetv2.editions.feature_info.FeatureInfo`).

        Raises:
            SpecError: an index is no number of a feature map.
        """

    def predictor(
        self,
        network: Any,
        device: str = "cpu",
        outputs: Literal["logits", "features"] = "logits",
    ) -> Callable[[NDArray], NDArray]:
        """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

        Raises:
            MobileNetV2Error: the framework cannot use the device here.
        """

    def intermediates(self, network: Any, x: NDArray) -> dict[str, NDArray]:
        """Every tensor of :func:`spec.names.intermediate_names`, in evaluation mode, in order.

        Args:
            x: float (batch, height, width, channels), normalised, of any size.

        Returns:
            Feature maps (batch, height, width, channels), ``features`` and ``logits`` (batch, n).
        """


def check_options(dtype: Any = "float32", seed: object = None) -> Dtype:
    """What every edition's ``build`` takes, checked in one place; the name of the dtype.

    Raises:
        SpecError: ``dtype`` is neither float32 nor float64, by name or as NumPy's, or ``seed`` is
            not a whole number from 0.
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
    """The edition of that name; its framework is imported.

    Raises:
        MobileNetV2Error: there is none.
        MissingExtra: its framework is not installed.
    """
    known = get_args(EditionName)
    if name not in known:
        raise MobileNetV2Error(f"edition {name!r} is unknown; {suggestion(name, known)}")
    for framework in FRAMEWORKS[name]:
        if framework != "keras":  # imported by the edition, once it has chosen a backend
            require(framework)
    return cast(Edition, importlib.import_module(f"mobilenetv2.editions.{name}"))
