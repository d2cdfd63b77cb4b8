"""Pairs of pictures laid over each other, so that a crop is told from another subject.

Lucas and Kanade's steps (B. D. Lucas, T. Kanade 1981, IJCAI) for a shift and a scale of each axis,
which is all that cropping and resizing do, towards the greatest correlation (G. D. Evangelidis,
E. Z. Psarakis 2008, IEEE TPAMI 30(10)), which a change of brightness or contrast leaves alone.
"""

import numpy as np
from numpy.typing import NDArray

STEPS = 8
LEAST_COMMON = 0.6
"""Share of the picture that both must show."""
FURTHEST = 0.3
"""A shift and scale beyond this (1: half a side) is no slight crop, and would fit anything."""
LONGEST_STEP = 0.1
AT_ONCE = 64
"""Pairs computed together: more leave the caches."""


def align(
    first: NDArray, second: NDArray, start: NDArray | None = None, steps: int = STEPS
) -> tuple[NDArray, NDArray]:
    """The correlation of each pair at its best, and where that is.

    Args:
        first: any number type (pairs, side, side, channels).
        second: the same shape, moved over the first.
        start: float (pairs, 2, 2) to begin from; none is no movement.

    Returns:
        (float32 (pairs,) from -1 to 1, float32 (pairs, 2, 2): shift and scale along x, then along
        y, in halves of a side).
    """
    found = [
        _align(
            first[at : at + AT_ONCE].astype(np.float32),
            second[at : at + AT_ONCE].astype(np.float32),
            None if start is None else start[at : at + AT_ONCE],
            steps,
        )
        for at in range(0, len(first), AT_ONCE)
    ]
    if not found:
        return np.zeros(0, np.float32), np.zeros((0, 2, 2), np.float32)
    return np.concatenate([one for one, _ in found]), np.concatenate([two for _, two in found])


def smooth(pictures: NDArray) -> NDArray:
    """Each pixel with its neighbours, weighted 1 2 1 along both axes: float32, the same shape.

    Interpolating between pixels blurs; what is blurred already changes less by it.
    """
    edges = ((0, 0), (1, 1), (1, 1), (0, 0))
    values: NDArray = np.pad(pictures.astype(np.float32), edges, "edge")
    values = (values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]) / 4
    result: NDArray = (values[:, :, :-2] + 2 * values[:, :, 1:-1] + values[:, :, 2:]) / 4
    return result


def _align(
    first: NDArray, second: NDArray, start: NDArray | None, steps: int
) -> tuple[NDArray, NDArray]:
    pairs, side, _, channels = first.shape
    places = (np.arange(side, dtype=np.float32) * 2 - (side - 1)) / side
    x, y = np.tile(places, side), np.repeat(places, side)  # each pixel's place, from -1 to 1
    target = first.reshape(pairs, side * side, channels)
    moved: NDArray = np.zeros((pairs, 2, 2), np.float32)
    if start is not None:
        moved = start.astype(np.float32)
    best, where = np.full(pairs, -1, np.float32), moved.copy()
    for step in range(steps + 1):
        values, slope_x, slope_y, common = _shift(second, moved, x, y)
        wanted, _ = _normalised(target, common)
        have, size = _normalised(values, common)
        likeness = np.einsum("pnc,pnc->p", wanted, have)
        likeness[common.mean(1) < LEAST_COMMON] = -1
        likeness[np.abs(moved).sum(2).max(1) > FURTHEST] = -1
        better = likeness > best
        best[better], where[better] = likeness[better], moved[better]
        if step == steps:
            break
        slope_x *= (common * (side / 2))[..., None] / size
        slope_y *= (common * (side / 2))[..., None] / size
        changes = np.stack(
            (slope_x, slope_x * x[:, None], slope_y, slope_y * y[:, None]), axis=1
        ).reshape(pairs, 4, -1)  # of the picture by each of the four movements
        normal = changes @ changes.transpose(0, 2, 1)
        # A little towards no step: a picture of stripes does not say where along them it lies.
        trace = np.trace(normal, axis1=1, axis2=2)[:, None, None]
        normal += np.eye(4, dtype=np.float32) * (1e-3 * trace / 4 + 1e-9)
        towards = changes @ (wanted - have).reshape(pairs, -1, 1)
        change = np.linalg.solve(normal, towards)[..., 0].reshape(pairs, 2, 2)
        moved = moved + np.clip(change, -LONGEST_STEP, LONGEST_STEP)
    return best, where


def _shift(
    pictures: NDArray, moved: NDArray, x: NDArray, y: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Bilinear values at moved places, their slopes along x and y, and which lie inside.

    Returns:
        Three of (pairs, pixels, channels), one bool (pairs, pixels).
    """
    pairs, side = pictures.shape[:2]
    column = _pixel(x + moved[:, 0, :1] + moved[:, 0, 1:] * x, side)
    row = _pixel(y + moved[:, 1, :1] + moved[:, 1, 1:] * y, side)
    inside = (np.abs(column * 2 - (side - 1)) <= side) & (np.abs(row * 2 - (side - 1)) <= side)
    # A step gone astray, or not a number, stays on the picture; its likeness does not count.
    column = np.clip(np.nan_to_num(column), 0, side - 1.001)
    row = np.clip(np.nan_to_num(row), 0, side - 1.001)
    left, top = column.astype(np.int64), row.astype(np.int64)
    right_part, lower_part = (column - left)[..., None], (row - top)[..., None]
    flat = pictures.reshape(pairs * side * side, -1)
    at = top * side + left + np.arange(pairs)[:, None] * side * side
    a, b, c, d = flat[at], flat[at + 1], flat[at + side], flat[at + side + 1]
    upper, lower = a + (b - a) * right_part, c + (d - c) * right_part
    along_x = (b - a) * (1 - lower_part) + (d - c) * lower_part
    return upper + (lower - upper) * lower_part, along_x, lower - upper, inside


def _pixel(place: NDArray, side: int) -> NDArray:
    return (place * side + (side - 1)) / 2


def _normalised(values: NDArray, common: NDArray) -> tuple[NDArray, NDArray]:
    """Each channel about its mean where both pictures are, all of length 1; and that length."""
    weight = common[..., None].astype(np.float32)
    mean = (values * weight).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    centred = (values - mean) * weight
    size = np.sqrt((centred * centred).sum((1, 2), keepdims=True) + 1e-6)
    return centred / size, size
