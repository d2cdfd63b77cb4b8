"""A new classifier for other classes on the weights of an old network."""

import dataclasses

from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation, initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec
from mobilenetv2.spec.records import Labels, ModelConfig


def replace_classifier(
    config: ModelConfig,
    arrays: Arrays,
    labels: Labels | int,
    initialisation: Initialisation = "torchvision",
    seed: int = 0,
    classifier: ClassifierSpec | None = None,
) -> tuple[ModelConfig, Arrays]:
    """Return the same network with a freshly initialised classifier; the arguments stay.

    Hidden layers keep their weights where their shapes stay.

    Args:
        labels: the new classes, or how many. A background class of the old ones is gone, and so
            are the measured metrics.
        classifier: another head; None keeps the network's, but that one logit becomes a softmax
            where there are more than two classes.
    """
    labels = Labels.numbered(labels) if isinstance(labels, int) else labels
    head = classifier or config.spec.classifier
    if head.outputs == "logit" and len(labels) != 2 and classifier is None:
        head = dataclasses.replace(head, outputs="softmax")  # one logit tells no more than two
    spec = config.spec.replace(classes=len(labels), background=None, classifier=head)
    shapes = parameter_shapes(spec)
    kept = {
        name: array
        for name, array in arrays.items()
        if array.shape == shapes.get(name) and not name.startswith("classifier.")
    }
    fresh = {name: shape for name, shape in shapes.items() if name not in kept}
    changed = dataclasses.replace(config, spec=spec, labels=labels, metrics={})
    return changed, kept | initialise(fresh, initialisation, seed)
