"""Figures of each class: recall as a dot with a whisker, in a table that can be sorted."""

import math
from collections.abc import Sequence

from mobilenetv2.evaluate.metrics import ClassFigures
from mobilenetv2.evaluate.report.html import Child, Markup, element

MOST = 40
"""Classes that are shown at once; the better ones can be opened."""
HEAD = ("class", "photos", "recall", "", "precision")


def classes(rows: Sequence[ClassFigures]) -> Markup:
    """The worst first; classes without photos are left out."""
    found = sorted((row for row in rows if row.photos), key=lambda row: (row.recall, -row.photos))
    parts: list[Child] = [_table(found[:MOST])]
    if found[MOST:]:
        better = len(found) - MOST
        summary = element("summary", f"{better} better class{'es' if better > 1 else ''}")
        parts.append(element("details", summary, _table(found[MOST:])))
    return element("div", parts)


def dot(value: float, interval: tuple[float, float], what: str) -> Markup:
    """A share with its 95% interval between 0 and 1, as wide as there is room."""
    low, high = interval
    said = f"{what} {value:.1%} (95% interval {low:.1%} to {high:.1%})"
    place = f"{value:.2%}"
    return element(
        "svg", element("title", said),
        element("line", class_="grid", x1="0%", x2="100%", y1="50%", y2="50%"),
        element("line", class_="whisker", x1=f"{low:.2%}", x2=f"{high:.2%}", y1="50%", y2="50%"),
        element("circle", class_="dot", cx=place, cy="50%", r="5"),
        class_="dots", role="img", attributes={"aria-label": said},
    )  # fmt: skip


def _table(rows: Sequence[ClassFigures]) -> Markup:
    head = [element("th", name, scope="col") for name in HEAD]
    return element(
        "table", element("thead", element("tr", head)),
        element("tbody", [_row(row) for row in rows]), class_="classes sortable",
    )  # fmt: skip


def _row(row: ClassFigures) -> Markup:
    named = not math.isnan(row.precision)
    low, high = row.precision_interval
    return element(
        "tr",
        element("th", row.name, scope="row"),
        element("td", str(row.photos), class_="n"),
        element("td", dot(row.recall, row.recall_interval, "recall"), class_="wide"),
        element("td", f"{row.recall:.0%}", class_="n", data_value=f"{row.recall:.6f}"),
        element(
            "td", f"{row.precision:.0%}" if named else "-", class_="n",
            title=f"95% interval {low:.0%} to {high:.0%}" if named else "never answered",
            data_value=f"{row.precision if named else -1:.6f}",
        ),
    )  # fmt: skip
