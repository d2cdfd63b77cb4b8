"""Keras 3 edition, on TensorFlow, JAX or PyTorch.

Keras has one backend per process, which is chosen before its import. So nothing here imports Keras
before :func:`build` has chosen the backend.
"""

import importlib
from os import PathLike
from typing import TYPE_CHECKING, Any

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.keras_backend import Backend, choose
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    import keras

    from mobilenetv2.editions.keras.evaluation import evaluate as evaluate
    from mobilenetv2.editions.keras.network import features_only as features_only
    from mobilenetv2.editions.keras.network import forward_features as forward_features
    from mobilenetv2.editions.keras.network import intermediates as intermediates
    from mobilenetv2.editions.keras.network import predictor as predictor
    from mobilenetv2.editions.keras.network import reset_classifier as reset_classifier
    from mobilenetv2.editions.keras.top import config_of as config_of
    from mobilenetv2.editions.keras.weights import dump as dump
    from mobilenetv2.editions.keras.weights import load as load


def build(
    config: ModelConfig | NetworkSpec,
    initialisation: Initialisation = "torchvision",
    seed: int | None = None,
    dtype: Dtype = "float32",
    backend: Backend | None = None,
    **options: Any,
) -> "keras.Model":
    """Return a network with initial weights.

    Args:
        config: spec or config of the network.
        initialisation: scheme of the initial weights, 'torchvision' or 'paper'.
        seed: seed of the initial weights and of dropout; default: 0.
        dtype: data type of weights and computation.
        backend: 'tensorflow', 'jax' or 'torch'. Default: ``KERAS_BACKEND``, else Keras's
            configuration file, else the first backend that is installed.
        options: options of :func:`mobilenetv2.editions.keras.network.MobileNetV2`.

    Raises:
        MissingExtra: Keras or the backend is not installed.
        MobileNetV2Error: Keras already runs on another backend in this process.
    """
    choose(backend)
    from mobilenetv2.editions.keras.network import MobileNetV2

    return MobileNetV2(config, initialisation, seed, dtype, **options)


def read(
    path: str | PathLike[str],
    config: ModelConfig | NetworkSpec | None = None,
    backend: Backend | None = None,
) -> "keras.Model":
    """Read a ``.keras`` file that a network of this edition was saved to.

    It registers a layer that Keras alone lacks. ``mobilenetv2 weights import`` reads the ``.keras``
    files of other MobileNetV2 implementations.

    Args:
        path: file that ``network.save("network.keras")`` wrote.
        config: spec or config of the saved network, which a ``.keras`` file does not hold. Without
            it, the model predicts and trains, but cannot be saved as a model folder.
        backend: 'tensorflow', 'jax' or 'torch'; default: as in :func:`build`.

    Raises:
        WeightsError: the file is missing, is no Keras model, or is not the config's network.
    """
    choose(backend)
    from mobilenetv2.editions.keras.network import read

    return read(path, config)


HOMES = {
    "config_of": "top", "evaluate": "evaluation", "dump": "weights", "load": "weights",
    **dict.fromkeys(
        ("features_only", "forward_features", "intermediates", "predictor", "reset_classifier"),
        "network",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a function at its first use, when the backend of Keras has been chosen."""
    if name not in HOMES:
        raise AttributeError(f"module 'mobilenetv2.editions.keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mobilenetv2.editions.keras.{HOMES[name]}"), name)
