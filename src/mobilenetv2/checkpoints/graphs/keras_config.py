"""A Keras model's own config (of a ``.keras`` file, or a whole model's ``.h5``), read as data.

It has what bare weights lack: strides, padding, BatchNorm's numbers, dropout, the input's size.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.inference import Shapes, infer
from mobilenetv2.checkpoints.graphs import keras_layers
from mobilenetv2.checkpoints.graphs.chain_arrays import in_order, require_fit
from mobilenetv2.checkpoints.graphs.keras_chain import Structure, follow
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics, Size, StageSpec


def of(found: Container, where: str) -> Structure | None:
    """What the model in a file is; None for bare weights.

    Raises:
        DialectError: its config is not that of a MobileNetV2.
    """
    config = found.metadata.get("config", found.metadata.get("model_config"))
    if not isinstance(config, Mapping):
        return None
    try:
        return layers(config)
    except DialectError as error:
        raise DialectError(f"{where}: {error}") from None


def layers(config: Mapping[str, Any]) -> Structure:
    """The layers of a functional or Sequential model, followed; nested models are opened.

    Raises:
        DialectError: not the config of a model, or a layer that a MobileNetV2 does not have.
    """
    return follow(keras_layers.read(config))


def spec(model: Structure, dialect: Dialect, shapes: Shapes, where: str,
         width: float | None = None) -> NetworkSpec:  # fmt: skip
    """The network: widths and classes off the tensors, all else off the model's config.

    Args:
        shapes: name -> shape of the prepared tensors, the classifier's among them.
        width: the width that was asked for, if any.

    Raises:
        DialectError: no network that is known, or another than was asked for.
    """
    base = dialect.bases[0]
    try:
        found, dropout = numerics(model, base.numerics)
        base = base.replace(numerics=found, dropout=dropout, size=model.size or base.size)
    except (DialectError, SpecError) as error:
        raise DialectError(f"{where}: {error}") from None
    network = infer(dialect, shapes, base, where, width)
    try:
        return with_strides(network, model)
    except DialectError as error:
        raise DialectError(f"{where}: {error}") from None


def numerics(model: Structure, default: Numerics) -> tuple[Numerics, float]:
    """(numerics, dropout) as the layers have them.

    Raises:
        DialectError: a layer whose settings this network cannot have.
    """
    steps = [*in_order(model.steps)]
    norms = {(norm.epsilon, norm.momentum or 0.0) for s in steps if (norm := s.batch_norm)}
    if not norms:
        raise DialectError("it has no BatchNorm layers; keras.applications.MobileNetV2 has")
    if len(norms) > 1:
        raise DialectError("its BatchNorm layers have different epsilons or momenta")
    [(epsilon, momentum)] = norms
    found = {step.activation for step in steps} - {""}
    activation: Literal["relu6", "relu"] = "relu" if found == {"relu"} else "relu6"
    if found != {activation}:
        words = ", ".join(sorted(found)) or "none"
        raise DialectError(f"its activations are not ReLU6 throughout ({words})")
    changed = dataclasses.replace(
        default,
        epsilon=epsilon, momentum=momentum, momentum_of="old",
        padding=_padding(model, epsilon == default.epsilon),
        activation=activation,
        running_variance="unbiased" if model.unbiased else "biased",
    )  # fmt: skip
    return changed, model.dropout


def _padding(model: Structure, usual: bool) -> Literal["same", "symmetric"]:
    rules = {step.padding for step in in_order(model.steps)} - {""}
    if {"same", "symmetric"} <= rules:
        raise DialectError(
            "its stride-2 convolutions are padded in different ways at this input size"
        )
    # Where the size makes both rules one, it is Keras's if Keras pads, or has its usual epsilon.
    if "same" in rules or (rules <= {"either"} and (model.same or usual or not rules)):
        return "same"
    return "symmetric"


def size(model: Structure) -> Size | None:
    """(height, width) of the input; None where it is open."""
    return model.size


def preprocessing(model: Structure) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) of pixels from 0 to 255, one for each channel, that the model itself applies.

    None: it applies none, and takes pictures that are normalised already.

    Raises:
        DialectError: a rescaling by nothing, or by less than nothing.
    """
    if model.rescaling is None:
        return None
    factors, offsets = model.rescaling
    if all(math.isfinite(factor) and factor > 1e-9 for factor in factors):
        std = tuple(1 / factor for factor in factors)
        # 0.0 - ...: never -0.0.
        mean = tuple(0.0 - offset * one for offset, one in zip(offsets, std, strict=True))
        if all(map(math.isfinite, mean)):
            return mean, std
    raise DialectError(f"its Rescaling is by {factors} and {offsets}, which no pictures need")


def with_strides(spec: NetworkSpec, model: Structure) -> NetworkSpec:
    """``spec`` with the strides that the layers have, held against every layer of the model.

    Raises:
        DialectError: strides that no stage table gives, or another network.
    """
    network = resolve(spec)
    strides = [step.stride for step in model.steps if step.depthwise]
    if len(strides) != len(network.blocks):
        raise DialectError(f"{len(strides)} blocks where the network has {len(network.blocks)}")
    stages: list[StageSpec] = []
    for block, stride in zip(network.blocks, strides, strict=True):
        if block.index == 0 or network.blocks[block.index - 1].stage != block.stage:
            stages.append(dataclasses.replace(spec.stages[block.stage], stride=stride))
        elif stride != 1:
            raise DialectError(f"block {block.index} has stride {stride} inside a stage")
    try:
        changed = spec.replace(stem_stride=model.steps[0].stride, stages=tuple(stages))
        require_fit(changed, model.steps)
    except SpecError as error:
        raise DialectError(str(error)) from None
    return changed
