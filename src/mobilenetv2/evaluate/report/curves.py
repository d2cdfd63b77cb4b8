"""Training curves: loss, top-1 and learning rate by epoch."""

import math
from collections.abc import Mapping, Sequence

from mobilenetv2.evaluate.epochs import Row, best_epoch
from mobilenetv2.evaluate.report.charts import Frame, svg, ticks
from mobilenetv2.evaluate.report.html import Child, Markup, element

PARTS = ("train", "selection")
MOST_DOTS = 60
"""Epochs. Of more, only the lines are seen; a value still shows under the pointer."""
MARGIN = 0.06
"""Room above and below a curve, as a share of its height."""


def curves(rows: Sequence[Row]) -> Markup:
    """Three charts; the best epoch is marked.

    Args:
        rows: of ``metrics.csv``, at least one.
    """
    best = best_epoch(rows)
    loss = {part: [row[f"{part}_loss"] for row in rows] for part in PARTS}
    right = {part: [row[f"{part}_top1"] for row in rows] for part in PARTS}
    rate = {"rate": [row["learning_rate"] for row in rows]}
    return element(
        "div",
        _chart(rows, right, "Top-1 accuracy", ".0%", ".1%", best),
        _chart(rows, loss, "Loss", "g", ".3f", best),
        _chart(rows, rate, "Learning rate", "g", ".2g", best),
        class_="charts three",
    )


def _chart(
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
    parts.append(
        element(
            "line", element("title", f"epoch {best:g} was kept"), class_="best", x1=place, x2=place,
            y1=12.0, y2=floor,
        )
    )  # fmt: skip
    for name, values in series.items():
        points = list(zip(epochs, values, strict=True))
        parts.append(frame.line(points, name))
        for epoch, value in points:
            if math.isfinite(value):
                said = f"epoch {epoch:g}: {name + ' ' if name in PARTS else ''}{value:{shown}}"
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
            f"{name} {values[-1]:{shown}}" if name in PARTS else f"at most {max(finite):{shown}}",
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
    """First and last value of an axis that shows all of them."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-20):
        half = abs(low) * 0.1 or 0.5
        return low - half, high + half
    room = MARGIN * (high - low)
    low, high = low - room, high + room
    marks = ticks(low, high)
    # A curve that nearly ends at a grid line may as well end at it.
    step = marks[1] - marks[0] if len(marks) > 1 else 0.0
    return (marks[0] - step if marks[0] - step >= low - room else low), high
