"""Canonical parameter names and shapes: the paper's words, PyTorch's layouts.

Every BatchNorm is four tensors, ``scale`` and ``shift`` (trained), ``mean`` and ``variance``
(running statistics); TensorFlow calls them gamma, beta, moving_mean and moving_variance.
"""

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

BATCH_NORM = ("scale", "shift", "mean", "variance")
STATISTICS = ("mean", "variance")

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(spec: NetworkSpec) -> Shapes:
    """Every canonical tensor of the network in the order in which it runs, with its shape.

    Convolutions are (out, in / groups, kernel, kernel), linear layers (out, in), biases and
    BatchNorm tensors (channels,).
    """
    network = resolve(spec)
    shapes: Shapes = {}
    for convolution in network.convolutions:
        shapes[f"{convolution.name}.conv.weight"] = convolution.weight_shape
        if convolution.bias:
            shapes[f"{convolution.name}.conv.bias"] = (convolution.out_channels,)
        for part in BATCH_NORM:
            shapes[f"{convolution.name}.bn.{part}"] = (convolution.out_channels,)
    for linear in network.linears:
        shapes[f"{linear.name}.weight"] = linear.weight_shape
        if linear.bias:
            shapes[f"{linear.name}.bias"] = (linear.out_features,)
    return shapes


def is_classifier(name: str) -> bool:
    """Return True for a canonical tensor of the classifier, its hidden layers included."""
    return name.startswith(("hidden.", "classifier."))


def is_statistic(name: str) -> bool:
    """Whether a canonical tensor is a BatchNorm running statistic, which is not trained."""
    return name.rpartition(".")[2] in STATISTICS


def intermediate_names(spec: NetworkSpec) -> tuple[str, ...]:
    """Every named intermediate of a forward pass, in order.

    One for each convolution (after BatchNorm and activation), ``blocks.N`` after the shortcut
    was added, ``features`` (pooled), ``hidden.N`` after its activation and ``logits``.
    """
    network = resolve(spec)
    names = [network.stem.name]
    for block in network.blocks:
        names += [convolution.name for convolution in block.convolutions]
        names.append(f"blocks.{block.index}")
    if network.head:
        names.append(network.head.name)
    return (*names, "features", *(linear.output for linear in network.linears))
