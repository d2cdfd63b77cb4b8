"""A ``.keras`` file: keras.applications' own model with our weights, saved by Keras itself."""

import tempfile
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.dialects.keras import by_layer
from mobilenetv2.errors import require
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec


def build(spec: NetworkSpec, foreign: Arrays, **options: Any) -> Any:
    """``keras.applications.MobileNetV2`` of that width, size and classes, with these weights.

    Args:
        foreign: under the dialect's names, in its order.
        options: of ``keras.applications.MobileNetV2``.

    Raises:
        MissingExtra: Keras or its backend is not installed.
    """
    require("keras")
    import keras

    model = keras.applications.MobileNetV2(
        (*spec.size, spec.input_channels), alpha=spec.width, weights=None, classes=spec.classes,
        **options,
    )  # fmt: skip
    for layer, parts in by_layer(foreign).items():
        model.get_layer(layer).set_weights(list(parts.values()))
    return model


def write(spec: NetworkSpec, foreign: Arrays) -> bytes:
    """The bytes of the ``.keras`` file: probabilities come out, as is Keras's custom.

    Raises:
        MissingExtra: Keras or its backend is not installed.
    """
    model = build(spec, foreign)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()
