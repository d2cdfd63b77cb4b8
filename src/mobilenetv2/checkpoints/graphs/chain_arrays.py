"""A chain of convolutions held against a spec, and its numbers as canonical arrays."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.graphs.chain import Step
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays, identity_batch_norm
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.network import NetworkSpec


def in_order(steps: Sequence[Step]) -> Iterator[Step]:
    """Every convolution in canonical order: a projection shortcut after its block's last."""
    for step in steps:
        yield step
        if step.projection is not None:
            yield step.projection


def require_fit(spec: NetworkSpec, steps: Sequence[Step]) -> None:
    """Raise unless the graph computes what ``spec`` says.

    Raises:
        DialectError: naming the first convolution that differs, and how.
    """
    network = resolve(spec)
    layers, found = [*network.convolutions], [*in_order(steps)]
    if len(layers) != len(found):
        raise DialectError(f"{len(found)} convolutions where the network has {len(layers)}")
    for layer, step in zip(layers, found, strict=True):
        expected, got = _facts(spec, layer, step)
        if expected != got:
            raise DialectError(f"{layer.name} is {got} where the network has {expected}")
    residual = {block.steps[-1].name for block in network.blocks if block.residual}
    for layer, step in zip(layers, found, strict=True):
        if (step.added is not None) != (layer.name in residual):
            raise DialectError("its shortcuts are not where the network has them")


def _facts(spec: NetworkSpec, layer: Convolution, step: Step) -> tuple[str, str]:
    """What the spec and the graph say of a convolution, in the same words."""
    numerics = spec.numerics
    rule = numerics.padding if step.padding in ("same", "symmetric") else step.padding
    activation = "" if layer.linear else numerics.activation
    epsilon = numerics.epsilon if step.batch_norm is None else step.batch_norm.epsilon
    depthwise = layer.role == "depthwise"
    return (
        _words(depthwise, layer.weight_shape, layer.stride, rule, activation, numerics.epsilon),
        _words(step.depthwise, step.weight.shape, step.stride, step.padding, step.activation,
               epsilon),
    )  # fmt: skip


def _words(depthwise: bool, shape: tuple[int, ...], stride: int, padding: str, activation: str,
           epsilon: float) -> str:  # fmt: skip
    kind = "depthwise" if depthwise else "convolution"
    return (
        f"{kind} {list(shape)} of stride {stride}, padding {padding or 'usual'}, "
        f"activation {activation or 'none'}, epsilon {epsilon:g}"
    )


def arrays_of(spec: NetworkSpec, steps: Sequence[Step], weight: NDArray, bias: NDArray) -> Arrays:
    """Canonical arrays. Where BatchNorm was folded, it is an identity that carries the bias.

    Args:
        weight: the classifier's, (classes, features).
        bias: (classes,).
    """
    arrays: Arrays = {}
    for layer, step in zip(resolve(spec).convolutions, in_order(steps), strict=True):
        channels = step.weight.shape[0]
        given = np.zeros(channels, np.float32) if step.bias is None else step.bias
        norm, name = step.batch_norm, layer.name
        arrays[f"{name}.conv.weight"] = step.weight
        if layer.bias:
            arrays[f"{name}.conv.bias"] = given if norm else 0 * given
        if norm is None:
            arrays |= identity_batch_norm(name, given, spec.numerics.epsilon)
            continue
        for part in BATCH_NORM:
            arrays[f"{name}.bn.{part}"] = getattr(norm, part)
    arrays["classifier.weight"], arrays["classifier.bias"] = weight, bias
    return arrays


def folded(steps: Sequence[Step]) -> bool:
    """Whether some BatchNorm is gone."""
    return any(step.batch_norm is None for step in in_order(steps))
