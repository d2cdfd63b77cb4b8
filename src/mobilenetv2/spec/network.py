"""Records that describe a network, frozen and free of any framework.

A network is a stem (3x3 convolution), stages of inverted residual blocks, a head (1x1 convolution),
global pooling, dropout and a classifier of one or more linear layers.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381,
Table 2.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.mapping import (
    STORED_IF_SET,
    check_types,
    from_mapping,
    short_repr,
    shown,
    suggestion,
    to_mapping,
)
from mobilenetv2.spec.rounding import Rounding, scale

Size = tuple[int, int]
"""Height and width in pixels."""

SMALLEST_SIZE = 32
LARGEST_SIZE = 8192
MOST_BLOCKS = 1_000
"""Largest number of blocks; the paper's network has 17, the deepest published ResNet 1,001."""
MOST_CLASSES = 100_000
"""Largest number of classes; ImageNet's full hierarchy has 21,841."""
MOST_PARAMETERS = 2**30
"""Largest number of parameters, 4 GiB in float32; the paper's network has 3.5 million, and 567
million at the largest width."""


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SpecError(f"{name} {shown(value)} must be a whole number from {least:,} to {most:,}")


BlockKind = Literal["inverted", "separable", "bottleneck", "wide"]
"""Kinds of block: 'inverted', 'separable', 'bottleneck' or 'wide'.

'inverted' is MobileNetV2's inverted residual: expand, depthwise, linear projection. 'separable' is
MobileNetV1's block (arXiv 1704.04861): depthwise, then pointwise, both activated. 'bottleneck' is
ResNet's block (arXiv 1512.03385): reduce, 3x3 convolution, expand; the activation follows the
addition.

'wide' has MobileNetV2's convolutions in another order: linear projection, expand, depthwise. Its
input and output are expanded tensors, so that its shortcut is the paper's "shortcut between
expansions" (section 6.4, figure 6b). The first block of a network projects the stem's activated
output; the head convolution, or the pooling, reads the last expanded tensor.
"""
Activation = Literal["relu", "relu6"]
"""Kinds of activation: max(x, 0), and the same bounded by 6."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One row of the paper's Table 2: ``repeats`` blocks, the first of which has ``stride``."""

    expansion: int
    """Expansion factor t: a block has t times its input channels inside.

    In a 'bottleneck' it is the reduction: a block has its output channels divided by t inside.
    'separable' blocks have t = 1. A 'wide' block has t times its projected channels at its output.
    """
    channels: int
    """Output channels c at width 1.0; in a 'wide' block, channels of the projection."""
    repeats: int
    """Number of blocks n."""
    stride: int
    """Stride s of the first block's 3x3 convolution, 1 or 2; the other blocks have stride 1."""
    kind: BlockKind = "inverted"

    def __post_init__(self) -> None:
        for name in ("expansion", "channels", "repeats"):
            _whole(f"stage {name}", getattr(self, name), least=1, most=100_000)
        if self.stride not in (1, 2):
            raise SpecError(f"stage stride {self.stride!r} must be 1 or 2")
        if self.kind not in get_args(BlockKind):
            raise SpecError(
                f"stage kind {self.kind!r} is unknown; known are: {', '.join(get_args(BlockKind))}"
            )
        if self.kind == "separable" and self.expansion != 1:
            raise SpecError("a separable stage has no expansion; its expansion must be 1")


#                      t    c   n  s
PAPER_STAGES = (
    StageSpec(1, 16, 1, 1),
    StageSpec(6, 24, 2, 2),
    StageSpec(6, 32, 3, 2),
    StageSpec(6, 64, 4, 2),
    StageSpec(6, 96, 3, 1),
    StageSpec(6, 160, 3, 2),
    StageSpec(6, 320, 1, 1),
)


@dataclass(frozen=True, slots=True)
class Numerics:
    """Numeric settings that change the outputs, beyond shapes and weights.

    Converted networks most often differ here.
    """

    padding: Literal["symmetric", "same"] = "symmetric"
    """Padding of the 3x3 convolutions at stride 2.

    'symmetric' (PyTorch) adds one pixel on every side. 'same' (TensorFlow) adds one pixel after an
    even size and one on each side of an odd size. The output shapes are equal, the values are not.
    """
    epsilon: float = 1e-5
    """Epsilon of BatchNorm: 1e-5 in PyTorch's publications, 1e-3 in TensorFlow's."""
    momentum: float = 0.1
    """Momentum of BatchNorm, in the convention that ``momentum_of`` names."""
    momentum_of: Literal["new", "old"] = "new"
    """Convention of the momentum: share of the new batch, or of the old average.

    'new' (PyTorch): running = (1 - momentum) * running + momentum * batch. 'old' (TensorFlow,
    Keras): running = momentum * running + (1 - momentum) * batch.
    """
    activation: Activation = "relu6"
    running_variance: Literal["unbiased", "biased"] = "unbiased"
    """Variance that updates the running variance: with Bessel's correction or without it.

    'unbiased' is PyTorch's and the fused kernel's in TensorFlow 1; 'biased' is Keras 3's and
    Flax's. In training every framework normalises by the biased variance.
    """

    def __post_init__(self) -> None:
        check_types(self)
        if not (math.isfinite(self.epsilon) and 0 < self.epsilon < 1):
            raise SpecError(f"BatchNorm epsilon {self.epsilon!r} must be between 0 and 1")
        if not 0 <= self.momentum <= 1:
            raise SpecError(f"BatchNorm momentum {self.momentum!r} must be between 0 and 1")

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def update_rate(self) -> float:
        """Share of the new batch in the running statistics: PyTorch's ``momentum``."""
        # 1 - 0.999 is 0.0010000000000000009, but config files should say 0.001.
        return self.momentum if self.momentum_of == "new" else round(1 - self.momentum, 12)


Pooling = Literal["average", "max"]
"""Mean or maximum of each channel over the last feature map."""
Outputs = Literal["softmax", "sigmoid", "logit"]
"""Meaning of the outputs: 'softmax', 'sigmoid' or 'logit'.

'softmax': one of n classes. 'sigmoid': any of n classes, each with its own probability
(multi-label). 'logit': one number for two classes, the log-odds of the second.
"""


@dataclass(frozen=True, slots=True)
class HiddenSpec:
    """A linear layer between the pooled features and the classifier's last layer."""

    units: int
    activation: Literal["relu", "relu6", "none"] = "relu"
    bias: bool = True
    dropout: float = 0.0
    """Probability that an output of this layer is dropped in training."""

    def __post_init__(self) -> None:
        check_types(self)
        _whole("hidden units", self.units, least=1, most=100_000)
        if not 0 <= self.dropout < 1:
            raise SpecError(f"hidden dropout {self.dropout!r} must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """Everything after the last feature map: pooling, linear layers, meaning of the outputs."""

    pooling: Pooling = "average"
    hidden: tuple[HiddenSpec, ...] = ()
    """Linear layers before the last one, in the order in which they run."""
    bias: bool = True
    """True if the last layer adds a bias."""
    outputs: Outputs = "softmax"

    def __repr__(self) -> str:
        return short_repr(self)

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if len(self.hidden) > MOST_HIDDEN:
            raise SpecError(f"{len(self.hidden)} hidden layers; at most {MOST_HIDDEN} are allowed")


MOST_HIDDEN = 16


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A whole MobileNetV2, or any published variant of it, as data.

    Raises:
        SpecError: a field has an impossible value.

    Example:
        >>> spec = mn.NetworkSpec(width=0.5, classes=10, size=160)
        >>> mn.build(spec).num_classes
        10
    """

    width: float = 1.0
    """Width multiplier (alpha), applied to every channel count under ``rounding``."""
    size: Size = (224, 224)
    """Input height and width in pixels; one number means a square."""
    classes: int = 1000
    """Number of classes, including the background class if there is one."""
    input_channels: int = 3
    stages: tuple[StageSpec, ...] = PAPER_STAGES
    stem_channels: int = 32
    stem_stride: int = 2
    head_channels: int = 1280
    head: Literal["published", "scaled", "fixed", "none"] = "published"
    """Rule for the head's channels: 'published', 'scaled', 'fixed' or 'none'.

    'published': scaled by the width only above 1.0. 'scaled': always scaled (TF-slim without its
    finegrain mode). 'fixed': never scaled (timm's 110d and 120d). 'none': there is no head
    convolution, and the last block's output is pooled (MobileNetV1, ResNet).
    """
    stem_fixed: bool = False
    """True if the width does not change the stem's channels (tonylins; timm's 110d and 120d)."""
    first_stage_fixed: bool = False
    """True if the width does not change stages with expansion 1 (tonylins)."""
    rounding: Rounding = "nearest"
    divisor: int = 8
    """Divisor of all channel counts (8; 4 in d-li14's width 0.1)."""
    shortcut: Literal["identity", "projection", "none"] = "identity"
    """Kind of shortcut: 'identity', 'projection' or 'none'.

    'identity': where the stride is 1 and the channels are equal (the paper). 'projection': a 1x1
    convolution with BatchNorm at every stride-1 block (the article's PyTorch version).
    """
    expand: Literal["when-needed", "always"] = "when-needed"
    """Rule for expansions at t = 1: 'when-needed' (all published checkpoints) has none there."""
    projection: Literal["linear", "relu", "relu6"] = field(default="linear", metadata=STORED_IF_SET)
    """Activation after the BatchNorm of a projection, before a shortcut is added; 'linear' is none.

    Only 'inverted' and 'wide' blocks have projections. The paper compares 'linear' and 'relu6'
    (section 6.4, figure 6a).
    """
    conv_bias: bool = False
    """True if convolutions keep a bias before BatchNorm (the article's PyTorch version)."""
    dropout: float = 0.2
    """Probability that a pooled feature is dropped in training."""
    classifier: ClassifierSpec = field(default_factory=ClassifierSpec)
    background: Literal["first", "last"] | None = None
    """Place of the class that means 'none of these', if there is one (TF-slim: first)."""
    numerics: Numerics = field(default_factory=Numerics)

    def __post_init__(self) -> None:
        check_types(self)
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "width", float(self.width))
        for side in size:
            _whole("size", side, SMALLEST_SIZE, LARGEST_SIZE)
        if not (math.isfinite(self.width) and 0 < self.width <= 16):
            raise SpecError(f"width {self.width!r} must be above 0 and at most 16")
        if not self.stages:
            raise SpecError("stages is empty; a network needs at least one stage")
        if (blocks := sum(stage.repeats for stage in self.stages)) > MOST_BLOCKS:
            raise SpecError(
                f"the stages have {blocks:,} blocks; at most {MOST_BLOCKS:,} are allowed"
            )
        _whole("classes", self.classes, least=1, most=MOST_CLASSES)
        for name in ("input_channels", "stem_channels", "head_channels", "divisor"):
            _whole(name, getattr(self, name), least=1, most=10_000_000)
        if self.stem_stride not in (1, 2):
            raise SpecError(f"stem_stride {self.stem_stride!r} must be 1 or 2")
        if not 0 <= self.dropout < 1:
            raise SpecError(f"dropout {self.dropout!r} must be at least 0 and below 1")
        if self.background is not None and self.classes < 2:
            raise SpecError("classes must be at least 2 where one of them is the background")
        if self.classifier.outputs == "logit" and self.classes != 2:
            raise SpecError(f"one logit tells 2 classes apart, not {self.classes}")

    @property
    def logits(self) -> int:
        """Number of outputs of the last layer: one per class, or a single logit for two classes."""
        return 1 if self.classifier.outputs == "logit" else self.classes

    def channels(self, place: Literal["stem", "head"]) -> int:
        """Return the output channels of the stem or the head after the width multiplier."""
        if place == "stem":
            if self.stem_fixed:
                return self.stem_channels
            return scale(self.rounding, self.stem_channels, self.width, self.divisor, "stem")
        if self.head == "fixed" or (self.head == "published" and self.width <= 1.0):
            return self.head_channels
        return scale(self.rounding, self.head_channels, self.width, self.divisor, "head")

    def stage_channels(self, stage: StageSpec) -> int:
        """Return a stage's channels after the width multiplier.

        They are the output channels of its blocks; in 'wide' blocks, those of the projection.
        """
        if self.first_stage_fixed and stage.expansion == 1:
            return stage.channels
        return scale(self.rounding, stage.channels, self.width, self.divisor, "projection")

    def __repr__(self) -> str:
        channels = ", ".join(str(stage.channels) for stage in self.stages)
        blocks = sum(stage.repeats for stage in self.stages)
        stages = f"<{len(self.stages)} stages, {blocks} blocks: {channels} channels>"
        return short_repr(self, "width", "size", "classes", stages=stages)

    def replace(self, **changes: Any) -> "NetworkSpec":
        """Return a copy with some fields changed, checked again.

        Raises:
            SpecError: an unknown field, or an impossible network.
        """
        fields = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in fields:
                raise SpecError(f"a network has no field {name!r}; {suggestion(name, fields)}")
        return dataclasses.replace(self, **changes)

    def at(
        self,
        width: float | None = None,
        size: "int | Size | None" = None,
        classes: int | None = None,
    ) -> "NetworkSpec":
        """Return the network at another width, size or number of classes; None keeps this one's.

        Args:
            width: width multiplier.
            size: height and width in pixels; one number means a square.
            classes: another number of them drops a background class.

        Raises:
            SpecError: an impossible network.
        """
        changes: dict[str, Any] = {"width": width, "size": size, "classes": classes}
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get("classes", self.classes) != self.classes:
            given["background"] = None
        return self.replace(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; :meth:`from_dict` makes an equal record from them."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, mapping: object, where: str = "network spec") -> "NetworkSpec":
        """Build a spec from the values of :meth:`to_dict`; absent keys keep their defaults.

        Raises:
            SpecError: an unknown key, a value of the wrong type, or an impossible network.
        """
        return from_mapping(cls, mapping, where)
