"""Specs of classifiers that a user assigned to a network, so that they can be saved.

An edition lists the layers behind the pooled features as parts, in the order in which they run.
:func:`describe_head` makes a spec of these parts, or raises an error that names the obstacle.
"""

import dataclasses
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from mobilenetv2.errors import SpecError
from mobilenetv2.model.initialisation import reclassified
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Outputs
from mobilenetv2.spec.records import Labels, ModelConfig

Layer = TypeVar("Layer")


@dataclass(frozen=True, slots=True)
class LinearPart(Generic[Layer]):
    """Linear layer of the framework."""

    inputs: int
    outputs: int
    bias: bool
    layer: Layer


@dataclass(frozen=True, slots=True)
class DropoutPart:
    """Dropout of the next layer's input."""

    probability: float


Activation = Literal["relu", "relu6"]


@dataclass(frozen=True, slots=True)
class ActivationPart:
    """Activation between two linear layers."""

    name: Activation


@dataclass(frozen=True, slots=True)
class OutputPart:
    """Softmax or sigmoid at the end of the classifier."""

    outputs: Outputs


@dataclass(frozen=True, slots=True)
class OtherPart:
    """Layer that a spec cannot describe."""

    name: str


Part = LinearPart[Layer] | DropoutPart | ActivationPart | OutputPart | OtherPart


@dataclass(frozen=True, slots=True)
class Head(Generic[Layer]):
    """Spec with the described classifier, and its linear layers in their order."""

    spec: NetworkSpec
    layers: tuple[Layer, ...]


def describe_head(parts: Iterable[Part[Layer]], spec: NetworkSpec) -> Head[Layer]:
    """Return the spec of a network with the classifier that consists of the given parts.

    Args:
        parts: layers behind the pooled features, in their order.
        spec: spec of the network, with its former classifier.

    Returns:
        The spec and the linear layers. A single output is the logit of a binary classifier.

    Raises:
        SpecError: no spec can describe the parts.
    """
    linears: list[LinearPart[Layer]] = []
    drops, activations, ending = [0.0], list[Literal["none", "relu", "relu6"]](), None
    for part in parts:
        if ending is not None:
            raise undescribed(f"a layer follows its {ending}")
        if isinstance(part, OtherPart):
            raise undescribed(f"it has a {part.name}")
        if isinstance(part, DropoutPart):  # two in a row equal one of this probability
            drops[-1] = 1 - (1 - drops[-1]) * (1 - part.probability)
        elif isinstance(part, OutputPart):
            ending = part.outputs
        elif isinstance(part, LinearPart):
            linears.append(part)
            drops.append(0.0)
            activations.append("none")
        elif not linears:
            raise undescribed(f"it begins with {part.name}")
        elif activations[-1] != "none" or (part.name == "relu6" and drops[-1]):
            raise undescribed(f"its {part.name} does not follow a linear layer directly")
        else:
            activations[-1] = part.name
    if not linears:
        raise undescribed("it has no linear layer")
    if activations[-1] != "none" or drops[-1]:
        raise undescribed("an activation or dropout follows its last linear layer")
    _check_widths(linears, spec)
    *hidden, last = linears
    classifier = ClassifierSpec(
        spec.classifier.pooling,
        tuple(
            HiddenSpec(layer.outputs, activation, layer.bias, round(drop, 12))
            for layer, activation, drop in zip(hidden, activations, drops[1:], strict=False)
        ),
        last.bias,
        _outputs(last.outputs, ending, spec.classifier.outputs),
    )
    made = spec.replace(
        classes=max(2, last.outputs), background=None, classifier=classifier,
        dropout=round(drops[0], 12),
    )  # fmt: skip
    return Head(made, tuple(layer.layer for layer in linears))


def _check_widths(linears: Sequence[LinearPart[Layer]], spec: NetworkSpec) -> None:
    width = resolve(spec).features
    for layer in linears:
        if layer.inputs != width:
            raise undescribed(f"a linear layer has {layer.inputs} inputs but gets {width} features")
        width = layer.outputs


def _outputs(count: int, ending: Outputs | None, before: Outputs) -> Outputs:
    if count == 1:
        if ending == "softmax":
            raise undescribed("a softmax of one output is always 1")
        return "logit"
    if ending is not None:
        return ending
    return "sigmoid" if before == "sigmoid" else "softmax"


def undescribed(reason: str) -> SpecError:
    """Return the error for a classifier that a model folder cannot hold."""
    return SpecError(
        f"this network's classifier cannot be saved: {reason}; use dropout, linear layers with "
        "ReLU or ReLU6 between them, and a linear layer at the end, or save the network with its "
        "framework's own function"
    )


def head_config(config: ModelConfig, spec: NetworkSpec, named: bool) -> ModelConfig:
    """Return the config of a network whose classifier was replaced.

    Args:
        config: config before the replacement.
        spec: spec after the replacement.
        named: True if the config's labels belong to the new classifier.
    """
    same = named and len(config.labels) == spec.classes
    background = config.spec.background if same else None
    labels = config.labels if same else Labels.numbered(spec.classes)
    spec = spec.replace(background=background)
    if same:  # also if only a dropout was changed
        return dataclasses.replace(config, spec=spec)
    origin = reclassified(config, spec.classes)
    return dataclasses.replace(config, spec=spec, labels=labels, metrics={}, origin=origin)


def dropouts(spec: NetworkSpec) -> list[float]:
    """Return the dropout of each linear layer's input: of the features, then of hidden layers."""
    return [spec.dropout, *(layer.dropout for layer in spec.classifier.hidden)]


FOLDED = (
    "the BatchNorm of this network is folded and has no statistics, so that the first training "
    "step would destroy its weights; import them again without rebase=False, or train with "
    "mobilenetv2.train, which measures the statistics first"
)
"""Warning before training a network with folded BatchNorm."""


def warn_folded() -> None:
    """Warn before training of folded BatchNorm, at the line outside this package that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("mobilenetv2."):
        frame, level = frame.f_back, level + 1
    warnings.warn(FOLDED, stacklevel=level)


def came_folded(config: ModelConfig) -> bool:
    """Return True if the network's BatchNorm is folded: an identity without statistics."""
    return config.origin is not None and config.origin.folded
