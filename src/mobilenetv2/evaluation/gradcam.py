"""Grad-CAM: the places on an image that speak for a class, computed without gradients.

Behind the last feature map are global pooling and linear layers, so that the mean gradient of a
logit over the map is known: with one layer ``weight[class, k] / (height' * width')``. Grad-CAM
(Selvaraju et al., arXiv 1610.02391) is then CAM (Zhou et al., arXiv 1512.04150) but for the
constant, which vanishes when the heat is scaled. Behind hidden layers the weights are those of the
units that the picture makes active.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.images.display import enlarge_smoothly
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec

COLOURS = np.array([
    (13, 8, 135), (49, 5, 150), (76, 2, 161), (102, 0, 167), (126, 3, 168), (149, 17, 162),
    (169, 35, 150), (187, 53, 135), (203, 71, 120), (217, 89, 106), (230, 108, 92), (240, 127, 79),
    (248, 148, 65), (253, 171, 51), (253, 195, 40), (249, 221, 37), (240, 249, 33),
], np.float32)  # fmt: skip
"""Every sixteenth colour of 'plasma' (S. van der Walt and N. Smith, public domain under CC0): equal
steps look equal, lightness always grows, and it reads the same with any kind of colour blindness.
"""
STRONGEST = 0.6
"""Opacity of the colour where the heat is 1; the image stays visible under it."""
GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma (ITU-R BT.601)."""
BOUNDS = {None: (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
"""Activation -> the interval in which it passes its input on unchanged."""
POOLS: dict[str, Callable[..., NDArray]] = {"average": np.mean, "max": np.max}
THIRDS = 3
WORDS = (("upper", "", "lower"), ("left", "", "right"))
"""Names of the thirds by row, then by column."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The place of heat on an image, in fractions of its height and width."""

    centre: tuple[float, float] | None
    """Centre of mass of the heat: (from the top, from the left), 0 to 1; None without heat."""
    rows: tuple[float, ...]
    """Shares of the heat in the upper, middle and lower third."""
    columns: tuple[float, ...]
    """Shares of the heat in the left, middle and right third."""
    words: str
    """Third that holds the centre: 'upper left', 'right', 'centre' ...; 'nowhere' without heat."""


def class_weights(spec: NetworkSpec, arrays: Arrays, maps: NDArray, index: int) -> NDArray:
    """Return the gradient of a class's logit by the pooled features.

    Args:
        arrays: the canonical arrays of the classifier.
        maps: float (height', width', k): the last feature map of one picture.
        index: index of the class. One logit speaks for the second class and against the first.

    Returns:
        float64 (k,).
    """
    *hidden, last = resolve(spec).linears
    values = maps.astype(np.float64)
    values = POOLS[spec.classifier.pooling](values, (0, 1))
    active = []
    for layer in hidden:
        values = arrays[f"{layer.name}.weight"] @ values + arrays.get(f"{layer.name}.bias", 0.0)
        low, high = BOUNDS[layer.activation]
        active.append((low < values) & (values < high))
        values = np.clip(values, low, high)
    weight = arrays[f"{last.name}.weight"].astype(np.float64)
    gradient = (2 * index - 1) * weight[0] if spec.classifier.outputs == "logit" else weight[index]
    for layer, on in zip(reversed(hidden), reversed(active), strict=True):
        gradient = (gradient * on) @ arrays[f"{layer.name}.weight"]
    return np.asarray(gradient)


def heat(maps: NDArray, weight: NDArray) -> NDArray:
    """Return the heat of a class: the positive part of the weighted sum of the maps, scaled.

    Args:
        maps: float (height', width', k): the last feature map of one picture, after its activation
            and before it is pooled.
        weight: float (k,) from :func:`class_weights`.

    Returns:
        float32 (height', width') with a maximum of 1; zeros where nothing speaks for the class or
        the maps are not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        evidence = maps.astype(np.float64) @ weight.astype(np.float64)
    positive = np.where(evidence > 0, evidence, 0.0)
    largest = positive.max()
    if not 0 < largest < np.inf:
        return np.zeros(positive.shape, np.float32)
    return np.asarray(positive / largest, np.float32)


def overlay(picture: NDArray, heat: NDArray) -> NDArray:
    """Draw heat over an image: dark violet is low, bright yellow is high.

    The image is drawn in grey, so that every colour is heat. Both have any size: uint8 (height,
    width, 3) and float (height', width') from 0 to 1.
    """
    height, width = picture.shape[:2]
    strength = enlarge_smoothly(heat, height, width)[..., None]
    share = STRONGEST * strength
    mixed = (1 - share) * (picture @ GREY)[..., None] + share * colours(strength[..., 0])
    return np.asarray(np.rint(mixed), np.uint8)


def colours(values: NDArray) -> NDArray:
    """Map values, float (...) from 0 to 1, to colours, float32 (..., 3) from 0 to 255."""
    steps = np.linspace(0, 1, len(COLOURS))
    parts = [np.interp(values, steps, COLOURS[:, channel]) for channel in range(3)]
    return np.stack(parts, -1).astype(np.float32)


def whereabouts(heat: NDArray) -> Whereabouts:
    """Return the place of heat, float (height', width') from 0, each cell an even rectangle."""
    total = float(heat.sum(dtype=np.float64))
    if total <= 0:
        return Whereabouts(None, (0.0,) * THIRDS, (0.0,) * THIRDS, "nowhere")
    centre, shares, words = [], [], []
    for axis, names in enumerate(WORDS):
        share = heat.sum(1 - axis, dtype=np.float64) / total
        middle = float(share @ (np.arange(len(share)) + 0.5) / len(share))
        centre.append(middle)
        shares.append(tuple(map(float, _thirds(len(share)) @ share)))
        words.append(names[min(int(middle * THIRDS), THIRDS - 1)])
    return Whereabouts(
        (centre[0], centre[1]), shares[0], shares[1], " ".join(filter(None, words)) or "centre"
    )


def _thirds(cells: int) -> NDArray:
    """Return (3, cells): the part of each cell that lies in each third."""
    edges = np.arange(THIRDS + 1) * cells / THIRDS
    places = np.arange(cells)
    begin, end = edges[:-1, None], edges[1:, None]
    return np.asarray(np.clip(np.minimum(end, places + 1) - np.maximum(begin, places), 0, 1))
