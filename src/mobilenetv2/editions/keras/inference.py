"""The Keras edition as a predictor, and all its intermediates."""

import os
import zipfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.keras.network import UnbiasedBatchNormalization
from mobilenetv2.editions.keras.weights import CLASSIFIER, POOLS, dump, intermediate_layers
from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.images.normalise import normalise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig


def predictor(
    network: keras.Model, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

    Raises:
        MobileNetV2Error: ``device`` is not 'cpu': Keras's backend chooses where it computes; or
            the network has no such output.
    """
    if device != "cpu":
        raise MobileNetV2Error(
            f"--device {device}: Keras's backend chooses its device by itself; leave --device out"
        )
    pool = POOLS[network.config.spec.classifier.pooling]
    end = _layer(network, CLASSIFIER if outputs == "logits" else pool)
    model = keras.Model(network.input, end.output)

    def predict(pictures: NDArray) -> NDArray:
        x = normalise(pictures, network.config.preprocessing).astype(end.dtype)
        return np.asarray(model.predict_on_batch(x), np.float32)

    return predict


def intermediates(network: keras.Model, x: NDArray) -> dict[str, NDArray]:
    """Every named intermediate in evaluation mode.

    Args:
        x: (batch, height, width, channels), normalised.

    Returns:
        Feature maps (batch, height, width, channels), ``features`` and ``logits`` (batch, n).

    Raises:
        MobileNetV2Error: the network has no logits.
    """
    found = intermediate_layers(network.config.spec) | {"logits": CLASSIFIER}
    dtype = _layer(network, CLASSIFIER).dtype
    ends = {name: _layer(network, layer).output for name, layer in found.items()}
    # Not predict_on_batch: it makes float32 of float64 on some backends.
    tensors = keras.Model(network.input, ends)(keras.ops.convert_to_tensor(x, dtype))
    return {name: np.asarray(keras.ops.convert_to_numpy(tensors[name])) for name in ends}


def _layer(network: keras.Model, name: str) -> keras.Layer:
    """The layer of that name, if what it gives is what the editions call by that name."""
    found = {layer.name: layer for layer in network.layers}.get(name)
    if found is None:
        what = "logits" if name == CLASSIFIER else "features"
        raise MobileNetV2Error(
            f"this Keras model has no {what}: it was made without its layer {name!r}; build it "
            "with include_top=True, or call the model itself"
        )
    if name == CLASSIFIER and found.activation is not keras.activations.linear:
        raise MobileNetV2Error(
            f"this Keras model gives {found.activation.__name__} instead of logits; build it "
            "without classifier_activation, or call the model itself"
        )
    return found


OWN = {"UnbiasedBatchNormalization": UnbiasedBatchNormalization}


def read(path: str | PathLike[str], config: ModelConfig | NetworkSpec | None = None) -> keras.Model:
    """See :func:`mobilenetv2.editions.keras.read`."""
    where = os.fspath(path)
    if not Path(where).is_file():
        raise WeightsError(f"{where}: no such file")
    try:
        network = keras.saving.load_model(where, custom_objects=OWN, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{where}: Keras cannot read it ({reason})") from None
    if config is not None:
        network.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        if not _fits(network):
            raise WeightsError(f"{where}: not the network of the config that was given")
    return network


def _fits(network: keras.Model) -> bool:
    """Whether the model's variables are those of its config, the classifier perhaps left out."""
    try:
        found = dump(network)
    except (KeyError, AttributeError):  # no such layer, or one without a bias
        return False
    shapes = parameter_shapes(network.config.spec)
    same = all(array.shape == shapes[name] for name, array in found.items())
    return same and len(found) == len(network.weights)
