"""Grad-CAM: the parts of an image that support a class, computed without backpropagation.

Only global pooling and linear layers follow the last feature map, so that the mean gradient of a
logit over the map is known. With one layer it is ``weight[class, k] / (height' * width')``. Then
Grad-CAM (Selvaraju et al., arXiv 1610.02391) is CAM (Zhou et al., arXiv 1512.04150) except for the
constant, which scaling removes. With hidden layers, the gradient passes through the units that are
active for the image.
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
"""Every sixteenth colour of the colour map 'plasma' (S. van der Walt and N. Smith, CC0). It is
perceptually uniform, its lightness increases, and it suits all kinds of colour blindness."""
STRONGEST = 0.6
"""Opacity of the colour for a heat of 1; the image stays visible."""
GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luma (ITU-R BT.601)."""
BOUNDS = {None: (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
"""Activation -> interval in which its derivative is 1."""
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
    """Third with the centre: 'upper left', 'right', 'centre' ...; 'nowhere' without heat."""


def class_weights(spec: NetworkSpec, arrays: Arrays, maps: NDArray, index: int) -> NDArray:
    """Return the gradient of a class's logit with respect to the pooled features.

    Args:
        spec: the network.
        arrays: the canonical arrays of the classifier.
        maps: the last feature map of one image, float (height', width', k).
        index: index of the class. A single logit is that of the second class; the first class has
            its negative.

    Returns:
        The gradient, float64 (k,).
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
    """Return the heat map of a class: the positive part of the weighted sum of channels, scaled.

    Args:
        maps: the last feature map of one image, after its activation and before pooling, float
            (height', width', k).
        weight: weights from :func:`class_weights`, float (k,).

    Returns:
        Heat map with a maximum of 1, float32 (height', width'); all zeros if no part supports the
        class or the feature map is not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        evidence = maps.astype(np.float64) @ weight.astype(np.float64)
    positive = np.where(evidence > 0, evidence, 0.0)
    largest = positive.max()
    if not 0 < largest < np.inf:
        return np.zeros(positive.shape, np.float32)
    return np.asarray(positive / largest, np.float32)


def overlay(picture: NDArray, heat: NDArray) -> NDArray:
    """Return an image in grey with a heat map in colour: dark violet is low, bright yellow high.

    Args:
        picture: the image, uint8 (height, width, 3).
        heat: the heat map, of any size, float (height', width') from 0 to 1.

    Returns:
        The drawing, uint8 (height, width, 3).
    """
    height, width = picture.shape[:2]
    strength = enlarge_smoothly(heat, height, width)[..., None]
    share = STRONGEST * strength
    mixed = (1 - share) * (picture @ GREY)[..., None] + share * colours(strength[..., 0])
    return np.asarray(np.rint(mixed), np.uint8)


def colours(values: NDArray) -> NDArray:
    """Return the colours of values from 0 to 1: float32 (..., 3) from 0 to 255."""
    steps = np.linspace(0, 1, len(COLOURS))
    parts = [np.interp(values, steps, COLOURS[:, channel]) for channel in range(3)]
    return np.stack(parts, -1).astype(np.float32)


def whereabouts(heat: NDArray) -> Whereabouts:
    """Return the place of a heat map, float (height', width'), on the image."""
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
    """Return the share of each cell in each third, float (3, cells)."""
    edges = np.arange(THIRDS + 1) * cells / THIRDS
    places = np.arange(cells)
    begin, end = edges[:-1, None], edges[1:, None]
    return np.asarray(np.clip(np.minimum(end, places + 1) - np.maximum(begin, places), 0, 1))
