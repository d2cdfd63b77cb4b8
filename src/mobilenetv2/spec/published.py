"""Published networks by name, with what each implementation computes.

Source: the public implementations of torchvision, timm, keras.applications, TF-slim, Hugging Face
transformers, tonylins/pytorch-mobilenet-v2 and d-li14/mobilenetv2.pytorch.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, Numerics, Size, StageSpec
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.spec.variants import classic_stages, for_small_pictures

PYTORCH = Numerics("symmetric", epsilon=1e-5, momentum=0.1, momentum_of="new")
SLIM = Numerics("same", epsilon=1e-3, momentum=0.997, momentum_of="old")
KERAS = Numerics("same", epsilon=1e-3, momentum=0.999, momentum_of="old", running_variance="biased")
# Hugging Face writes TensorFlow's 0.997 into PyTorch's convention, where it means the opposite.
HUGGING_FACE = Numerics("same", epsilon=1e-3, momentum=0.997, momentum_of="new")

IMAGENET = Preprocessing()
IMAGENET_BICUBIC = Preprocessing(interpolation="bicubic")
MINUS_ONE_TO_ONE = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
SLIM_EVALUATION = Preprocessing(
    resize=(224, 224), fit="stretch", central_fraction=0.875, mean=(127.5,) * 3, std=(127.5,) * 3
)


V1_STAGES = tuple(
    StageSpec(1, channels, repeats, stride, "separable")
    for channels, repeats, stride in (
        (64, 1, 1), (128, 1, 2), (128, 1, 1), (256, 1, 2), (256, 1, 1), (512, 1, 2), (512, 5, 1),
        (1024, 1, 2), (1024, 1, 1),
    )
)  # fmt: skip
CLASSIC_STAGES = classic_stages(PAPER_STAGES)


@dataclass(frozen=True, slots=True)
class Published:
    """A published family: its spec at width 1.0 and 224 pixels, and its preprocessing."""

    spec: NetworkSpec
    preprocessing: Preprocessing
    about: str
    margin: int | None = None
    """Pixels that are cropped off at every size; None scales the margin with the size."""

    def at(self, size: Size) -> Preprocessing:
        """Return the preprocessing that was published for another input size."""
        if self.margin is None:
            return self.preprocessing.at(size)
        resize = (size[0] + self.margin, size[1] + self.margin)
        return dataclasses.replace(self.preprocessing, size=size, resize=resize)


def _timm_deeper(width: float, *repeats: int) -> NetworkSpec:
    stages = tuple(
        dataclasses.replace(stage, repeats=n)
        for stage, n in zip(PAPER_STAGES, repeats, strict=True)
    )
    return NetworkSpec(width=width, stages=stages, head="fixed", stem_fixed=True, dropout=0.0)


PUBLISHED: dict[str, Published] = {
    "paper": Published(
        NetworkSpec(numerics=SLIM),
        SLIM_EVALUATION,
        "Table 2 of the paper with its published code's numerics",
    ),
    "torchvision": Published(NetworkSpec(), IMAGENET, "torchvision.models.mobilenet_v2"),
    "timm": Published(
        NetworkSpec(dropout=0.0),
        IMAGENET_BICUBIC,
        "timm mobilenetv2_050, 075, 100, 140",
    ),
    "timm-110d": Published(
        _timm_deeper(1.1, 1, 3, 4, 5, 4, 4, 1),
        IMAGENET_BICUBIC,
        "timm mobilenetv2_110d: width x1.1, depth x1.2, stem and head fixed",
    ),
    "timm-120d": Published(
        _timm_deeper(1.2, 1, 3, 5, 6, 5, 5, 1),
        IMAGENET_BICUBIC,
        "timm mobilenetv2_120d: width x1.2, depth x1.4, stem and head fixed",
    ),
    "keras": Published(
        NetworkSpec(rounding="truncate-nearest", dropout=0.0, numerics=KERAS),
        MINUS_ONE_TO_ONE,
        "keras.applications.MobileNetV2",
    ),
    "tf-slim": Published(
        NetworkSpec(classes=1001, background="first", numerics=SLIM),
        SLIM_EVALUATION,
        "TensorFlow-slim's checkpoints, class 0 is background",
    ),
    "huggingface": Published(
        NetworkSpec(
            classes=1001, background="first", rounding="round-nearest", dropout=0.8,
            numerics=HUGGING_FACE,
        ),
        MINUS_ONE_TO_ONE,
        "transformers' MobileNetV2ForImageClassification, class 0 is background",
        margin=32,
    ),
    "tonylins": Published(
        NetworkSpec(rounding="up", stem_fixed=True, first_stage_fixed=True, dropout=0.0),
        IMAGENET,
        "tonylins/pytorch-mobilenet-v2: rounds up, stem always 32, first block 16",
    ),
    "d-li14": Published(
        NetworkSpec(dropout=0.0),
        IMAGENET,
        "d-li14/mobilenetv2.pytorch (divisor 4 at width 0.1)",
    ),
    "article-torch": Published(
        NetworkSpec(shortcut="projection", expand="always", conv_bias=True),
        IMAGENET,
        "the article's PyTorch version: biases, an expansion and a projection shortcut always",
    ),
    "article-keras": Published(
        NetworkSpec(rounding="truncate", expand="always", dropout=0.0, numerics=KERAS),
        MINUS_ONE_TO_ONE,
        "the article's Keras version: an expansion always, projections truncated, not rounded",
    ),
    "mobilenet-v1": Published(
        NetworkSpec(stages=V1_STAGES, head="none", rounding="truncate", dropout=0.001,
                    numerics=SLIM),
        MINUS_ONE_TO_ONE,
        "MobileNetV1 (arXiv 1704.04861): depthwise separable blocks",
    ),
    "resnet-bottleneck": Published(
        NetworkSpec(stages=CLASSIC_STAGES, head="none"),
        IMAGENET,
        "MobileNetV2's table with ResNet's classic residual: wide outside, narrow inside",
    ),
}  # fmt: skip


def published(name: str, **changes: Any) -> NetworkSpec:
    """Return the spec of a published network.

    Args:
        name: a family of :data:`PUBLISHED` ('timm'), 'small', or a name that people know
            ('mobilenet_v2' is torchvision's, 'mobilenetv2_140' timm's).
        changes: fields of :class:`NetworkSpec`, such as ``width=0.5, size=160``. Other ``classes``
            drop a background class.

    Raises:
        SpecError: an unknown name or field, or an impossible network.

    Example:
        >>> mn.published("mobilenetv2_140").width
        1.4
        >>> mn.published("keras", width=0.35, size=96, classes=10)
        NetworkSpec(width=0.35, size=(96, 96), classes=10, rounding='truncate-nearest', ...)
    """
    known = aliases()
    if name in known and name not in PUBLISHED:
        alias = known[name]
        return published(alias.family, **{"width": alias.width, "size": alias.size, **changes})
    if name == "small":
        return small(**changes)
    if name not in PUBLISHED:
        hint = suggestion(name, [*PUBLISHED, "small"], near=known)
        raise SpecError(f"network {name!r} is unknown; {hint}")
    if name == "d-li14" and changes.get("width") == 0.1:
        changes = {"divisor": 4, **changes}
    spec = PUBLISHED[name].spec
    if changes.get("classes", spec.classes) != spec.classes:
        changes = {"background": None, **changes}
    return spec.replace(**changes)


def small(size: int | Size = 32, **changes: Any) -> NetworkSpec:
    """Return the paper's network with fewer strides, for small pictures of ten classes.

    The strides are those of :func:`mobilenetv2.spec.variants.for_small_pictures`.

    Args:
        size: height and width in pixels; one number means a square.
        changes: fields of :class:`NetworkSpec`.
    """
    return for_small_pictures(NetworkSpec(classes=10), size).replace(**changes)
