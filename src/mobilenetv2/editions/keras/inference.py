"""The Keras edition as a predictor, and all its intermediates."""

from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.keras.names import CLASSIFIER, POOLED, intermediate_layers
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.normalise import normalise


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
    end = _layer(network, CLASSIFIER if outputs == "logits" else POOLED)
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
