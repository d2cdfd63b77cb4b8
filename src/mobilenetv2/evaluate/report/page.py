"""The page: every section in order, its style and script inside, nothing fetched."""

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mobilenetv2.evaluate.report import facts, result
from mobilenetv2.evaluate.report.classes import classes
from mobilenetv2.evaluate.report.confusion import confusion
from mobilenetv2.evaluate.report.curves import curves
from mobilenetv2.evaluate.report.document import document, resource
from mobilenetv2.evaluate.report.environment import environment
from mobilenetv2.evaluate.report.gallery import Explainer, gallery
from mobilenetv2.evaluate.report.headline import headline
from mobilenetv2.evaluate.report.html import Child, Markup, element
from mobilenetv2.evaluate.report.reliability import diagram, share, words
from mobilenetv2.evaluate.report.result import Result
from mobilenetv2.evaluate.report.run_record import RunRecord, read
from mobilenetv2.files import write_atomically
from mobilenetv2.model.card import kind
from mobilenetv2.version import __version__

MISTAKES, MORE, UNSURE = 12, 24, 12
"""Mistakes that are shown, further ones that can be opened, right answers that were unsure."""


def write_page(
    path: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (), seconds: float | None = None,
) -> None:  # fmt: skip
    """Write the report as one HTML file.

    Args:
        source: the model's folder or file. Where it lies in a run folder, so does what the run
            says: curves, recipe, split.
        explainer: for Grad-CAM; without one the page says that there is none.
        notes: sentences that a reader should know before the figures.
        seconds: that training took; None is the sum of its epochs.

    Raises:
        ImageError: a photo that is to be shown cannot be read any more.
    """
    run = read(source) if source else None
    write_atomically(path, page(result, run, source, explainer, notes, seconds))


def page(
    result: Result, run: RunRecord | None, source: Path | None, explainer: Explainer | None,
    notes: Sequence[str], seconds: float | None,
) -> str:  # fmt: skip
    """The whole file. Arguments as for :func:`write_page`."""
    names = result.config.labels.names
    sections: list[tuple[str, str, Child]] = [
        ("training", "Training", _training(run)),
        ("classes", "Classes", _classes(result)),
        ("confusion", "Confusion", confusion(result.metrics.confusion, names)),
        ("calibration", "Calibration", _calibration(result)),
        ("mistakes", "Surest mistakes", _mistakes(result, explainer)),
        ("unsure", "Right, but unsure", _unsure(result)),
        ("data", "Data", facts.data(result, run)),
        ("recipe", "Recipe", facts.recipe(run, seconds) if run else None),
        ("model", "Model", facts.model(result.config, source, result.how)),
        ("environment", "Environment", facts.pairs(environment())),
    ]
    kept = [(key, title, body) for key, title, body in sections if body is not None]
    spec = result.config.spec
    title = run.name if run else Path(result.model).name or result.model
    sub = (
        f"{kind(spec).removeprefix('A ')} of width {spec.width:g} at {spec.size[0]} x "
        f"{spec.size[1]} pixels · {result.split.name} of {result.data}"
    )
    links = [element("a", title, href=f"#{key}") for key, title, _ in kept]
    script = resource("sort.js")
    body = element(
        "body",
        element("header", element("h1", title), element("p", sub, class_="soft")),
        [element("p", note, class_="note") for note in notes],
        headline(result),
        element("nav", links),
        [element("section", element("h2", title), body, id=key) for key, title, body in kept],
        element("footer", f"mobilenetv2 {__version__}, {date.today().isoformat()}"),
        element("script", Markup(script)),
    )
    return document(f"{title}: {result.metrics.top1:.1%}", body, script=script)


def _training(run: RunRecord | None) -> Child:
    if not run or not run.rows:
        return None
    text = (
        "By epoch, on the photos trained on and on those held out for selection. The dashed line "
        "is the epoch that was kept. The loss of selection is the one at the temperature that "
        "suits each epoch."
    )
    if run.rows[0]["epoch"] == 0:
        text += (
            " Epoch 0 is the new classifier before the network moved; its training figures are of "
            "photos as they are, those of later epochs of augmented ones."
        )
    return [element("p", text, class_="soft"), curves(run.rows)]


def _classes(result: Result) -> Child:
    text = (
        "Recall: how many of a class's photos were found, the line is its 95% interval. Precision: "
        "how many photos of that answer were right."
    )
    return [element("p", text, class_="soft"), classes(result.metrics.classes)]


def _calibration(result: Result) -> Child:
    now = result.calibration
    text = (
        "Whether answers of, say, 90% are right nine times out of ten: then the dots lie on the "
        "diagonal. The calibration error is their mean distance from it, weighted by photos "
        "(15 bins)."
    )
    brier = "-" if math.isnan(now.brier) else f"{now.brier:.3f}"
    more = (
        f"With bins of equally many photos the error is {share(now.mass_error)}; the Brier score "
        f"is {brier}."
    )
    charts = [diagram(title, one) for title, one in result.calibrations()]
    return [
        element("p", words(now), class_="lead"),
        element("p", text, class_="soft"),
        element("div", charts, class_=f"charts {'two' if len(charts) == 2 else 'one'}"),
        element("p", more, class_="soft"),
    ]  # fmt: skip


def _mistakes(result_: Result, explainer: Explainer | None) -> Child:
    found = result.surest_mistakes(result_.answers, MISTAKES + MORE)
    if not found:
        return element("p", "There are none.", class_="lead")
    text = (
        "Wrong answers with their probability, the surest first; wrong labels show up here, too. "
        + (
            "Beside each photo, as the network saw it, what speaks for its answer glows (Grad-CAM)."
            if explainer
            else "There are no Grad-CAM pictures: what ran the network does not give its feature "
            "maps."
        )
    )  # fmt: skip
    parts: list[Child] = [
        element("p", text, class_="soft"), gallery(result_, found[:MISTAKES], explainer)
    ]  # fmt: skip
    rest = found[MISTAKES:]
    if rest:
        summary = element("summary", f"{len(rest)} more")
        parts.append(element("details", summary, gallery(result_, rest, explainer)))
    return parts


def _unsure(result_: Result) -> Child:
    found = result.least_sure(result_.answers, UNSURE)
    if not found:
        return None
    text = "Photos that were named right with the least probability."
    return [element("p", text, class_="soft"), gallery(result_, found, None)]
