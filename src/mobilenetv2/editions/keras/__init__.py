"""The Keras 3 edition, on TensorFlow, JAX or PyTorch.

Keras has one backend in a process, chosen before it is imported. So nothing here imports Keras
before :func:`build` knows which one is wanted.
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
    """Return a freshly initialised network.

    Args:
        backend: 'tensorflow', 'jax' or 'torch'; None takes ``KERAS_BACKEND``, Keras's own
            configuration, or what is installed, in this order.
        options: of :func:`mobilenetv2.editions.keras.network.MobileNetV2`.

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
    """A ``.keras`` file of this edition, in any process: Keras alone lacks one of its layers.

    Only of this edition: read a stranger's file with ``mobilenetv2 weights import``.

    Args:
        path: what ``network.save("network.keras")`` wrote.
        config: of the network that was saved, for its ``.config``: Keras keeps no such thing.
            Without it the model answers and trains, but cannot be saved as a model folder.
        backend: as in :func:`build`.

    Raises:
        WeightsError: no such file, no Keras model, or one that is not the config's network.
    """
    choose(backend)
    from mobilenetv2.editions.keras.network import read

    return read(path, config)


HOMES = {
    "config_of": "top", "dump": "weights", "load": "weights",
    **dict.fromkeys(
        ("features_only", "forward_features", "intermediates", "predictor", "reset_classifier"),
        "network",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what is done with a network once it is used: by then Keras runs on its backend."""
    if name not in HOMES:
        raise AttributeError(f"module 'mobilenetv2.editions.keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mobilenetv2.editions.keras.{HOMES[name]}"), name)
