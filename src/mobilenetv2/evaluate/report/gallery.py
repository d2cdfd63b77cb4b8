"""Photos with their answers: as the network saw them, and where it looked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.evaluate import gradcam
from mobilenetv2.evaluate.report.html import Child, Markup, element
from mobilenetv2.evaluate.report.result import Answer, Result
from mobilenetv2.images.display import SMALL, data_url
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.text import listed, percent

Maps = Callable[[NDArray], NDArray]
"""uint8 pictures (batch, height, width, channels) at the network's size -> the last feature map
before pooling, float32 (batch, height', width', k)."""
BATCH = 8
LARGEST = 208
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """The parts of a network that Grad-CAM needs."""

    maps: Maps
    weights: Callable[[NDArray, int], NDArray]
    """(feature map of a picture, class) -> float (k,), as :func:`gradcam.class_weights`."""


def pictures(result: Result, answers: Sequence[Answer]) -> list[NDArray]:
    """Return the photos at the network's size: uint8 (height, width, channels)."""
    split, record = result.split, result.config.preprocessing
    photos = [split.photos[answer.photo] for answer in answers]
    return [preprocess(split.image(photo), record, split.full_name(photo)) for photo in photos]


def gallery(result: Result, answers: Sequence[Answer], explainer: Explainer | None) -> Markup:
    """Return one figure a photo; with an explainer, its Grad-CAM for the answer beside it."""
    shown = pictures(result, answers)
    glowing: list[NDArray | None] = [None] * len(shown)
    if explainer:
        glowing = list(overlays(shown, [answer.answer for answer in answers], explainer))
    figures = [
        _figure(result, answer, picture, glow)
        for answer, picture, glow in zip(answers, shown, glowing, strict=True)
    ]
    return element("div", figures, class_=f"gallery {'pairs' if explainer else 'single'}")


def overlays(
    shown: Sequence[NDArray], classes: Sequence[int], explainer: Explainer
) -> list[NDArray]:
    """Return each picture with the Grad-CAM of a class over it: uint8 (height, width, 3)."""
    found: list[NDArray] = []
    for start in range(0, len(shown), BATCH):
        maps = explainer.maps(np.stack(shown[start : start + BATCH]))
        for map_, picture, class_ in zip(maps, shown[start:], classes[start:], strict=False):
            heat = gradcam.heat(map_, explainer.weights(map_, class_))
            found.append(gradcam.overlay(_rgb(picture), heat))
    return found


def beside(shown: Sequence[NDArray], classes: Sequence[int], explainer: Explainer) -> list[NDArray]:
    """Return each picture with its overlay on its right: uint8 (height, width, 3)."""
    found = []
    for picture, glow in zip(shown, overlays(shown, classes, explainer), strict=True):
        height, width = picture.shape[:2]
        between = np.full((height, max(1, width // 32), 3), 255, np.uint8)
        found.append(np.hstack((_rgb(picture), between, glow)))
    return found


def _figure(result: Result, answer: Answer, picture: NDArray, glow: NDArray | None) -> Markup:
    names = result.predictions.names
    name = result.split.photos[answer.photo].name
    small = "pixels" if max(picture.shape[:2]) < SMALL else None
    is_, said = listed([names[index] for index in answer.truth], len(names)), names[answer.answer]
    images = [
        element("img", src=data_url(_rgb(picture), LARGEST), alt=f"a photo of {is_}", class_=small)
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


def _rgb(picture: NDArray) -> NDArray:
    return np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture
