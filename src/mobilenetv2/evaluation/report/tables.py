"""The headline and tables of a report: accuracy, metrics of each class, confusions."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.data.layout import ALL
from mobilenetv2.evaluation.metrics import ClassFigures, Metrics
from mobilenetv2.evaluation.report.html import Child, Markup, element
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.report.words import expectation, first_sentence, split_words
from mobilenetv2.evaluation.run_record import SEEN
from mobilenetv2.text import counted, interval, listed, percent

MOST = 40
"""Largest number of classes in a table, which folds the others, and in a confusion matrix."""
PAIRS = 10
"""Largest number of confusions in the list."""
NAMED = 2
"""Largest number of class names in a sentence; others are counted."""


def headline(result: Result) -> Markup:
    """Return the headline of a report: accuracy with its interval, sentences, and other metrics."""
    metrics, labels = result.metrics, result.metrics.labels
    several = result.predictions.several
    photos = "photo" if result.split.name in (*SEEN, ALL) else "new photo"
    named = "exact match" if several else "top-1"
    loss = "binary cross-entropy" if labels else "cross-entropy"
    cards = [("photos", f"{metrics.images:,}", split_words(result.split.name))]
    if not several and len(result.predictions.names) > 5:  # five of five are always enough
        cards.append(("top-5", f"{metrics.top5:.1%}", "true class among the best five"))
    if labels:
        cards += [
            ("mAP", percent(labels.mean_average_precision), "mean average precision"),
            ("F1", percent(labels.macro_f1), "mean over classes"),
        ]
    if labels and not several:
        cards.append(("exact match", f"{labels.exact_match:.1%}", "all classes correct"))
    cards += [
        ("loss", "-" if math.isnan(metrics.loss) else f"{metrics.loss:.3f}", loss),
        ("calibration error", percent(result.calibration.error), "0% is perfect"),
    ]
    said = first_sentence(metrics, photos)
    if several:
        said += " Correct means that the decisions about all classes of a photo are correct."
    return element(
        "section",
        element(
            "div",
            element("p", f"{metrics.accuracy:.1%}", class_="figure"),
            element("div", dot(metrics.accuracy, metrics.accuracy_interval, named), class_="gauge"),
            element("div", element("span", "0%"), element("span", "100%"), class_="ends"),
            class_="top1",
        ),
        element(
            "div",
            element(
                "p", element("b", said), f" {_meaning(result)}", class_="lead",
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


def _meaning(result: Result) -> str:
    low, high = result.metrics.accuracy_interval
    if result.split.name in SEEN:
        return (
            f"The 95% interval is {interval((low, high))}. The model was trained or selected with "
            "such photos, so its accuracy on new photos may be lower."
        )
    return expectation(result.metrics)


def weakest(metrics: Metrics) -> str:
    """Return a sentence about the class with the lowest recall and its confusions.

    For example: 'The class with the lowest recall is outwear: 18 of 24 photos; the others are
    mostly confused with shirt.'
    """
    rows = [(i, row) for i, row in enumerate(metrics.classes) if row.photos]
    if not rows:
        return "No photo is of any class."
    least = min(row.recall for _, row in rows)
    if least == 1:
        return f"All classes were found in all of these {metrics.images:,} photos."
    worst = [(index, row) for index, row in rows if row.recall == least]
    if len(worst) > 1:
        others = listed([row.name for _, row in worst], NAMED)
        return f"The classes with the lowest recall are {others}: {least:.0%} of their photos."
    ((index, row),) = worst
    right = round(row.recall * row.photos)
    missed = row.photos - right
    text = (
        f"The class with the lowest recall is {row.name}: {right:,} of "
        f"{counted(row.photos, 'photo')}"
    )
    if metrics.labels:  # there are no confusions between classes
        return f"{text}."
    answers = metrics.confusion[index].copy()
    answers[index] = -1
    most = int(answers.max())
    taken = [
        other.name for other, count in zip(metrics.classes, answers, strict=True) if count == most
    ]
    if missed == 1:
        rest = "the other is confused with"
    else:
        rest = f"the others are {'mostly' if 2 * most > missed else 'most often'} confused with"
    return f"{text}; {rest} {listed(taken, NAMED)}."


def class_table(figures: Sequence[ClassFigures], labels: bool = False) -> Markup:
    """Return the table of metrics of the classes with photos, the lowest recall first.

    Args:
        figures: metrics of the classes.
        labels: add the metrics of 'sigmoid' outputs. Default: False.
    """
    rows = sorted((row for row in figures if row.photos), key=lambda row: (row.recall, -row.photos))
    parts: list[Child] = [_class_rows(rows[:MOST], labels)]
    if rows[MOST:]:
        summary = element("summary", counted(len(rows) - MOST, "better class"))
        parts.append(element("details", summary, _class_rows(rows[MOST:], labels)))
    return element("div", parts)


def dot(value: float, bounds: tuple[float, float], what: str) -> Markup:
    """Return a drawing of a share with its 95% interval between 0 and 1, in full width.

    Args:
        value: the share.
        bounds: the interval.
        what: name of the share.
    """
    low, high = bounds
    said = f"{what} {value:.1%} (95% interval {interval(bounds)})"
    place = f"{value:.2%}"
    return element(
        "svg", element("title", said),
        element("line", class_="grid", x1="0%", x2="100%", y1="50%", y2="50%"),
        element("line", class_="whisker", x1=f"{low:.2%}", x2=f"{high:.2%}", y1="50%", y2="50%"),
        element("circle", class_="dot", cx=place, cy="50%", r="5"),
        class_="dots", role="img", attributes={"aria-label": said},
    )  # fmt: skip


def _class_rows(rows: Sequence[ClassFigures], labels: bool) -> Markup:
    more = ("F1", "average precision") if labels else ()
    names = ("class", "photos", "recall", "", "precision", *more)
    head = [element("th", name, scope="col") for name in names]
    return element(
        "table", element("thead", element("tr", head)),
        element("tbody", [_class_row(row, labels) for row in rows]), class_="classes sortable",
    )  # fmt: skip


def _class_row(row: ClassFigures, labels: bool) -> Markup:
    named = not math.isnan(row.precision)
    why = f"95% interval {interval(row.precision_interval, 0)}" if named else "no such answers"
    return element(
        "tr",
        element("th", row.name, scope="row"),
        element("td", str(row.photos), class_="n"),
        element("td", dot(row.recall, row.recall_interval, "recall"), class_="wide"),
        _share(row.recall),
        _share(row.precision, why),
        [_share(row.f1), _share(row.average_precision)] if labels else None,
    )


def _share(value: float, title: str | None = None) -> Markup:
    order = f"{-1 if math.isnan(value) else value:.6f}"
    return element("td", percent(value, 0), class_="n", title=title, data_value=order)


def confusion_table(matrix: NDArray, names: Sequence[str]) -> Markup:
    """Return the confusion matrix and the list of the most frequent confusions.

    Args:
        matrix: int (classes, classes): rows are true classes, columns answers. Classes without
            photos and answers are left out.
        names: names of the classes.
    """
    met = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    parts: list[Child] = []
    if len(met) <= MOST:
        parts.append(element("div", _matrix(matrix, met, names), class_="scroll"))
    else:
        parts.append(
            element(
                "p",
                f"There is no matrix: with {len(met)} classes it would not be legible.",
                class_="soft",
            )
        )
    pairs = confusions(matrix, PAIRS)
    if pairs:
        items = [
            element(
                "li", element("b", names[truth]), " confused with ", element("b", names[answer]),
                element("span", f"{count} of {of}", class_="n"),
            )
            for truth, answer, count, of in pairs
        ]  # fmt: skip
        title = element("h3", "Most frequent confusions")
        parts.append(element("div", title, element("ol", items, class_="confused")))
    return element("div", parts, class_="beside")


def confusions(matrix: NDArray, most: int) -> list[tuple[int, int, int, int]]:
    """Return the confusions as (true class, answer, confused photos, photos of the true class).

    The most frequent come first.

    Args:
        matrix: the confusion matrix, int (classes, classes).
        most: largest number of confusions.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(place), len(matrix)) for place in order]
    return [
        (truth, answer, int(wrong[truth, answer]), int(matrix[truth].sum()))
        for truth, answer in cells
        if wrong[truth, answer]
    ]


def _matrix(matrix: NDArray, met: NDArray, names: Sequence[str]) -> Markup:
    head = [
        element("th", element("span", names[index]), scope="col", title=names[index])
        for index in met
    ]
    rows = [
        element(
            "tr", element("th", names[truth], scope="row", title=names[truth]),
            [_cell(matrix, truth, answer, names) for answer in met],
        )
        for truth in met
    ]  # fmt: skip
    corner = element("td", "true ↓  answer →", class_="corner")
    return element(
        "table", element("thead", element("tr", corner, head)), element("tbody", rows),
        class_="confusion",
    )  # fmt: skip


def _cell(matrix: NDArray, truth: int, answer: int, names: Sequence[str]) -> Markup:
    count, of = int(matrix[truth, answer]), int(matrix[truth].sum())
    if not count:
        return element("td")
    share = count / of
    kind = "right" if truth == answer else "wrong"
    return element(
        "td", str(count), class_=f"{kind}{' strong' if share > 0.55 else ''}",
        style=f"--share:{max(share, 0.06):.3f}",
        title=f"true {names[truth]}, answer {names[answer]}: {count} of {of} ({share:.0%})",
    )  # fmt: skip


def count_table(columns: Mapping[str, Mapping[str, int]], names: Sequence[str]) -> Markup:
    """Return a table of the number of photos of each class, with bars.

    Args:
        columns: title of a column, such as a split -> class -> number of photos.
        names: names of the classes, a row each.
    """
    head = [element("th", "class"), [element("th", title) for title in columns]]
    largest = {title: max(1, *column.values()) for title, column in columns.items()}
    rows = []
    for name in names:
        counts = {title: column.get(name, 0) for title, column in columns.items()}
        cells = [
            element(
                "td", f"{count:,}" if count else "-", class_="n bar",
                style=f"--share:{count / largest[title]:.3f}",
            )
            for title, count in counts.items()
        ]  # fmt: skip
        rows.append(element("tr", element("th", name, scope="row"), cells))
    sums = [element("td", f"{sum(column.values()):,}", class_="n") for column in columns.values()]
    rows.append(element("tr", element("th", "all", scope="row"), sums, class_="sum"))
    table = element(
        "table", element("thead", element("tr", head)), element("tbody", rows), class_="counts"
    )  # fmt: skip
    return element("div", table, class_="scroll")
