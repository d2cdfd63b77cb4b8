"""Which tensors a network has and which layers take them: what a scheme's ranges are of."""

from dataclasses import dataclass

from mobilenetv2.graph.onnx_writer import FEATURES, INPUT, OUTPUT
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

CLASSIFIER = "classifier"
SIX = 6.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a layer, an addition or the pooling gives to those after it."""

    name: str
    """'input', a layer's ('blocks.3.expand'), a sum's ('blocks.3'), 'features', 'logits'."""
    channels: int
    pixels: int
    """Height x width; 1 after the pooling."""
    low: float = float("-inf")
    """No value is below it: 0 after an activation."""
    high: float = float("inf")
    """No value is above it: 6 after ReLU6."""


def tensors(spec: NetworkSpec) -> dict[str, Tensor]:
    """By name, in the order in which they are computed."""
    network = resolve(spec)
    six = SIX if spec.numerics.activation == "relu6" else float("inf")
    found = [Tensor(INPUT, spec.input_channels, spec.size[0] * spec.size[1])]
    ends = {block.convolutions[-1].name: block for block in network.blocks if block.residual}
    for layer in network.convolutions:
        pixels = layer.out_size[0] * layer.out_size[1]
        bounds = () if layer.linear else (0.0, six)
        found.append(Tensor(layer.name, layer.out_channels, pixels, *bounds))
        if layer.name in ends:
            found.append(Tensor(f"blocks.{ends[layer.name].index}", layer.out_channels, pixels))
    classes, features = network.classifier_shape
    # A mean is within the bounds of what it is taken of.
    bounds = (found[-1].low, found[-1].high)
    found += [Tensor(FEATURES, features, 1, *bounds), Tensor(OUTPUT, classes, 1)]
    return {tensor.name: tensor for tensor in found}


def sources(spec: NetworkSpec) -> dict[str, str]:
    """Each layer (convolutions and 'classifier') -> the tensor that it takes."""
    network = resolve(spec)
    found = {network.stem.name: INPUT}
    last = network.stem.name
    for block in network.blocks:
        first = last
        for step in block.steps:
            found[step.name] = last
            last = step.name
        if block.shortcut:
            found[block.shortcut.name] = first
        if block.residual:
            last = f"blocks.{block.index}"
    if network.head:
        found[network.head.name] = last
    return found | {CLASSIFIER: FEATURES}
