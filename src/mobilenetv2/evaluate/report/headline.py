"""The figure that counts, in words, and the others beside it."""

import math
from collections.abc import Sequence

from mobilenetv2.evaluate.metrics import Metrics
from mobilenetv2.evaluate.report.classes import dot
from mobilenetv2.evaluate.report.html import Markup, element
from mobilenetv2.evaluate.report.reliability import share
from mobilenetv2.evaluate.report.result import SEEN, Result

SHOWN = 2
"""Names of classes of which the same is to be said; of three, one is 'more'."""


def headline(result: Result) -> Markup:
    """Top-1 with its interval, then smaller figures."""
    metrics, calibration = result.metrics, result.calibration
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
                f" {_means(result)}", class_="lead",
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


def _means(result: Result) -> str:
    low, high = result.metrics.top1_interval
    if result.split.name in SEEN:
        return (
            f"The 95% interval is {low:.1%} to {high:.1%}, but of photos that models are trained "
            "on or chosen by: on new ones it may be right less often."
        )
    return (
        f"From so many one can tell that its true accuracy lies between {low:.1%} and {high:.1%} "
        "(95% interval)."
    )


def weakest(metrics: Metrics) -> str:
    """'It finds outwear least often: 18 of 24, the others most often taken for longsleeve.'"""
    rows = [(i, row) for i, row in enumerate(metrics.classes) if row.photos]
    least = min(row.recall for _, row in rows)
    if least == 1:
        return f"Every class was always found in these {metrics.images:,} photos."
    worst = [(index, row) for index, row in rows if row.recall == least]
    if len(worst) > 1:
        others = _few([row.name for _, row in worst])
        return f"It finds {others} least often: {least:.0%} of their photos."
    ((index, row),) = worst
    answers = metrics.confusion[index].copy()
    found, answers[index] = int(answers[index]), -1
    most, missed = int(answers.max()), row.photos - found
    taken = [
        other.name for other, count in zip(metrics.classes, answers, strict=True) if count == most
    ]
    if missed == 1:
        rest = "the other it takes for"
    else:
        rest = f"the others it takes {'mostly' if 2 * most > missed else 'most often'} for"
    return f"It finds {row.name} least often: {found:,} of {row.photos:,}; {rest} {_few(taken)}."


def _few(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and 3 more'."""
    shown, more = names[:SHOWN], len(names) - SHOWN
    return f"{', '.join(shown)} and {more} more" if more > 0 else " and ".join(shown)
