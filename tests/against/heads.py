"""The heads that are described as data, for the tests of every room that has to follow them."""

from short import short

from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.variants import with_wide_blocks

HEADS: dict[str, tuple[int, ClassifierSpec]] = {
    "hidden 100 without bias": (3, ClassifierSpec(hidden=(HiddenSpec(100, "relu"),), bias=False)),
    "hidden 128": (3, ClassifierSpec(hidden=(HiddenSpec(128, "relu6", True, 0.5),))),
    "two hidden": (4, ClassifierSpec(hidden=(HiddenSpec(24, bias=False), HiddenSpec(8, "none")))),
    "max pooling": (3, ClassifierSpec("max")),
    "sigmoid": (3, ClassifierSpec(outputs="sigmoid")),
    "one logit": (2, ClassifierSpec(outputs="logit")),
}
"""Name -> (classes, head)."""


def with_head(name: str, size: int | tuple[int, int] = (64, 48), width: float = 0.1) -> NetworkSpec:
    """Return a short network that ends in a head: what is before it is tested elsewhere."""
    classes, head = HEADS[name]
    spec = NetworkSpec(width=width, size=size, classes=classes, classifier=head)  # type: ignore[arg-type]
    return short(spec)


_SHORT = short(NetworkSpec(width=0.25, size=(64, 64), classes=5))
BLOCKS = {
    **{
        kind: published(kind, width=0.25, size=64, classes=5)
        for kind in ("mobilenet-v1", "resnet-bottleneck")
    },
    "wide": with_wide_blocks(_SHORT),
    "relu projections": _SHORT.replace(projection="relu"),
}
"""Networks of other blocks than MobileNetV2's."""
