"""A chart's frame as SVG: scales, grid, ticks. Colours come from the page's style."""

import math
from dataclasses import dataclass, field

from mobilenetv2.evaluate.report.html import Child, Markup, element, number

WIDTH, HEIGHT = 360.0, 236.0
"""Units of a chart, about pixels on a telephone: its letters are legible there."""
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 12.0, 34.0


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers (1, 2 or 5 by a power of ten apart) that lie in [low, high]; at most ``most``.

    Args:
        whole: of things that are counted: none between two whole numbers.

    Raises:
        ValueError: not low < high, or not finite.
    """
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"no range: {low!r} to {high!r}")
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    if whole:
        power = max(1.0, power)
    for step in (1 * power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [index * step for index in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values of x and y lie in a chart."""

    x: tuple[float, float]
    y: tuple[float, float]
    """First and last value of each axis."""
    height: float = HEIGHT
    bottom: float = field(default=BOTTOM)
    """Room below the axis."""
    counts: bool = False
    """x counts something: only whole numbers are marked."""

    def across(self, value: float) -> float:
        """The place of a value of x."""
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        """The place of a value of y."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - self.bottom - share * (self.height - self.bottom - TOP)

    def axes(self, x_format: str, y_format: str, x_title: str) -> Markup:
        """Grid lines, ticks with their numbers (in Python's format), the title of x."""
        floor = self.height - self.bottom
        parts: list[Child] = []
        for value in ticks(*self.y):
            place = self.up(value)
            parts += [
                element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place),
                element(
                    "text", format(value, y_format), x=LEFT - 6, y=place + 3.5, text_anchor="end"
                ),
            ]  # fmt: skip
        for value in ticks(*self.x, whole=self.counts):
            parts.append(
                element(
                    "text", format(value, x_format), x=self.across(value), y=floor + 15,
                    text_anchor="middle",
                )
            )  # fmt: skip
        parts.append(element("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor))
        parts.append(
            element(
                "text", x_title, x=WIDTH - RIGHT, y=floor + 29, text_anchor="end",
                class_="title",
            )
        )  # fmt: skip
        return element("g", parts, class_="axes")

    def line(self, points: list[tuple[float, float]], class_: str) -> Markup:
        """Straight lines from point to point, where both are finite."""
        text, pen = [], "M"
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                text.append(f"{pen}{number(self.across(x))} {number(self.up(y))}")
                pen = "L"
            else:
                pen = "M"
        return element("path", class_=f"line {class_}", d="".join(text))


def svg(what: str, *children: Child, height: float = HEIGHT) -> Markup:
    """A chart; ``what`` says to those who cannot see it what it shows."""
    return element(
        "svg", children, role="img",
        attributes={"viewBox": f"0 0 {number(WIDTH)} {number(height)}", "aria-label": what},
    )  # fmt: skip
