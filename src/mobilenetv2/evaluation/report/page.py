"""The report of an evaluation: one HTML page, and a folder with page, plots and JSON."""

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
from mobilenetv2.progress import say
from mobilenetv2.text import json_text, line, listed, percent

Maps = Callable[[NDArray], NDArray]
"""Function from images of the network's size, uint8 (batch, height, width, channels), to the last
feature map before pooling, float32 (batch, height', width', k)."""
BATCH = 8
"""Number of images in a batch for Grad-CAM."""
LARGEST = 208
"""Longer side of a thumbnail in pixels."""
MISTAKES, MORE, UNSURE = 12, 24, 12
"""Numbers of shown errors, of errors that can be unfolded, and of unsure correct answers."""
PAGE, FIGURES = "report.html", "metrics.json"
CONFUSION, CLASSES, MISTAKEN = "confusion.png", "classes.png", "mistakes.png"
CURVES, RELIABILITY = "curves.png", "reliability.png"
PLOTS = (CURVES, CONFUSION, CLASSES, RELIABILITY, MISTAKEN)
MATRIX = "confusion"
"""Key of the confusion matrix in the JSON file, which has a line for each row."""
PRIVATE = (
    "Photos, their names and the paths of files are left out of this report, so that it can be "
    "shared."
)
"""Note on a private report."""
ON_THE_SHEET = 24
"""Largest number of photos in ``mistakes.png``."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """The parts of a network that Grad-CAM needs."""

    maps: Maps
    weights: Callable[[NDArray, int], NDArray]
    """Function from (feature map of an image, class) to weights, float (k,), as
    :func:`evaluation.gradcam.class_weights`."""


def write_page(
    path: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (), seconds: float | None = None, steps: Sequence[str] = (),
    private: bool = False,
) -> RunRecord | None:  # fmt: skip
    """Write the report as one HTML file.

    Args:
        path: the HTML file.
        result: the result of the evaluation.
        source: the model folder or file. If it is in a run folder, the page also has the run's
            curves, recipe and splits. Default: none.
        explainer: the parts for Grad-CAM. Default: no Grad-CAM.
        notes: notes above the figures. Default: none.
        seconds: duration of the training. Default: the sum of its epochs.
        steps: advice on what to do next. Default: advice on classes that need more photos.
        private: leave out photos, their names and paths, and notes with paths; names of classes
            stay. Default: False.

    Returns:
        The records of the run around the model; None without a run.

    Raises:
        ImageError: a photo can no longer be read.
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
        ("unsure", "Least confident correct answers", None if private else _unsure(result)),
        ("data", "Data", facts.data(result, run)),
        ("recipe", "Recipe", facts.recipe(run, seconds, private) if run else None),
        ("model", "Model", facts.model(result.config, source, result.how, private)),
        ("environment", "Environment", definitions(facts.environment())),
    ]  # fmt: skip
    kept = [(key, title, body) for key, title, body in sections if body is not None]
    size = result.config.size
    title = run.name if run else Path(result.model).name or result.model
    place = "" if private else f" of {result.data}"
    sub = (
        f"{facts.network_words(result.config)} at {size[0]} x {size[1]} pixels · "
        f"{split_words(result.split.name)}{place}"
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
        "Figures of each epoch on the training split and the validation split. The validation "
        "loss is temperature-scaled. The dashed line marks the checkpoint that was kept: the one "
        "with the lowest validation loss."
    )
    if run.rows[0]["epoch"] == 0:
        text += (
            " Epoch 0 is the new classifier before the whole network was trained. Its training "
            "figures are on photos without augmentation, those of later epochs on augmented photos."
        )
    return [element("p", text, class_="soft"), training_curves(run.rows)]


def _classes(result: Result) -> Child:
    text = (
        "Recall is the share of a class's photos that the model found; the line is its 95% "
        "interval. Precision is the share of the answers with this class that are correct."
    )
    metrics = result.metrics
    if metrics.labels:
        text += (
            " The threshold of each class is a probability of 50%. F1 is the harmonic mean of "
            "recall and precision. Average precision summarises all thresholds."
        )
    return [element("p", text, class_="soft"), class_table(metrics.classes, bool(metrics.labels))]


def _confusion(result: Result) -> Child:
    if result.predictions.several:
        return None
    return confusion_table(result.metrics.confusion, result.predictions.names)


def _calibration(result: Result) -> Child:
    now = result.calibration
    text = (
        "The confidence is the probability of the answer. Of the answers with a confidence of "
        "90%, about 90% should be correct: then the dots are on the diagonal. The calibration "
        "error is the mean distance of the dots from the diagonal, weighted by their numbers of "
        f"{now.noun}s (15 bins)."
    )
    if now.decisions:
        text += " A decision is the answer yes or no for one class of one photo."
    brier = "-" if math.isnan(now.brier) else f"{now.brier:.3f}"
    more = (
        f"With equal numbers of {now.noun}s in each bin, the calibration error is "
        f"{percent(now.mass_error)}. The Brier score is {brier}."
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
        return element("p", "There are no errors.", class_="lead")
    text = (
        "Wrong answers with their probability, the highest first. Some may be photos in the wrong "
        "class folder. "
        + (
            "Beside each photo, bright colours mark the parts that support the answer (Grad-CAM)."
            if explainer
            else "There are no Grad-CAM images, since the runtime has no access to feature maps."
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
    text = "Correct answers with their probability, the lowest first."
    return [element("p", text, class_="soft"), gallery(result, answers, None)]


def write_report(
    folder: Path, result: Result, source: Path | None = None, explainer: Explainer | None = None,
    notes: Sequence[str] = (), private: bool = False,
) -> None:  # fmt: skip
    """Write the page, the plots and the metrics as JSON into an existing folder.

    The page is written first, since it fails if a photo was removed. Plots of an older report are
    removed. Without matplotlib there are no plots, and a note is printed. The arguments are those
    of :func:`write_page`; ``private`` applies to all files.
    """
    run = write_page(folder / PAGE, result, source, explainer, notes, private=private)
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    try:
        draw_plots(folder, result, explainer, private)
        if run and run.rows:
            plots.curves(run.rows, folder / CURVES)
    except MissingExtra as error:
        say(f"note: the report has no PNG files: {error}")
    figures = result.to_dict()
    if private:
        figures |= {"model": Path(result.model).name, "data": None}
    write_atomically(folder / FIGURES, figures_json(figures))


def figures_json(figures: Mapping[str, object]) -> str:
    """Return readable JSON, with one line for each row of the confusion matrix."""
    lines = []
    for key, value in figures.items():
        if key == MATRIX and isinstance(value, list):
            rows = ",\n  ".join(json_text(row, separators=(",", ":")) for row in value)
            text = f"[\n  {rows}\n ]"
        else:
            text = json_text(value, indent=1).replace("\n", "\n ")
        lines.append(f" {json_text(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def draw_plots(
    folder: Path, result: Result, explainer: Explainer | None = None, private: bool = False
) -> None:
    """Draw ``confusion.png``, ``classes.png``, ``reliability.png`` and ``mistakes.png``.

    The confusion matrix has the classes with photos or answers; it is not drawn if photos may have
    several classes. Nothing is drawn for missing errors.

    Args:
        folder: folder of the PNG files.
        result: the result of the evaluation.
        explainer: the parts for Grad-CAM beside each error. Default: no Grad-CAM.
        private: draw no ``mistakes.png``, and leave out the name of the data. Default: False.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    metrics, matrix = result.metrics, result.metrics.confusion
    if not result.predictions.several:
        met = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        names = [metrics.classes[index].name for index in met]
        what = split_words(result.split.name)
        what = what if private else f"{line(Path(result.data).name)}, {what}"
        title = f"{what}: {metrics.top1:.1%} top-1 accuracy (n = {metrics.images})"
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
        truth = listed([line(labels[index]) for index in one.truth], len(labels)) or "of no class"
        said = f"{line(labels[one.answer])[:18]} {percent(one.probability, 0)}"
        shown.append((image, f"is {truth[:22]}\n{said}"))
    title = "Most confident errors: true class, answer with its probability"
    plots.contact_sheet(shown, folder / MISTAKEN, title, 3 if explainer else 6)


def images(result: Result, answers: Sequence[Answer]) -> list[NDArray]:
    """Return the photos of answers at the network's size, uint8 (height, width, channels)."""
    split, record = result.split, result.config.preprocessing
    photos = [split.photos[answer.photo] for answer in answers]
    return [split.picture(photo, record) for photo in photos]


def gallery(result: Result, answers: Sequence[Answer], explainer: Explainer | None) -> Markup:
    """Return a figure for each photo; with an explainer, with the Grad-CAM of the answer."""
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
    """Return images with the heat map of a class over each, uint8 (height, width, 3)."""
    overlaid: list[NDArray] = []
    for start in range(0, len(shown), BATCH):
        maps = explainer.maps(np.stack(shown[start : start + BATCH]))
        for map_, image, class_ in zip(maps, shown[start:], classes[start:], strict=False):
            heat = gradcam.heat(map_, explainer.weights(map_, class_))
            overlaid.append(gradcam.overlay(_rgb(image), heat))
    return overlaid


def beside(shown: Sequence[NDArray], classes: Sequence[int], explainer: Explainer) -> list[NDArray]:
    """Return images with their heat map on the right of each, uint8 (height, width, 3)."""
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
        alt = f"the same photo with a heat map of the evidence for {said}"
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
