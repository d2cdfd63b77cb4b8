"""Which network a set of foreign tensors is: width, rounding rule, depth, classes, off the shapes.

Every network that the dialect publishes is tried at every width, then every other publisher's. A
checkpoint does not say its strides, so a stage table of one's own must be given.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import Shape
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.model.arrays import Difference, compare_shapes
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

PUBLISHED_WIDTHS = (1.0, 1.4, 0.75, 0.5, 0.35, 1.3, 1.1, 1.2, 0.25, 0.1)
WIDTHS = (*PUBLISHED_WIDTHS, *(step / 100 for step in range(5, 301)))
"""Tried in this order: neighbouring widths may round to the same network."""
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that a file may hold."""

    spec: NetworkSpec
    family: str
    """Whose rounding and depth."""

    @property
    def words(self) -> str:
        """For a message: "width 0.75 in tonylins' rounding"."""
        owner = f"{self.family}'" if self.family.endswith("s") else f"{self.family}'s"
        return f"width {self.spec.width:g} in {owner} rounding"


def infer(dialect: Dialect, shapes: Shapes, wanted: NetworkSpec, where: str,
          width: float | None = None, exactly: bool = False) -> NetworkSpec:  # fmt: skip
    """The network whose tensors these are.

    Args:
        shapes: foreign name -> shape, prepared, without what the dialect drops.
        wanted: what the shapes do not say: size, numerics, dropout; with ``exactly`` all of it.
        width: the width that was asked for, if any.

    Raises:
        DialectError: it is no network that is known, or another than was asked for; with the whole
            difference to the nearest, and the likely cause.
    """
    classes, channels = _ends(dialect, shapes, wanted, where)
    wanted = wanted.replace(classes=classes, input_channels=channels)
    if exactly:
        return _required(dialect, shapes, wanted, where)
    candidates = [*_candidates(dialect, wanted, dialect.families)]
    others = [name for name in PUBLISHED if name not in dialect.families]
    match = next(_matching(dialect, shapes, candidates), None)
    match = match or next(_matching(dialect, shapes, _candidates(dialect, wanted, others)), None)
    if match and (width is None or same_network(match.spec, match.spec.replace(width=width))):
        return match.spec
    if width is not None:
        candidates = [*_candidates(dialect, wanted, dialect.families[:1], [width])]
        asked = f"width {width:g} was asked for"
        cause = f"looks like {match.words}, but {asked}" if match else f"{asked}, and it is not"
        raise DialectError(f"{where}: {cause}{_report(_nearest(dialect, shapes, candidates)[1])}")
    nearest, difference = _nearest(dialect, shapes, candidates)
    raise DialectError(
        f"{where}: {dialect.name} names, but no MobileNetV2 that was published: of the nearest, "
        f"{nearest.words}, {difference.summary()}. If it has a stage table of its own, give it "
        f"with --spec FILE{_report(difference)}"
    )


def express(dialect: Dialect, spec: NetworkSpec) -> NetworkSpec | None:
    """The network of the dialect that has the same convolutions as ``spec``, if there is one."""
    widths = (spec.width, *WIDTHS)
    for candidate in _candidates(dialect, spec, dialect.families, widths):
        if same_network(spec, candidate.spec):
            return candidate.spec
    return None


def unlike(dialect: Dialect, spec: NetworkSpec) -> str:
    """In what a network that :func:`express` does not find differs from the dialect's nearest."""
    base = dialect.bases[0]
    names = (
        "stages", "stem_stride", "stem_channels", "head_channels", "head", "shortcut", "expand",
        "conv_bias", "rounding", "stem_fixed", "first_stage_fixed", "divisor",
    )  # fmt: skip
    found = [name for name in names if getattr(spec, name) != getattr(base, name)]
    return ", ".join(found) or f"width {spec.width:g}"


def same_network(one: NetworkSpec, other: NetworkSpec) -> bool:
    """Whether two specs are the same convolutions, whatever rule they come from."""
    try:
        networks = [
            resolve(spec.replace(size=one.size, numerics=one.numerics)) for spec in (one, other)
        ]
    except SpecError:
        return False
    parts = [(net.stem, net.blocks, net.head, net.classifier_shape) for net in networks]
    return _without_stages(parts[0]) == _without_stages(parts[1])


def _without_stages(parts: tuple) -> list:
    # The same blocks may be told apart into stages differently (t = 6 twice, or once with n = 2).
    stem, blocks, head, classifier = parts
    return [stem, head, classifier, *((b.steps, b.shortcut, b.residual) for b in blocks)]


def _candidates(
    dialect: Dialect, wanted: NetworkSpec, families: Iterable[str],
    widths: Iterable[float] = WIDTHS,
) -> Iterator[Candidate]:  # fmt: skip
    widths = dict.fromkeys(widths)
    for family in families:
        own = family in dialect.families
        base = dialect.bases[dialect.families.index(family)] if own else PUBLISHED[family].spec
        base = base.replace(
            size=wanted.size, classes=wanted.classes, input_channels=wanted.input_channels,
            numerics=wanted.numerics, dropout=wanted.dropout, background=wanted.background,
        )  # fmt: skip
        if base.head == "none":
            continue
        # timm's deeper networks have their width in the name.
        for width in [base.width] if base.width != 1.0 else widths:
            spec = base.replace(width=width)
            if family == "d-li14" and width == 0.1:
                yield Candidate(spec.replace(divisor=4), family)
            yield Candidate(spec, family)
            if base.head == "published" and width < 1:
                yield Candidate(spec.replace(head="scaled"), family)


def _matching(
    dialect: Dialect, shapes: Shapes, candidates: Iterable[Candidate]
) -> Iterator[Candidate]:
    first, *_ = dialect.keys(dialect.bases[0])
    stem = shapes[first.foreign][first.layout.axes[0] if first.layout else 0]
    for candidate in candidates:
        if candidate.spec.channels("stem") != stem:
            continue  # cheap, and most of them
        expected = dialect.keys(candidate.spec)
        if len(expected) == len(shapes) and all(
            shapes.get(key.foreign) == key.shape for key in expected
        ):
            yield candidate


def _required(dialect: Dialect, shapes: Shapes, wanted: NetworkSpec, where: str) -> NetworkSpec:
    difference = compare_shapes({key.foreign: key.shape for key in dialect.keys(wanted)}, shapes)
    if not difference:
        return wanted
    families = dict.fromkeys((*dialect.families, *PUBLISHED))
    match = next(_matching(dialect, shapes, _candidates(dialect, wanted, families)), None)
    cause = f"looks like {match.words}, which is another" if match else difference.summary()
    raise DialectError(f"{where}: not the network that was asked for: {cause}{_report(difference)}")


def _ends(dialect: Dialect, shapes: Shapes, wanted: NetworkSpec, where: str) -> tuple[int, int]:
    """(classes, input channels): the two numbers that every network has its own."""
    first, *_, _, bias = dialect.keys(dialect.bases[0])
    stem, classes = shapes.get(first.foreign), shapes.get(bias.foreign)
    if stem is None or len(stem) != 4:
        raise DialectError(f"{where}: {first.foreign} is missing or no convolution's weight")
    canonical = first.layout.axes[1] if first.layout else 1
    if classes is None:
        raise DialectError(f"{where}: {bias.foreign}, the classifier, is missing")
    if len(classes) != 1:
        raise DialectError(f"{where}: {bias.foreign} has shape {list(classes)}, not (classes,)")
    return classes[0], stem[canonical]


def _nearest(
    dialect: Dialect, shapes: Shapes, candidates: Iterable[Candidate]
) -> tuple[Candidate, Difference]:
    found: list[tuple[Candidate, Difference]] = []
    for candidate in candidates:
        if len(found) > 1 and candidate.spec.width not in PUBLISHED_WIDTHS:
            continue
        expected = {key.foreign: key.shape for key in dialect.keys(candidate.spec)}
        found.append((candidate, compare_shapes(expected, shapes)))
    return min(found, key=lambda item: item[1].size)


def _report(difference: Difference) -> str:
    return f"\n{difference}" if difference else ""
