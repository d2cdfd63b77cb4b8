"""One pass through a network of the Keras edition that leaves it as it is."""

import keras
import numpy as np

from mobilenetv2.editions.edition import COARSE, ROUNDING, Draw, Evaluated
from mobilenetv2.editions.heads import OutputPart
from mobilenetv2.editions.keras.top import list_parts, top_layers
from mobilenetv2.spec.network import Size


def evaluate(network: keras.Model, draw: Draw, size: Size) -> Evaluated:
    """Pass random images through the network as it is, in evaluation mode."""
    _, *sides, _ = network.inputs[0].shape
    height, width = (side or small for side, small in zip(sides, size, strict=True))
    images = draw((height, width))
    outputs = network(keras.ops.convert_to_tensor(images, network.inputs[0].dtype), training=False)
    types = {layer.compute_dtype for layer in network._flatten_layers()}
    on_cpu = "cpu" in str(getattr(outputs, "device", "cpu")).lower()
    endings = [p.outputs for p in list_parts(top_layers(network)) if isinstance(p, OutputPart)]
    return Evaluated(
        images,
        np.asarray(keras.ops.convert_to_numpy(outputs), np.float32),
        max(ROUNDING.get(name, COARSE) for name in types) if on_cpu else COARSE,
        endings[-1] if endings else None,
    )
