"""Initial weights by name and seed, and a new classifier for an existing network.

* 'torchvision': convolutions normal with variance 2 / fan-out (He et al., arXiv 1502.01852), where
  a depthwise kernel's fan-out counts all channels, as in PyTorch; classifier normal with standard
  deviation 0.01.
* 'paper': the published TF-slim code: everything normal with standard deviation 0.09, truncated at
  two standard deviations.

In both, BatchNorm starts as the identity and biases at 0.
"""

import dataclasses
import zlib
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.names import Shapes, parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin
from mobilenetv2.text import counted

Initialisation = Literal["torchvision", "paper"]
SLIM_DEVIATION = 0.09
CLASSIFIER_DEVIATION = 0.01


def initialise(shapes: Shapes, how: Initialisation, seed: int) -> Arrays:
    """Return initial float32 values; each tensor depends on the seed and its own name only.

    Args:
        shapes: canonical names with shapes, all of a network's or some.
        seed: at least 0.

    Raises:
        SpecError: ``how`` is unknown.
    """
    if how not in get_args(Initialisation):
        known = ", ".join(get_args(Initialisation))
        raise SpecError(f"initialisation {how!r} is unknown; known are: {known}")
    return {name: _start(name, shape, how, seed) for name, shape in shapes.items()}


def _start(name: str, shape: tuple[int, ...], how: Initialisation, seed: int) -> NDArray:
    part = name.rpartition(".")[2]
    if part != "weight":
        return np.full(shape, 1 if part in ("scale", "variance") else 0, np.float32)
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if how == "paper":
        return _truncated_normal(shape, random) * np.float32(SLIM_DEVIATION)
    deviation = CLASSIFIER_DEVIATION
    if name.endswith(".conv.weight"):
        fan_out = shape[0] * shape[2] * shape[3]
        deviation = (2 / fan_out) ** 0.5
    elif name.startswith("hidden."):  # activated: He et al., arXiv 1502.01852, by the fan-in
        deviation = (2 / shape[1]) ** 0.5
    return random.standard_normal(shape, np.float32) * np.float32(deviation)


def _truncated_normal(shape: tuple[int, ...], random: np.random.Generator) -> NDArray:
    """Return normal values; values beyond 2 are drawn again."""
    values = random.standard_normal(shape, np.float32)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = random.standard_normal(int(beyond.sum()), np.float32)
    return values


def replace_classifier(
    config: ModelConfig,
    arrays: Arrays,
    labels: Labels | int,
    initialisation: Initialisation = "torchvision",
    seed: int = 0,
    classifier: ClassifierSpec | None = None,
) -> tuple[ModelConfig, Arrays]:
    """Return the same network with a freshly initialised classifier; the arguments do not change.

    Hidden layers keep their weights if their shapes stay the same.

    Args:
        labels: the new classes, or their number. A background class and the measured metrics are
            dropped.
        classifier: another head; None keeps the network's, but a single logit becomes a softmax if
            there are more than two classes.
    """
    changed = with_classes(config, labels, classifier)
    shapes = parameter_shapes(changed.spec)
    kept = {
        name: array
        for name, array in arrays.items()
        if array.shape == shapes.get(name) and not name.startswith("classifier.")
    }
    fresh = {name: shape for name, shape in shapes.items() if name not in kept}
    return changed, kept | initialise(fresh, initialisation, seed)


def with_classes(
    config: ModelConfig, labels: Labels | int, classifier: ClassifierSpec | None = None
) -> ModelConfig:
    """Return the config of the same network for other classes, without measured metrics.

    Args:
        config: the config before.
        labels, classifier: as :func:`replace_classifier` takes them.
    """
    labels = Labels.numbered(labels) if isinstance(labels, int) else labels
    head = classifier or config.spec.classifier
    if head.outputs == "logit" and len(labels) != 2 and classifier is None:
        head = dataclasses.replace(head, outputs="softmax")  # one logit tells no more than two
    spec = config.spec.replace(
        classes=len(labels), background=labels.background_place, classifier=head
    )
    return dataclasses.replace(
        config, spec=spec, labels=labels, metrics={}, origin=reclassified(config, len(labels))
    )


def reclassified(config: ModelConfig, classes: int) -> Origin | None:
    """Return the origin of a network whose classifier is its user's: trained, or to be trained.

    Args:
        config: the config before.
        classes: number of the new classes.
    """
    if config.origin is None:
        return None
    step = f"New classifier for {counted(classes, 'class')} on the other layers of {config.name}."
    return config.origin.followed_by(step)
