"""The reliability diagram: how often answers of each confidence are right."""

import math

from mobilenetv2.evaluate.calibration import Calibration
from mobilenetv2.evaluate.report.charts import BOTTOM, LEFT, TOP, Frame, svg
from mobilenetv2.evaluate.report.html import Child, Markup, element

HEIGHT, ROOM = 336.0, 38.0
"""Of the diagram, and of the counts of photos below it."""
MEAN = 0.01
"""A smaller difference of confidence and accuracy is not worth a word."""


def diagram(title: str, calibration: Calibration) -> Markup:
    """Dots with 95% whiskers against the diagonal, and below how many photos each stands for."""
    frame = Frame((0.0, 1.0), (0.0, 1.0), HEIGHT, ROOM + BOTTOM)
    parts: list[Child] = [
        frame.line([(0, 0), (1, 1)], "diagonal"),
        frame.axes(".0%", ".0%", "what it says"),
    ]
    most = max(row.photos for row in calibration.bins)
    floor = frame.height - 2
    for row in calibration.bins:
        if not row.photos or math.isnan(row.confidence):
            continue
        low, high = (frame.up(value) for value in row.interval)
        place = frame.across(row.confidence)
        said = (
            f"{row.photos} {'photo' if row.photos == 1 else 'photos'} answered with "
            f"{row.low:.0%} to {row.high:.0%}: it says {row.confidence:.1%} on average and is "
            f"right on {row.accuracy:.1%} (95% interval {row.interval[0]:.0%} to "
            f"{row.interval[1]:.0%})"
        )
        left, right = frame.across(row.low), frame.across(row.high)
        tall = max(1.5, 26 * row.photos / most)
        gap = (frame.up(row.confidence), frame.up(row.accuracy))
        parts.append(
            element(
                "g", element("title", said),
                element("line", class_="whisker", x1=place, x2=place, y1=low, y2=high),
                element("line", class_="gap", x1=place, x2=place, y1=gap[0], y2=gap[1]),
                element(
                    "circle", class_="dot", cx=place, cy=gap[1],
                    r=2.5 + 4 * math.sqrt(row.photos / most),
                ),
                element(
                    "rect", class_="count", x=left + 1, width=right - left - 2, y=floor - tall,
                    height=tall,
                ),
            )
        )  # fmt: skip
    parts += [
        element("text", "photos", x=LEFT - 6, y=floor, text_anchor="end"),
        element("text", "is right", x=LEFT + 6, y=TOP + 10),
    ]
    return element(
        "figure",
        element(
            "figcaption", element("b", title),
            element("span", f"error {share(calibration.error)}", class_="keys"),
        ),
        svg("reliability: accuracy by confidence", parts, height=HEIGHT),
        class_="reliability",
    )  # fmt: skip


def words(calibration: Calibration) -> str:
    """'On average it says 83.9% and is right on 92.1%: 8.2 points too modest.'"""
    if math.isnan(calibration.confidence):
        return "It gave no numbers for some photos, so that nothing can be said."
    gap = calibration.confidence - calibration.accuracy
    if abs(gap) < MEAN:
        verdict = "well matched"
    else:
        verdict = f"{abs(100 * gap):.1f} points too {'sure of itself' if gap > 0 else 'modest'}"
    return (
        f"On average it says {calibration.confidence:.1%} and is right on "
        f"{calibration.accuracy:.1%}: {verdict}."
    )


def share(value: float) -> str:
    """'2.3%', or a dash where there is no figure."""
    return "-" if math.isnan(value) else f"{value:.1%}"
