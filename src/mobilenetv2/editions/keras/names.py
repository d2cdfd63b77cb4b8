"""Names of the Keras layers: those of keras.applications, or names in their style."""

from mobilenetv2.spec.blocks import Convolution, Linear, resolve
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import NetworkSpec

CLASSIFIER = "predictions"
POOLS = {"average": "global_average_pooling2d", "max": "global_max_pooling2d"}


def linear_name(name: str) -> str:
    """Return the Dense layer's name of a canonical linear layer: 'hidden.0' -> 'hidden_0'."""
    return CLASSIFIER if name == "classifier" else name.replace(".", "_")


def linear_output_name(layer: Linear) -> str:
    """Return the name of the layer that gives a linear layer's activated output."""
    return linear_name(layer.name) + (f"_{layer.activation}" if layer.activation else "")


def block_prefix(index: int) -> str:
    """Return the prefix of a block's layers: 'expanded_conv_' for the first, else 'block_N_'."""
    return f"block_{index}_" if index else "expanded_conv_"


def convolution_name(name: str) -> str:
    """Return the layer's name of a canonical convolution.

    >>> [convolution_name(n) for n in ("stem", "blocks.0.project", "blocks.3.expand", "head")]
    ['Conv1', 'expanded_conv_project', 'block_3_expand', 'Conv_1']
    """
    if name in ("stem", "head"):
        return {"stem": "Conv1", "head": "Conv_1"}[name]
    _, index, part = name.split(".")
    return block_prefix(int(index)) + part


def batch_norm_name(name: str) -> str:
    """Return the name of the BatchNorm behind a canonical convolution."""
    special = {"stem": "bn_Conv1", "head": "Conv_1_bn"}
    return special.get(name) or f"{convolution_name(name)}_BN"


def activation_name(name: str) -> str:
    """Return the name of the activation behind a canonical convolution."""
    return "out_relu" if name == "head" else f"{convolution_name(name)}_relu"


def output_name(layer: Convolution) -> str:
    """Return the name of the layer that gives a canonical convolution's intermediate tensor."""
    return batch_norm_name(layer.name) if layer.linear else activation_name(layer.name)


def intermediate_layers(spec: NetworkSpec) -> dict[str, str]:
    """Return the layers' names of the canonical intermediate tensors, without the logits.

    A block without a shortcut ends with its projection, so that two tensors have the same layer.
    """
    network = resolve(spec)
    sources = {layer.name: output_name(layer) for layer in network.convolutions}
    for block in network.blocks:
        end = f"{block_prefix(block.index)}add" if block.residual else output_name(block.project)
        sources[f"blocks.{block.index}"] = end
    sources["features"] = POOLS[spec.classifier.pooling]
    sources |= {linear.output: linear_output_name(linear) for linear in network.linears}
    return {name: sources[name] for name in intermediate_names(spec) if name != "logits"}
