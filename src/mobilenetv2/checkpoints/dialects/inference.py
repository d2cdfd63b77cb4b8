"""Inference of a network from the shapes of a file's tensors.

Width, rounding rule, depth and classes follow from the shapes: every network that the dialect
publishes is tried at every width, then every other publisher's, then other divisors.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from mobilenetv2.checkpoints.dialects.candidates import (
    DIVISORS,
    PUBLISHED_WIDTHS,
    WIDTHS,
    Candidate,
    has_width,
)
from mobilenetv2.checkpoints.dialects.tables import Key, Shape
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.model.arrays import Difference, compare_shapes
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

Shapes = Mapping[str, Shape]


class Implementation(Protocol):
    """Part of a dialect that inference needs."""

    @property
    def name(self) -> str:
        """Name of the dialect."""

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families in its files."""

    @property
    def bases(self) -> tuple[NetworkSpec, ...]:
        """Spec of every family at width 1.0."""

    def keys(self, spec: NetworkSpec) -> tuple[Key, ...]:
        """Return the foreign name, layout and shape of every tensor."""

    def candidates(
        self, target: NetworkSpec, families: Iterable[str], widths: Iterable[float] = WIDTHS,
        divisor: int | None = None,
    ) -> Iterator[Candidate]:  # fmt: skip
        """Yield the networks that its files may hold, the likeliest first."""


def infer(dialect: Implementation, shapes: Shapes, target: NetworkSpec, width: float | None = None,
          exactly: str = "") -> NetworkSpec:  # fmt: skip
    """Return the network that has these tensors.

    Args:
        shapes: shape by foreign name, prepared, without what the dialect drops.
        target: values that do not follow from shapes: size, numerics, dropout; with ``exactly`` the
            whole network.
        exactly: source of the network's description, for the message.
        width: the requested width, if any.

    Raises:
        DialectError: no known network fits, or not the requested one. The message has all
            differences from the nearest network, and the likely cause.
    """
    classes, channels = _ends(dialect, shapes, target.classifier)
    target = target.replace(classes=classes, input_channels=channels)
    difference = _difference(dialect, shapes, target)
    if exactly and not difference:
        return target
    match = _match(dialect, shapes, target)
    if exactly:
        cause = f"looks like {match}, which is another" if match else difference.summary()
        raise DialectError(f"not the network that {exactly}: {cause}\n{difference}")
    if match and (width is None or has_width(match.spec, width)):
        return match.spec
    if width is not None:
        likely = dialect.candidates(target, dialect.families[:1], [width])
        _, difference = _nearest(dialect, shapes, likely)
        asked = f"width {width:g} was requested"
        cause = f"looks like {match}, but {asked}" if match else f"{asked}, and it is not"
        raise DialectError(f"{cause}\n{difference}".rstrip())
    nearest, difference = _nearest(dialect, shapes, dialect.candidates(target, dialect.families))
    if _of_head(dialect, shapes, nearest.spec, difference):
        raise DialectError(
            f"its body is {nearest}, and what follows it is no classifier that is read: "
            f"{difference.summary()}; give {argument('body', True)} to import the body alone\n"
            f"{difference}"
        )
    raise DialectError(
        f"{dialect.name} names, but no MobileNetV2 that was published: of the nearest, {nearest}, "
        f"{difference.summary()}. If it has a stage table of its own, give it as "
        f"{argument('spec')}\n"
        f"{difference}"
    )


def _match(dialect: Implementation, shapes: Shapes, target: NetworkSpec) -> Candidate | None:
    """Return the likeliest network with these shapes."""
    sides = {side for shape in shapes.values() for side in shape}
    families = dict.fromkeys((*dialect.families, *PUBLISHED))
    usual = dialect.candidates(target, families)
    others = (dialect.candidates(target, dialect.families, divisor=one) for one in DIVISORS)
    for candidate in itertools.chain(usual, *others):
        # A cheap test excludes most candidates.
        possible = _channels(candidate.spec) <= sides
        if possible and not _difference(dialect, shapes, candidate.spec):
            return candidate
    return None


def _channels(spec: NetworkSpec) -> set[int]:
    """Return the numbers of channels that some shape of a network must have."""
    head = () if spec.head == "none" else (spec.channels("head"),)
    return {spec.channels("stem"), *map(spec.stage_channels, spec.stages), *head}


def _of_head(
    dialect: Implementation, shapes: Shapes, spec: NetworkSpec, difference: Difference
) -> bool:
    """Return True if tensors differ behind the body only."""
    head = {key.foreign for key in dialect.keys(spec) if is_classifier(key.canonical)}
    expected = {*difference.missing, *difference.reshaped}
    return expected <= head and all(len(shapes[name]) < 3 for name in difference.unexpected)


def _difference(dialect: Implementation, shapes: Shapes, spec: NetworkSpec) -> Difference:
    return compare_shapes({key.foreign: key.shape for key in dialect.keys(spec)}, shapes)


def _nearest(
    dialect: Implementation, shapes: Shapes, likely: Iterable[Candidate]
) -> tuple[Candidate, Difference]:
    found: list[tuple[Candidate, Difference]] = []
    for candidate in likely:
        if len(found) > 1 and candidate.spec.width not in PUBLISHED_WIDTHS:
            continue
        found.append((candidate, _difference(dialect, shapes, candidate.spec)))
    return min(found, key=lambda item: item[1].size)


def _ends(dialect: Implementation, shapes: Shapes, head: ClassifierSpec) -> tuple[int, int]:
    """Return (classes, input channels), two numbers that differ from file to file.

    Args:
        head: the classifier, of which a single logit stands for two classes.

    Raises:
        DialectError: the first or the last tensor is missing or has a wrong shape.
    """
    first, *_, weight, bias = dialect.keys(dialect.bases[0])
    stem, classes = shapes.get(first.foreign), shapes.get(bias.foreign)
    if stem is None or len(stem) != 4:
        raise DialectError(f"{first.foreign} is missing or no convolution's weight")
    canonical = first.layout.axes[1] if first.layout else 1
    if head.outputs == "logit":
        return 2, stem[canonical]
    if not head.bias and weight.foreign in shapes and weight.layout is None:
        return shapes[weight.foreign][0], stem[canonical]
    if classes is None:
        raise DialectError(f"{bias.foreign}, the classifier, is missing")
    if len(classes) != 1:
        raise DialectError(f"{bias.foreign} has shape {list(classes)}, not (classes,)")
    return classes[0], stem[canonical]
