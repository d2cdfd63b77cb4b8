"""Networks of every kind, and what a diagram says."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import get_args

import pytest

from mobilenetv2.diagrams.lettering import text_width
from mobilenetv2.spec.network import BlockKind, ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.published import published

SVG = "{http://www.w3.org/2000/svg}"


def of_kind(kind: BlockKind, **changes: object) -> NetworkSpec:
    """A network with blocks of one kind: other channels, the same again, and stride 2."""
    expansion = 1 if kind == "separable" else 4
    stages = (StageSpec(expansion, 24, 2, 1, kind), StageSpec(expansion, 48, 6, 2, kind))
    return NetworkSpec(stages=stages, head="none").replace(**changes)


HEADS = ClassifierSpec("max", (HiddenSpec(100, dropout=0.3), HiddenSpec(7, "none", False)), False)
SPECS = {
    "paper": NetworkSpec(),
    "widest": NetworkSpec(width=10, size=(8192, 8100), classes=50_000),
    "narrowest": NetworkSpec(width=0.01, size=(32, 45), classes=1, input_channels=1, divisor=1),
    "article": published("article-torch"),
    "mobilenet-v1": published("mobilenet-v1", width=0.25),
    "no shortcuts": of_kind("inverted", shortcut="none", stem_stride=1, dropout=0.0),
    "mixed, with hidden layers": NetworkSpec(
        stages=(StageSpec(4, 64, 2, 1, "bottleneck"), StageSpec(1, 64, 1, 2, "separable")),
        classes=12_345, classifier=HEADS,
    ),
    "activated projections": of_kind("inverted", projection="relu"),
    **{f"{kind} blocks": of_kind(kind) for kind in get_args(BlockKind)},
    **{
        f"{kind} blocks, projected": of_kind(kind, shortcut="projection", conv_bias=True)
        for kind in get_args(BlockKind)
    },
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of text of a diagram, with its estimated box."""

    text: str
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Seen:
    """A diagram as its file is."""

    title: str
    description: str
    width: float
    height: float
    lines: list[Line]
    root: ET.Element

    def attributes(self, class_: str) -> list[dict[str, str]]:
        """Attributes of the shapes of a class, in the order in which they are drawn."""
        return [one.attrib for one in self.root.iter() if one.get("class") == class_]


def seen(svg: str) -> Seen:
    """Read a diagram."""
    root = ET.fromstring(svg)
    title, description = (root.findtext(f"{SVG}{name}") or "" for name in ("title", "desc"))
    lines = []
    for one in root.iter(f"{SVG}text"):
        size, x, y = (float(one.attrib[name]) for name in ("font-size", "x", "y"))
        width = text_width(one.text or "", size, "bold" in one.attrib["class"])
        left = x - width / 2 if one.get("text-anchor") == "middle" else x
        lines.append(Line(one.text or "", left, left + width, y - 0.8 * size, y + 0.25 * size))
    _, _, wide, tall = map(float, root.attrib["viewBox"].split())
    return Seen(title, description, wide, tall, lines, root)


def require_legible(found: Seen) -> None:
    """Require that every line is within the view, large enough, and over no other line."""
    for index, one in enumerate(found.lines):
        assert one.left >= 8 and one.right <= found.width - 8, one
        assert one.top >= 8 and one.bottom <= found.height - 8, one
        for other in found.lines[:index]:
            apart = one.left >= other.right or other.left >= one.right
            assert apart or one.top >= other.bottom or other.top >= one.bottom, (one, other)
    sizes = {float(one.attrib["font-size"]) for one in found.root.iter(f"{SVG}text")}
    assert min(sizes) * 374 / found.width >= 11  # on a page of 390 pixels with margins of 8


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    """A network of every kind."""
    return SPECS[request.param]


@pytest.fixture
def every_spec() -> list[NetworkSpec]:
    """All networks."""
    return list(SPECS.values())


@pytest.fixture
def read() -> object:
    """Function that reads a diagram, and requires that its text is legible."""

    def found(svg: str) -> Seen:
        one = seen(svg)
        require_legible(one)
        return one

    return found
