"""Shapes and text of a diagram, which becomes one SVG file for light and dark screens."""

import hashlib
from dataclasses import dataclass, field

from mobilenetv2.diagrams.lettering import broken, text_width
from mobilenetv2.evaluation.report.html import Child, Markup, coordinate, element

WIDTH = 380.0
"""Width of a diagram in pixels: that of a phone's screen, so that its text is legible there."""
MARGIN = 14.0
BODY, SMALL, TITLE = 13.0, 12.0, 16.0
"""Font sizes in pixels; the smallest is above 11 where the diagram is made 10 pixels narrower."""
LEADING = 1.3
"""Height of a line of text, as a multiple of its font size."""
ASCENT = 0.95
"""Height of the tallest letters above the base line, as a multiple of the font size."""
SLANT = 0.55
"""Horizontal shift of a slab's back, as a share of its vertical shift."""
CLASS = "mobilenetv2-diagram"
"""Class of the SVG element, so that the rules of its style hold for nothing else on a page."""
FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'
LIGHT = {
    "paper": "fill:#fff", "text": "fill:#1f2328", "soft": "fill:#57606a",
    "front": "fill:#c9dcf3;stroke:#2f5f97", "side": "fill:#a3c1e6;stroke:#2f5f97",
    "top": "fill:#e3eefa;stroke:#2f5f97", "dense": "fill:#fae3b8;stroke:#9a6a12",
    "depthwise": "fill:#cdebd1;stroke:#2f7a41", "rays": "fill:none;stroke:#9a6a12",
    "columns": "fill:none;stroke:#2f7a41", "flow": "fill:none;stroke:#57606a",
    "tip": "fill:#57606a;stroke:#57606a", "shortcut": "fill:none;stroke:#a8322d",
    "shortcut-tip": "fill:#a8322d;stroke:#a8322d", "sum": "fill:#fff;stroke:#a8322d",
    "rule": "fill:none;stroke:#d0d7de",
}  # fmt: skip
"""Colours of the classes of shapes on light paper."""
DARK = {
    "paper": "fill:#15181d", "text": "fill:#e8eaed", "soft": "fill:#aab2bd",
    "front": "fill:#2b4a70;stroke:#9cc3ee", "side": "fill:#1f3652;stroke:#9cc3ee",
    "top": "fill:#3d628f;stroke:#9cc3ee", "dense": "fill:#574214;stroke:#e3b65a",
    "depthwise": "fill:#1f4a2a;stroke:#86d497", "rays": "fill:none;stroke:#e3b65a",
    "columns": "fill:none;stroke:#86d497", "flow": "fill:none;stroke:#aab2bd",
    "tip": "fill:#aab2bd;stroke:#aab2bd", "shortcut": "fill:none;stroke:#ff9a92",
    "shortcut-tip": "fill:#ff9a92;stroke:#ff9a92", "sum": "fill:#15181d;stroke:#ff9a92",
    "rule": "fill:none;stroke:#363c45",
}  # fmt: skip
"""Colours of the classes of shapes on dark paper."""


@dataclass(slots=True)
class Drawing:
    """Shapes that are drawn one over the other, on paper that grows downwards."""

    parts: list[Child] = field(default_factory=list)

    def add(self, name: str, class_: str, **attributes: str | float) -> None:
        """Add a shape.

        Args:
            name: name of the SVG element.
            class_: classes of :data:`LIGHT` that give its colours.
            attributes: its other attributes; numbers get at most two decimals.
        """
        texts = {
            key: value if isinstance(value, str) else coordinate(value)
            for key, value in attributes.items()
        }
        self.parts.append(element(name, attributes={"class": class_, **texts}))

    def text(
        self,
        lines: "list[str] | str",
        x: float,
        y: float,
        width: float,
        size: float = BODY,
        bold: bool = False,
        soft: bool = False,
        middle: bool = False,
    ) -> float:
        """Add text, broken into lines that are not wider than ``width``.

        Args:
            lines: paragraphs.
            x: left end of the lines; with ``middle``, their centre.
            y: top of the first line.
            width: largest width of a line.
            size: font size.
            bold: True for bold letters.
            soft: True for grey letters.
            middle: True to centre the lines.

        Returns:
            The bottom of the last line.
        """
        class_ = " ".join(["soft" if soft else "text", *["bold"] * bold])
        for paragraph in [lines] if isinstance(lines, str) else lines:
            for line in broken(paragraph, size, width, bold):
                anchor = "middle" if middle else None
                self.parts.append(
                    element(
                        "text", line, class_=class_, x=x, y=y + size * ASCENT, font_size=size,
                        text_anchor=anchor,
                    )
                )  # fmt: skip
                y += size * LEADING
        return y

    def path(self, class_: str, *points: tuple[float, float], closed: bool = True) -> None:
        """Add a polygon, or with ``closed`` False a line, through points."""
        steps = "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
        self.add("path", class_, d=f"M{steps}{'Z' * closed}")

    def slab(self, x: float, y: float, width: float, height: float, depth: float) -> None:
        """Add a slab that stands for a feature map, seen obliquely.

        Args:
            x: left end of the front.
            y: top of the back, ``depth`` above that of the front.
            width: width of the front, for the channels.
            height: height of the front, for the rows of the map.
            depth: upward shift of the back, for the columns of the map.
        """
        right, shift, top = x + width, depth * SLANT, y + depth
        self.path("top", (x, top), (x + shift, y), (right + shift, y), (right, top))
        self.path(
            "side", (right, top), (right + shift, y), (right + shift, y + height),
            (right, top + height),
        )  # fmt: skip
        self.add("rect", "front", x=x, y=top, width=width, height=height)

    def arrow(
        self, *points: tuple[float, float], class_: str = "flow", dashed: bool = False
    ) -> None:
        """Add a line through points with the tip of an arrow at the last one."""
        (x0, y0), (x, y) = points[-2:]
        self.path(f"{class_}{' dashed' * dashed}", *points, closed=False)
        tip = "tip" if class_ == "flow" else f"{class_}-tip"
        if x0 == x:
            back = y - 6 if y > y0 else y + 6
            self.path(tip, (x, y), (x - 3.5, back), (x + 3.5, back))
        else:
            back = x - 6 if x > x0 else x + 6
            self.path(tip, (x, y), (back, y - 3.5), (back, y + 3.5))

    def arc(self, left: float, right: float, y: float, height: float, dashed: bool = False) -> None:
        """Add an arc of a height over a block's symbol, for its shortcut, with a tip at its end."""
        top = y - height / 0.75  # a cubic curve rises to three quarters of its control points
        start, first, second, end = (
            f"{coordinate(x)} {coordinate(to)}"
            for x, to in ((left, y), (left, top), (right, top), (right, y))
        )
        self.add("path", f"shortcut{' dashed' * dashed}", d=f"M{start}C{first} {second} {end}")
        self.path("shortcut-tip", (right, y), (right - 2.5, y - 4), (right + 2, y - 4.5))

    def symbol(self, text: str, x: float, y: float, size: float = BODY) -> None:
        """Add a short text with its centre at a point."""
        self.text(
            text, x, y - size * 0.62, text_width(text, size) + 1, size, middle=True
        )  # a letter's middle is 0.33 of the font size above the base line

    def svg(self, title: str, description: str, height: float) -> str:
        """Return the SVG file.

        Args:
            title: name of the diagram, for screen readers and tooltips.
            description: everything that the diagram shows, in words.
            height: height of the diagram in pixels.
        """
        style = Markup(_style())
        paper = element("rect", class_="paper", width=WIDTH, height=height, rx=8.0)
        inside = [element("style", style), paper, *self.parts]
        # Several diagrams on a page need different ids.
        digest = hashlib.sha256("".join([title, description, *map(str, inside)]).encode())
        name = f"mobilenetv2-{digest.hexdigest()[:12]}"
        made = element(
            "svg",
            "\n", element("title", title.replace("\u00a0", " "), id=f"{name}-title"),
            "\n", element("desc", description.replace("\u00a0", " "), id=f"{name}-desc"),
            [("\n", one) for one in inside], "\n",
            xmlns="http://www.w3.org/2000/svg", class_=CLASS, role="img",
            viewBox=f"0 0 {coordinate(WIDTH)} {coordinate(height)}", width=WIDTH, height=height,
            attributes={"aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"},
        )  # fmt: skip
        return f"{made}\n"


def _style() -> str:
    """Return the rules of the style, each for this diagram only."""
    shared = {
        "": f"font-family:{FONTS};max-width:100%;height:auto", " .bold": "font-weight:600",
        " path": "stroke-linejoin:round", " .flow": "stroke-width:1.5",
        " .shortcut": "stroke-width:2", " .sum": "stroke-width:2",
        " .dashed": "stroke-dasharray:4 3", " .rays": "stroke-width:.6;opacity:.75",
        " .columns": "stroke-width:1",
    }  # fmt: skip
    rules = [f".{CLASS}{selector}{{{rule}}}" for selector, rule in shared.items()]
    light, dark = (
        [f".{CLASS} .{name}{{{rule}}}" for name, rule in colours.items()]
        for colours in (LIGHT, DARK)
    )
    return "".join([*rules, *light, f"@media(prefers-color-scheme:dark){{{''.join(dark)}}}"])
