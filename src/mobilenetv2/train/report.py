"""What a finished run shows: the page and the pictures of its held-out photos."""

from functools import partial
from pathlib import Path

from mobilenetv2.errors import SpecError
from mobilenetv2.evaluate.gradcam import class_weights
from mobilenetv2.evaluate.report.gallery import Explainer
from mobilenetv2.evaluate.report.page import draw_plots, write_page
from mobilenetv2.evaluate.report.result import Result
from mobilenetv2.runtime.predictor import load_feature_map
from mobilenetv2.train.record import RunFolder


def show(run: RunFolder, result: Result, seconds: float) -> None:
    """Write ``report.html`` and the PNG files.

    Args:
        seconds: that training took.
    """
    explainer = explainer_of(run.best)
    write_page(run.report, result, run.best, explainer, seconds=seconds)
    draw_plots(run.path, result, explainer)


def explainer_of(model: Path) -> Explainer | None:
    """What draws Grad-CAM; None for networks that no engine here has."""
    try:
        found = load_feature_map(model)
    except SpecError:
        return None
    return Explainer(found.maps, partial(class_weights, found.config.spec, found.arrays))
