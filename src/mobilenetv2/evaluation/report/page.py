"""The report: one HTML page that needs no other file, and a folder of it with plots and JSON."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import __version__
from mobilenetv2.errors import MissingExtra
from mobilenetv2.evaluation import gradcam, plots
from mobilenetv2.evaluation.report import facts
from mobilenetv2.evaluation.report.charts import (
    calibration_verdict,
    reliability_diagram,
    training_curves,
)
from mobilenetv2.evaluation.report.html import (
    Child,
    Markup,
    definitions,
    document,
    element,
    resource,
)
from mobilenetv2.evaluation.report.result import Answer, Result
from mobilenetv2.evaluation.report.tables import class_table, confusion_table, headline
from mobilenetv2.evaluation.report.words import class_advice, split_words
from mobilenetv2.evaluation.run_record import RunRecord, read_run
from mobilenetv2.files import write_atomically
from mobilenetv2.images.display import SMALL, data_url
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.card import kind
from mobilenetv2.progress import say
from mobilenetv2.text import listed, percent

Maps = Callable[[NDArray], NDArray]
"""uint8 images (batch, height, width, channels) at the network's size -> the last feature map
before pooling, float32 (batch, height', width', k)."""
BATCH = 8
LARGEST = 208
"""Pixels of a thumbnail's longer side."""
MISTAKES, MORE, UNSURE = 12, 24, 12
"""Mistakes that are shown, further ones that can be opened, right answers that were unsure."""
PAGE, FIGURES = "report.html", "metrics.json"
CONFUSION, CLASSES, MISTAKEN = "confusion.png", "classes.png", "mistakes.png"
CURVES, RELIABILITY = "curves.png", "reliability.png"
PLOTS = (CURVES, CONFUSION, CLASSES, RELIABILITY, MISTAKEN)
MATRIX = "confusion"
"""The key of the figures whose rows get a line each."""
PRIVATE = (
    "Photos, their names and the places of files are left out of this report, so that it can be "
    "shared."
)
ON_THE_SHEET = 24
"""Photos on the sheet of mistakes."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """The parts of a network that Grad-CAM needs."""

    maps: Maps
    weights: Callable[[NDArray, int], NDArray]
    """(feature map of an image, class) -> float (k,): :func:`evaluation.gradcam.class_weights`."""


def write_page(
    path: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (), seconds: float | None = None, steps: Sequence[str] = (),
    private: bool = False,
) -> RunRecord | None:  # fmt: skip
    """Write the report as one HTML file.

    Args:
        source: the model's folder or file. Where it lies in a run folder, so does what the run
            says: curves, recipe, split.
        explainer: for Grad-CAM; without one the page says that there is none.
        notes: sentences that a reader should know before the figures.
        seconds: that training took; None is the sum of its epochs.
        steps: sentences on what to do next; without any, the classes that need photos are named.
        private: leave photos, their names and the places of files out, and say so. Notes that
            name a place are left out, too. Names of classes stay.

    Returns:
        The run around the model.

    Raises:
        ImageError: a photo in it cannot be read any more.
    """
    run = read_run(source) if source else None
    hidden = element("p", PRIVATE, class_="soft")
    sections: list[tuple[str, str, Child]] = [
        ("next", "What to do next", _next(steps or [class_advice(result.metrics)])),
        ("training", "Training", _training(run)),
        ("classes", "Classes", _classes(result)),
        ("confusion", "Confusion", _confusion(result)),
        ("calibration", "Calibration", _calibration(result)),
        (
            "mistakes", "Most confident errors",
            hidden if private else _mistakes(result, explainer),
        ),
        ("unsure", "Right, but unsure", None if private else _unsure(result)),
        ("data", "Data", facts.data(result, run)),
        ("recipe", "Recipe", facts.recipe(run, seconds, private) if run else None),
        ("model", "Model", facts.model(result.config, source, result.how, private)),
        ("environment", "Environment", definitions(facts.environment())),
    ]  # fmt: skip
    kept = [(key, title, body) for key, title, body in sections if body is not None]
    spec = result.config.spec
    title = run.name if run else Path(result.model).name or result.model
    place = "" if private else f" of {result.data}"
    sub = (
        f"{kind(spec)} of width {spec.width:g} at {spec.size[0]} x "
        f"{spec.size[1]} pixels · {split_words(result.split.name)}{place}"
    )
    links = [element("a", title, href=f"#{key}") for key, title, _ in kept]
    script = resource("sort.js")
    told = [note for note in notes if not (private and _names_a_place(note, result))]
    body = element(
        "body",
        element("header", element("h1", title), element("p", sub, class_="soft")),
        [element("p", note, class_="note") for note in [*told, *([PRIVATE] if private else [])]],
        headline(result),
        element("nav", links),
        [element("section", element("h2", title), body, id=key) for key, title, body in kept],
        element("footer", f"mobilenetv2 {__version__}, {date.today().isoformat()}"),
        element("script", Markup(script)),
    )
    page = document(f"{title}: {result.metrics.accuracy:.1%}", body, script=script)
    write_atomically(path, page)
    return run


def _next(steps: Sequence[str]) -> Markup:
    return element("ul", [element("li", step) for step in steps], class_="next")


def _names_a_place(note: str, result: Result) -> bool:
    return "/" in note or "\\" in note or result.split.source.place in note


def _training(run: RunRecord | None) -> Child:
    if not run or not run.rows:
        return None
    text = (
        "By epoch, on the training split and on the validation split, whose loss is "
        "temperature-scaled. The dashed line is the checkpoint that was kept: the one with the "
        "lowest validation loss."
    )
    if run.rows[0]["epoch"] == 0:
        text += (
            " Epoch 0 is the new classifier before the network moved; its training figures are of "
            "photos as they are, those of later epochs of augmented ones."
        )
    return [element("p", text, class_="soft"), training_curves(run.rows)]


def _classes(result: Result) -> Child:
    text = (
        "Recall: how many of a class's photos were found, the line is its 95% interval. Precision: "
        "how many photos of that answer were right."
    )
    metrics = result.metrics
    if metrics.labels:
        text += (
            " Each class is decided by itself, at a probability of 50%. F1 is the harmonic mean of "
            "the two; average precision takes every threshold into account."
        )
    return [element("p", text, class_="soft"), class_table(metrics.classes, bool(metrics.labels))]


def _confusion(result: Result) -> Child:
    if result.predictions.several:
        return None
    return confusion_table(result.metrics.confusion, result.predictions.names)


def _calibration(result: Result) -> Child:
    now = result.calibration
    text = (
        "Answers given with 90%, say, should be right nine times out of ten: then the dots lie on "
        "the diagonal. The calibration error is their mean distance from it, weighted by "
        f"{now.noun}s (15 bins)."
    )
    if now.decisions:
        text += " A decision is the yes or no to one class of one photo."
    brier = "-" if math.isnan(now.brier) else f"{now.brier:.3f}"
    more = (
        f"With bins of equally many {now.noun}s the error is {percent(now.mass_error)}; the Brier "
        f"score is {brier}."
    )
    charts = [reliability_diagram(title, one) for title, one in result.calibrations()]
    return [
        element("p", calibration_verdict(now), class_="lead"),
        element("p", text, class_="soft"),
        element("div", charts, class_=f"charts {'two' if len(charts) == 2 else 'one'}"),
        element("p", more, class_="soft"),
    ]  # fmt: skip


def _mistakes(result: Result, explainer: Explainer | None) -> Child:
    errors = result.most_confident_errors(MISTAKES + MORE)
    if not errors:
        return element("p", "There are none.", class_="lead")
    text = (
        "Wrong answers with their probability, the highest first; wrong labels show up here, too. "
        + (
            "Beside each photo, as the network saw it, what speaks for its answer glows (Grad-CAM)."
            if explainer
            else "There are no Grad-CAM images: what ran the network does not give its feature "
            "maps."
        )
    )  # fmt: skip
    parts: list[Child] = [
        element("p", text, class_="soft"), gallery(result, errors[:MISTAKES], explainer)
    ]  # fmt: skip
    rest = errors[MISTAKES:]
    if rest:
        summary = element("summary", f"{len(rest)} more")
        parts.append(element("details", summary, gallery(result, rest, explainer)))
    return parts


def _unsure(result: Result) -> Child:
    answers = result.least_sure(UNSURE)
    if not answers:
        return None
    text = "Photos that were named right with the least probability."
    return [element("p", text, class_="soft"), gallery(result, answers, None)]


def write_report(
    folder: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (), private: bool = False,
) -> None:  # fmt: skip
    """Write the page, the plots and the figures as JSON into an existing folder.

    The page comes first, for it fails where a photo is gone; the figures come last. Plots of an
    older report go, even where there is no new one. Without matplotlib there are no PNG files, and
    a person is told. Arguments as for :func:`write_page`; ``private`` leaves photos and places out
    of all files.
    """
    run = write_page(folder / PAGE, result, source, explainer, notes, private=private)
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    try:
        draw_plots(folder, result, explainer, private)
        if run and run.rows:
            plots.curves(run.rows, folder / CURVES)
    except MissingExtra as error:
        say(f"note: no PNG files: {error}")
    figures = result.to_dict()
    if private:
        figures |= {"model": Path(result.model).name, "data": None}
    write_atomically(folder / FIGURES, figures_json(figures))


def figures_json(figures: Mapping[str, object]) -> str:
    """Return JSON for people, too: a line for each value, and one for each row of the matrix, which
    has a million numbers where there are a thousand classes."""
    lines = []
    for key, value in figures.items():
        if key == MATRIX and isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in value)
            text = f"[\n  {rows}\n ]"
        else:
            text = json.dumps(value, indent=1).replace("\n", "\n ")
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def draw_plots(
    folder: Path, result: Result, explainer: Explainer | None = None, private: bool = False
) -> None:
    """Draw ``confusion.png`` of the classes that have photos or were answered (none where a photo
    may have several), ``classes.png`` of those that have photos, ``reliability.png``, and
    ``mistakes.png``, each with Grad-CAM beside it where there is an explainer.

    Args:
        private: draw no ``mistakes.png``, and name no data.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    metrics, matrix = result.metrics, result.metrics.confusion
    if not result.predictions.several:
        met = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        names = [metrics.classes[index].name for index in met]
        what = split_words(result.split.name)
        what = what if private else f"{Path(result.data).name}, {what}"
        title = f"{what}: {metrics.top1:.1%} of {metrics.images}"
        plots.confusion(matrix[np.ix_(met, met)], names, folder / CONFUSION, title)
    rows = [(row.name, row.recall, row.recall_interval) for row in metrics.classes if row.photos]
    plots.per_class(rows, folder / CLASSES)
    plots.reliability(result.calibrations(), folder / RELIABILITY)
    errors = result.most_confident_errors(ON_THE_SHEET)
    if not errors or private:
        return
    photos, labels = images(result, errors), result.predictions.names
    if explainer:
        photos = beside(photos, [error.answer for error in errors], explainer)
    shown = []
    for image, one in zip(photos, errors, strict=True):
        truth = listed([labels[index] for index in one.truth], len(labels)) or "of no class"
        said = f"{labels[one.answer][:18]} {percent(one.probability, 0)}"
        shown.append((image, f"is {truth[:22]}\n{said}"))
    title = "Most confident errors: what it is, what was answered"
    plots.contact_sheet(shown, folder / MISTAKEN, title, 3 if explainer else 6)


def images(result: Result, answers: Sequence[Answer]) -> list[NDArray]:
    """Return the photos at the network's size: uint8 (height, width, channels)."""
    split, record = result.split, result.config.preprocessing
    photos = [split.photos[answer.photo] for answer in answers]
    return [preprocess(split.image(photo), record, split.full_name(photo)) for photo in photos]


def gallery(result: Result, answers: Sequence[Answer], explainer: Explainer | None) -> Markup:
    """Return one figure a photo; with an explainer, its Grad-CAM for the answer beside it."""
    shown = images(result, answers)
    glowing: list[NDArray | None] = [None] * len(shown)
    if explainer:
        glowing = list(overlays(shown, [answer.answer for answer in answers], explainer))
    figures = [
        _figure(result, answer, image, glow)
        for answer, image, glow in zip(answers, shown, glowing, strict=True)
    ]
    return element("div", figures, class_=f"gallery {'pairs' if explainer else 'single'}")


def overlays(
    shown: Sequence[NDArray], classes: Sequence[int], explainer: Explainer
) -> list[NDArray]:
    """Return each image with the Grad-CAM of a class over it: uint8 (height, width, 3)."""
    overlaid: list[NDArray] = []
    for start in range(0, len(shown), BATCH):
        maps = explainer.maps(np.stack(shown[start : start + BATCH]))
        for map_, image, class_ in zip(maps, shown[start:], classes[start:], strict=False):
            heat = gradcam.heat(map_, explainer.weights(map_, class_))
            overlaid.append(gradcam.overlay(_rgb(image), heat))
    return overlaid


def beside(shown: Sequence[NDArray], classes: Sequence[int], explainer: Explainer) -> list[NDArray]:
    """Return each image with its overlay on its right: uint8 (height, width, 3)."""
    pairs = []
    for image, glow in zip(shown, overlays(shown, classes, explainer), strict=True):
        height, width = image.shape[:2]
        between = np.full((height, max(1, width // 32), 3), 255, np.uint8)
        pairs.append(np.hstack((_rgb(image), between, glow)))
    return pairs


def _figure(result: Result, answer: Answer, image: NDArray, glow: NDArray | None) -> Markup:
    names = result.predictions.names
    name = result.split.photos[answer.photo].name
    small = "pixels" if max(image.shape[:2]) < SMALL else None
    is_, said = listed([names[index] for index in answer.truth], len(names)), names[answer.answer]
    images = [
        element("img", src=data_url(_rgb(image), LARGEST), alt=f"a photo of {is_}", class_=small)
    ]
    if glow is not None:
        alt = f"the same, what speaks for {said} glows"
        images.append(element("img", src=data_url(glow, LARGEST), alt=alt, class_=small))
    sure = percent(answer.probability, 0)
    if answer.right:
        caption: list[Child] = [element("b", is_), f" · {sure} sure"]
    else:
        how = "missed " if answer.answer in answer.truth else "answered "
        caption = [how, element("b", said, class_="wrong"), f" {sure}", element("br")]
        caption += ["is ", element("b", is_ or "of no class")]
        caption += [] if math.isnan(answer.of_truth) else [f" {percent(answer.of_truth, 0)}"]
    return element(
        "figure",
        element("div", images, class_="images"),
        element(
            "figcaption", caption, element("span", element("bdi", name), class_="file", title=name)
        ),
    )


def _rgb(image: NDArray) -> NDArray:
    return np.repeat(image, 3, 2) if image.shape[2] == 1 else image
