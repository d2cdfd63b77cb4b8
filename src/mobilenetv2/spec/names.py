"""Canonical names and shapes of parameters: the paper's terms, PyTorch's layouts.

Every BatchNorm has four tensors: ``scale`` and ``shift`` (trained), ``mean`` and ``variance``
(running statistics). TensorFlow calls them gamma, beta, moving_mean and moving_variance.
"""

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

BATCH_NORM = ("scale", "shift", "mean", "variance")
STATISTICS = ("mean", "variance")

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(spec: NetworkSpec) -> Shapes:
    """Return the shape of every canonical tensor, in the order in which the layers run.

    Kernels of convolutions are (out, in / groups, kernel, kernel), weights of linear layers (out,
    in), biases and BatchNorm tensors (channels,).
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
    """Return True if a canonical tensor belongs to the classifier or its hidden layers."""
    return name.startswith(("hidden.", "classifier."))


def is_statistic(name: str) -> bool:
    """Return True if a canonical tensor is a running statistic, which is not trained."""
    return name.rpartition(".")[2] in STATISTICS


def intermediate_names(spec: NetworkSpec) -> tuple[str, ...]:
    """Return the names of all intermediate tensors of a forward pass, in order.

    There is one name for each convolution (after BatchNorm and activation), ``blocks.N`` (after the
    shortcut is added), ``features`` (pooled), ``hidden.N`` (after its activation) and ``logits``.
    """
    network = resolve(spec)
    names = [network.stem.name]
    for block in network.blocks:
        names += [convolution.name for convolution in block.convolutions]
        names.append(f"blocks.{block.index}")
    if network.head:
        names.append(network.head.name)
    return (*names, "features", *(linear.output for linear in network.linears))
