"""Strides of a network whose file does not say them, as no state dict does.

The shapes are the same at every stride. Networks for 32-pixel pictures usually have stride 1 in the
stem and in the 24-channel stage, where the paper has 2, so that a map of 4 x 4 pixels is left. The
size, the class names and the file's name tell such a network; else the paper's strides are assumed.
Each assumption is said in a sentence, with the option that chooses others.
"""

import dataclasses
import re
from collections.abc import Sequence

from mobilenetv2.checkpoints.description import Description, ImportOptions
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
from mobilenetv2.spec.published import small

Strides = tuple[int, ...]
"""Stride of the stem, then of each stage's first block."""

MODIFIED = ("torchvision", "tonylins", "d-li14", "article")
"""Dialects whose code people change for small pictures; the others fix the strides."""
SMALL_SIZE, SMALLER = 64, 128
"""Sides in pixels below which the paper's strides leave one pixel, and at most 3 x 3."""
CIFAR_SIZE = 32
CIFAR_CLASSES = (10, 100)
CIFAR_NAMES = (
    frozenset("airplane automobile bird cat deer dog frog horse ship truck".split()),
    frozenset("apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle".split()),
)
"""Class names of CIFAR-10, and the first of CIFAR-100."""


def strides_of(spec: NetworkSpec) -> Strides:
    """Return a network's strides."""
    return (spec.stem_stride, *(stage.stride for stage in spec.stages))


USUAL: dict[str, Strides] = {
    "paper": strides_of(NetworkSpec()),
    "cifar": (1, 1, 1, *(stage.stride for stage in PAPER_STAGES[2:])),
    "small": strides_of(small()),
}
"""Strides by name: the paper's, those of the usual CIFAR networks, and those of 'small' here."""


def read_strides(given: str | Sequence[int]) -> Strides:
    """Return strides from a name in :data:`USUAL`, or from numbers: stem, then each stage.

    Raises:
        DialectError: neither.

    Example:
        >>> read_strides("1,1,2,2,2,1,2,1"), read_strides("paper")
        ((1, 1, 2, 2, 2, 1, 2, 1), (2, 1, 2, 2, 2, 1, 2, 1))
    """
    if isinstance(given, str):
        if given in USUAL:
            return USUAL[given]
        if not re.fullmatch(r"[12]([, ]+[12])*", given):
            raise DialectError(
                f"strides {given!r}: {suggestion(given, USUAL)}; or a number for the stem and for "
                "each stage, such as 1,1,2,2,2,1,2,1"
            )
        given = [int(digit) for digit in re.findall("[12]", given)]
    found = tuple(given)
    if not found or not all(type(one) is int and one in (1, 2) for one in found):
        raise DialectError(f"strides {found} must be 1 or 2: of the stem, then of each stage")
    return found


def with_strides(spec: NetworkSpec, strides: Strides) -> NetworkSpec:
    """Return a network with other strides.

    Raises:
        DialectError: there are more or fewer strides than the stem and the stages.
    """
    if len(strides) != 1 + len(spec.stages):
        raise DialectError(
            f"{len(strides)} strides for a stem and {len(spec.stages)} stages; give "
            f"{1 + len(spec.stages)} numbers"
        )
    stages = tuple(
        dataclasses.replace(stage, stride=stride)
        for stage, stride in zip(spec.stages, strides[1:], strict=True)
    )
    return spec.replace(stem_stride=strides[0], stages=stages)


def choose_strides(
    spec: NetworkSpec, dialect: str, said: Description, options: ImportOptions, name: str
) -> tuple[NetworkSpec, str]:
    """Return the network with the strides that its file most likely had, and what was assumed.

    Args:
        spec: network that fits the shapes, with the dialect's strides.
        dialect: name of the dialect.
        said: description by the file; one with a spec says the strides.
        name: name of the file.

    Returns:
        The network, and a sentence for the user; '' where nothing had to be assumed.

    Raises:
        DialectError: the strides that the options ask for do not fit the network.
    """
    if options.strides is not None:
        if said.spec is not None and strides_of(said.spec) != options.strides:
            raise DialectError(
                f"it describes itself, and {argument('strides')} asks for others; leave it out"
            )
        return with_strides(spec, options.strides), ""
    fixed = said.spec is not None or options.spec is not None or dialect not in MODIFIED
    if fixed or len(spec.stages) != len(PAPER_STAGES):
        return spec, ""
    size = options.size or said.size
    told = _is_cifar(said, options, name)
    if min(size) < SMALL_SIZE if size else told:
        changed = spec.replace(size=size or (CIFAR_SIZE, CIFAR_SIZE))
        return with_strides(changed, USUAL["cifar"]), (
            "A state dict does not say the strides: those usual for 32-pixel pictures are assumed "
            f"(1 in the stem and the 24-channel stage); {argument('strides', 'paper')} or "
            f"{argument('strides', 'small')} chooses others."
        )
    paper = "A state dict does not say the strides: the paper's are assumed"
    if size is None and spec.classes in CIFAR_CLASSES:
        return spec, (
            f"{paper}, for 224-pixel photos. If it was trained on 32-pixel pictures, as on "
            f"CIFAR-{spec.classes}, give {argument('size', CIFAR_SIZE)}."
        )
    if size is not None and min(size) < SMALLER:
        return spec, (
            f"{paper}. Networks for {size[0]}-pixel pictures often have stride 1 in the stem: "
            f"{argument('strides', '1,1,2,2,2,1,2,1')}."
        )
    return spec, ""


def _is_cifar(said: Description, options: ImportOptions, name: str) -> bool:
    """Return True if class names or the file's name say CIFAR."""
    labels = options.labels or said.labels
    names = {one.lower() for one in labels.names} if labels else set()
    return "cifar" in name.lower() or any(known <= names for known in CIFAR_NAMES)
