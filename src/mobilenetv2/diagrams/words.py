"""Words for the parts of a network, which a diagram and its description share.

No line ends inside a size or a kernel, since they have no-break spaces.
"""

from mobilenetv2.model.card import kind
from mobilenetv2.spec.blocks import Block, Convolution
from mobilenetv2.spec.network import NetworkSpec, Size

TIMES = "\u00a0\u00d7\u00a0"
"""Multiplication sign with no-break spaces."""
ACTIVATIONS: dict[str | None, str] = {"relu6": "ReLU6", "relu": "ReLU", None: "linear"}
"""Activation of a layer -> its name."""
KINDS = {"inverted": "inverted residual"}
"""Name of a kind of block in a sentence, if it is not the kind's own."""


def network_words(spec: NetworkSpec) -> str:
    """Return a network in words: 'MobileNetV2, width 1, 224 x 224 pixels'."""
    name = kind(spec)
    return f"{name[:1].upper()}{name[1:]}, width {spec.width:g}, {dimensions(spec.size)} pixels"


def dimensions(size: Size) -> str:
    """Return the height and width of a map as '56 x 56'."""
    return f"{size[0]}{TIMES}{size[1]}"


def map_words(size: Size, channels: int) -> str:
    """Return the size and the channels of a map as '56 x 56, 24 channels'."""
    return f"{dimensions(size)}, {channels_words(channels)}"


def channels_words(channels: int) -> str:
    """Return a number of channels as '24 channels'."""
    return f"{channels:,} channel{'s' * (channels != 1)}"


def step_title(step: Convolution) -> str:
    """Return the role and the kernel of a convolution as 'Expand: 1 x 1'."""
    return f"{step.role.capitalize()}: {dimensions((step.kernel, step.kernel))}"


def after_words(step: Convolution) -> str:
    """Return the stride of a 3x3 convolution and what follows, as 'stride 2, BatchNorm, ReLU6'."""
    stride = f"stride {step.stride}, " if step.kernel > 1 or step.stride > 1 else ""
    bias = "bias, " if step.bias else ""
    return f"{stride}{bias}BatchNorm, {ACTIVATIONS[step.activation]}"


def sum_activation(block: Block, spec: NetworkSpec) -> str | None:
    """Return the activation after a block's addition, or after its last step without one.

    Only ResNet's bottlenecks have it.
    """
    return ACTIVATIONS[spec.numerics.activation] if block.kind == "bottleneck" else None


def shortcut_words(block: Block) -> str:
    """Return what a block adds to its output, in words."""
    if block.shortcut:
        kernel = dimensions((block.shortcut.kernel, block.shortcut.kernel))
        return f"of the input, projected: {kernel}, {after_words(block.shortcut)}"
    return "of the input as it is"


def no_shortcut_words(block: Block, spec: NetworkSpec) -> str:
    """Return why a block has no shortcut."""
    if block.kind == "separable":
        return "No shortcut: separable blocks have none."
    if spec.shortcut == "none":
        return "No shortcut: this network has none."
    if block.stride > 1:
        return f"No shortcut: the stride is {block.stride}."
    return f"No shortcut: {channels_words(block.in_channels)} become {block.out_channels:,}."


def kind_words(block: Block) -> str:
    """Return the kind of a block: 'inverted residual', 'separable' ..."""
    return KINDS.get(block.kind, block.kind)
