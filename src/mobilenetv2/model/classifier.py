"""A new classifier for other classes on the weights of an old network."""

import dataclasses

from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.records import Labels, ModelConfig


def replace_classifier(
    config: ModelConfig,
    arrays: Arrays,
    labels: Labels | int,
    initialisation: Initialisation = "torchvision",
    seed: int = 0,
) -> tuple[ModelConfig, Arrays]:
    """The same network with a freshly initialised classifier; the arguments stay as they are.

    Args:
        labels: the new classes, or how many. A background class of the old ones is gone, and so
            are the measured metrics.
    """
    labels = Labels.numbered(labels) if isinstance(labels, int) else labels
    spec = config.spec.replace(classes=len(labels), background=None)
    shapes = {
        name: shape
        for name, shape in parameter_shapes(spec).items()
        if name.startswith("classifier.")
    }
    changed = dataclasses.replace(config, spec=spec, labels=labels, metrics={})
    return changed, arrays | initialise(shapes, initialisation, seed)
