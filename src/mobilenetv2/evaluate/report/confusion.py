"""Which classes are taken for which: a matrix, and the most frequent confusions in a list."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluate.report.html import Child, Markup, element

MOST = 40
"""Classes of a matrix; of more, only the list is shown."""
PAIRS = 10


def confusion(matrix: NDArray, names: Sequence[str]) -> Markup:
    """Both, of the classes that have photos or were answered.

    Args:
        matrix: int (classes, classes): rows are the truth, columns the answers.
    """
    met = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    parts: list[Child] = []
    if len(met) <= MOST:
        parts.append(element("div", _matrix(matrix, met, names), class_="scroll"))
    else:
        parts.append(
            element("p", f"A matrix of {len(met)} classes would not be legible.", class_="soft")
        )
    found = pairs(matrix, PAIRS)
    if found:
        items = [
            element(
                "li", element("b", names[truth]), " taken for ", element("b", names[answer]),
                element("span", f"{count} of {of}", class_="n"),
            )
            for truth, answer, count, of in found
        ]  # fmt: skip
        title = element("h3", "Most frequent confusions")
        parts.append(element("div", title, element("ol", items, class_="confused")))
    return element("div", parts, class_="beside")


def pairs(matrix: NDArray, most: int) -> list[tuple[int, int, int, int]]:
    """(truth, answer, photos, of how many), the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    found = [divmod(int(place), len(matrix)) for place in order]
    return [
        (truth, answer, int(wrong[truth, answer]), int(matrix[truth].sum()))
        for truth, answer in found
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
    corner = element("td", "is ↓  answered →", class_="corner")
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
        title=f"{names[truth]}, answered {names[answer]}: {count} of {of} ({share:.0%})",
    )  # fmt: skip
