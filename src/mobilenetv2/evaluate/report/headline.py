"""The figure that counts, in words, and the others beside it."""

import math

from mobilenetv2.evaluate.metrics import Metrics
from mobilenetv2.evaluate.report.classes import dot
from mobilenetv2.evaluate.report.html import Markup, element
from mobilenetv2.evaluate.report.reliability import share
from mobilenetv2.evaluate.report.result import Result

SHOWN = 2
"""Names of classes that are found equally seldom; of three, one is 'more'."""


def headline(result: Result) -> Markup:
    """Top-1 with its interval, then smaller figures."""
    metrics, calibration = result.metrics, result.calibration
    low, high = metrics.top1_interval
    right = round(metrics.top1 * metrics.images)
    cards = [
        ("photos", f"{metrics.images:,}", f"of {result.split.name}"),
        ("top-5", f"{metrics.top5:.1%}", "the truth is among five"),
        ("loss", "-" if math.isnan(metrics.loss) else f"{metrics.loss:.3f}", "cross-entropy"),
        ("calibration error", share(calibration.error), "0% is perfect"),
    ]
    if result.config.spec.classes <= 5:
        del cards[1]  # five of five are always enough
    return element(
        "section",
        element(
            "div",
            element("p", f"{metrics.top1:.1%}", class_="figure"),
            element("div", dot(metrics.top1, metrics.top1_interval, "top-1"), class_="gauge"),
            element("div", element("span", "0%"), element("span", "100%"), class_="ends"),
            class_="top1",
        ),
        element(
            "div",
            element(
                "p", element("b", f"It is right on {right:,} of {metrics.images:,} photos."),
                f" From so many one can tell that its true accuracy lies between {low:.1%} and "
                f"{high:.1%} (95% interval).", class_="lead",
            ),
            element("p", weakest(metrics), class_="lead"),
            class_="said",
        ),
        element(
            "div",
            [
                element(
                    "div", element("b", value), element("span", name), element("small", what),
                    class_="card",
                )
                for name, value, what in cards
            ],
            class_="cards",
        ),
        class_="headline",
    )  # fmt: skip


def weakest(metrics: Metrics) -> str:
    """'It finds outwear least often: 18 of 24, the others most often taken for longsleeve.'"""
    rows = [(i, row) for i, row in enumerate(metrics.classes) if row.photos]
    least = min(row.recall for _, row in rows)
    if least == 1:
        return "Every class was always found."
    worst = [(index, row) for index, row in rows if row.recall == least]
    if len(worst) > 1:
        names = [row.name for _, row in worst[:SHOWN]]
        more = len(worst) - len(names)
        others = f"{', '.join(names)} and {more} more" if more else " and ".join(names)
        return f"It finds {others} least often: {least:.0%} of their photos."
    ((index, row),) = worst
    answers = metrics.confusion[index].copy()
    found, answers[index] = int(answers[index]), -1
    taken = metrics.classes[int(answers.argmax())].name
    rest = "the other it takes" if row.photos - found == 1 else "the others it takes mostly"
    return f"It finds {row.name} least often: {found:,} of {row.photos:,}; {rest} for {taken}."
