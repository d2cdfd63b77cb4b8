"""Charts as SVG: training curves and reliability diagrams. The page's style has the colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mobilenetv2.evaluation.calibration import Calibration
from mobilenetv2.evaluation.report.html import Child, Markup, coordinate, element
from mobilenetv2.evaluation.run_record import Row, best_epoch
from mobilenetv2.text import counted, interval, percent

WIDTH, HEIGHT = 360.0, 236.0
"""Size of a chart, about that of a phone's screen in pixels, so that its text is legible there."""
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 12.0, 34.0
"""Margins of a chart."""
PARTS = {"train": "training", "selection": "validation"}
"""Split in ``metrics.csv`` -> name in a chart."""
MOST_DOTS = 60
"""Largest number of epochs with visible dots; with more, values show only under the pointer."""
MARGIN = 0.06
"""Space above and below a curve, as a share of its height."""
RELIABILITY_HEIGHT, COUNTS_HEIGHT = 336.0, 38.0
"""Heights of a reliability diagram, and of the counts below it."""
WELL_MATCHED = 0.01
"""Difference of confidence and accuracy below which the model is called well calibrated."""


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Return round numbers in [low, high] for an axis, 1, 2 or 5 times a power of ten apart.

    Args:
        low: start of the axis.
        high: end of the axis.
        most: largest number of ticks. Default: 6.
        whole: return only whole numbers, for counts. Default: False.

    Raises:
        ValueError: the range is empty or not finite.
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
    """The scales of a chart, from values to positions."""

    x: tuple[float, float]
    """First and last value of the x axis."""
    y: tuple[float, float]
    """First and last value of the y axis."""
    height: float = HEIGHT
    bottom: float = BOTTOM
    """Space below the x axis."""
    counts: bool = False
    """True if x is a count: only whole numbers get ticks."""

    def across(self, value: float) -> float:
        """Return the horizontal position of a value of x."""
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        """Return the vertical position of a value of y."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - self.bottom - share * (self.height - self.bottom - TOP)

    def axes(self, x_format: str, y_format: str, x_title: str) -> Markup:
        """Return grid lines, tick labels and the title of the x axis.

        Args:
            x_format: format of the x tick labels, such as '.0%'.
            y_format: format of the y tick labels.
            x_title: title of the x axis.
        """
        floor = self.height - self.bottom
        parts: list[Child] = []
        for value in ticks(*self.y):
            place = self.up(value)
            parts.append(_line("grid", (LEFT, WIDTH - RIGHT), (place, place)))
            parts.append(_text(format(value, y_format), LEFT - 6, place + 3.5, "end"))
        for value in ticks(*self.x, whole=self.counts):
            parts.append(_text(format(value, x_format), self.across(value), floor + 15, "middle"))
        parts.append(_line("axis", (LEFT, WIDTH - RIGHT), (floor, floor)))
        parts.append(_text(x_title, WIDTH - RIGHT, floor + 29, "end", "title"))
        return element("g", parts, class_="axes")

    def line(self, points: list[tuple[float, float]], class_: str) -> Markup:
        """Return a line through points, interrupted at points that are not finite."""
        text, pen = [], "M"
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                text.append(f"{pen}{coordinate(self.across(x))} {coordinate(self.up(y))}")
                pen = "L"
            else:
                pen = "M"
        return element("path", class_=f"line {class_}", d="".join(text))


def _line(class_: str, x: tuple[float, float], y: tuple[float, float], *inside: Child) -> Markup:
    return element("line", *inside, class_=class_, x1=x[0], x2=x[1], y1=y[0], y2=y[1])


def _text(
    text: str, x: float, y: float, anchor: str | None = None, class_: str | None = None
) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def svg(what: str, *children: Child, height: float = HEIGHT) -> Markup:
    """Return a chart; ``what`` describes it for screen readers."""
    return element(
        "svg", children, role="img",
        attributes={"viewBox": f"0 0 {coordinate(WIDTH)} {coordinate(height)}", "aria-label": what},
    )  # fmt: skip


def training_curves(rows: Sequence[Row]) -> Markup:
    """Return charts of top-1 accuracy, loss and learning rate by epoch; the best is marked."""
    best = best_epoch(rows)
    loss = {part: [row[f"{part}_loss"] for row in rows] for part in PARTS}
    right = {part: [row[f"{part}_top1"] for row in rows] for part in PARTS}
    rate = {"rate": [row["learning_rate"] for row in rows]}
    return element(
        "div",
        _curve_chart(rows, right, "Top-1 accuracy", ".0%", ".1%", best),
        _curve_chart(rows, loss, "Loss", "g", ".3f", best),
        _curve_chart(rows, rate, "Learning rate", "g", ".2g", best),
        class_="charts three",
    )


def _curve_chart(
    rows: Sequence[Row], series: Mapping[str, Sequence[float]], title: str, ticked: str,
    shown: str, best: float,
) -> Markup:  # fmt: skip
    epochs = [row["epoch"] for row in rows]
    finite = [v for values in series.values() for v in values if math.isfinite(v)] or [0.0]
    across = (min(epochs), max(epochs))
    if across[0] == across[1]:
        across = (across[0] - 0.5, across[1] + 0.5)
    frame = Frame(across, _range(finite), counts=True)
    parts: list[Child] = [frame.axes("g", ticked, "epoch")]
    place, floor = frame.across(best), frame.height - frame.bottom
    kept = element("title", f"epoch {best:g} was kept")
    parts.append(_line("best", (place, place), (TOP, floor), kept))
    for name, values in series.items():
        points = list(zip(epochs, values, strict=True))
        parts.append(frame.line(points, name))
        for epoch, value in points:
            if math.isfinite(value):
                said = (
                    f"epoch {epoch:g}: {PARTS[name] + ' ' if name in PARTS else ''}{value:{shown}}"
                )
                parts.append(
                    element(
                        "circle", element("title", said), cx=frame.across(epoch),
                        cy=frame.up(value), r=2.6 if len(rows) <= MOST_DOTS else 4.0,
                        class_=f"dot {name}" if len(rows) <= MOST_DOTS else "dot hidden",
                    )
                )  # fmt: skip
    last = [
        element(
            "span",
            f"{PARTS[name]} {values[-1]:{shown}}"
            if name in PARTS
            else f"maximum {max(finite):{shown}}",
            class_=f"key {name}",
        )
        for name, values in series.items()
    ]
    return element(
        "figure",
        element("figcaption", element("b", title), element("span", last, class_="keys")),
        svg(f"{title} by epoch", parts),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and last value of an axis for values."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-20):
        half = abs(low) * 0.1 or 0.5
        return low - half, high + half
    room = MARGIN * (high - low)
    low, high = low - room, high + room
    marks = ticks(low, high)
    # Extend the axis to the next grid line if it is close.
    step = marks[1] - marks[0] if len(marks) > 1 else 0.0
    return (marks[0] - step if marks[0] - step >= low - room else low), high


def reliability_diagram(title: str, calibration: Calibration) -> Markup:
    """Return a reliability diagram: accuracy by confidence with 95% intervals.

    The diagonal is perfect calibration. Bars below have the number of answers in each bin.
    """
    frame = Frame((0.0, 1.0), (0.0, 1.0), RELIABILITY_HEIGHT, COUNTS_HEIGHT + BOTTOM)
    parts: list[Child] = [
        frame.line([(0, 0), (1, 1)], "diagonal"),
        frame.axes(".0%", ".0%", "confidence"),
    ]
    most = max(row.count for row in calibration.bins)
    floor = frame.height - 2
    for row in calibration.bins:
        if not row.count or math.isnan(row.confidence):
            continue
        low, high = (frame.up(value) for value in row.interval)
        place = frame.across(row.confidence)
        said = (
            f"{counted(row.count, calibration.noun)} with a confidence of "
            f"{interval((row.low, row.high), 0)}: mean confidence {row.confidence:.1%}, accuracy "
            f"{row.accuracy:.1%} (95% interval {interval(row.interval, 0)})"
        )
        left, right = frame.across(row.low), frame.across(row.high)
        tall = max(1.5, 26 * row.count / most)
        gap = (frame.up(row.confidence), frame.up(row.accuracy))
        parts.append(
            element(
                "g", element("title", said),
                _line("whisker", (place, place), (low, high)),
                _line("gap", (place, place), gap),
                element(
                    "circle", class_="dot", cx=place, cy=gap[1],
                    r=2.5 + 4 * math.sqrt(row.count / most),
                ),
                element(
                    "rect", class_="count", x=left + 1, width=right - left - 2, y=floor - tall,
                    height=tall,
                ),
            )
        )  # fmt: skip
    parts += [
        _text(f"{calibration.noun}s", LEFT - 6, floor, "end"),
        _text("accuracy", LEFT + 6, TOP + 10),
    ]
    return element(
        "figure",
        element(
            "figcaption", element("b", title),
            element("span", f"calibration error {percent(calibration.error)}", class_="keys"),
        ),
        svg("reliability: accuracy by confidence", parts, height=RELIABILITY_HEIGHT),
        class_="reliability",
    )  # fmt: skip


def calibration_verdict(calibration: Calibration) -> str:
    """Return a sentence that compares mean confidence and accuracy.

    For example: 'The mean confidence is 83.9%, the accuracy 92.1%: the model is underconfident by
    8.2 points.'
    """
    if math.isnan(calibration.confidence):
        return "The model's output for some photos is not a number, so there is no calibration."
    gap = calibration.confidence - calibration.accuracy
    if abs(gap) < WELL_MATCHED:
        verdict = "well calibrated on average"
    else:
        verdict = (
            f"{'overconfident' if gap > 0 else 'underconfident'} by {abs(100 * gap):.1f} points"
        )
    return (
        f"The mean confidence is {calibration.confidence:.1%}, the accuracy "
        f"{calibration.accuracy:.1%}: the model is {verdict}."
    )
