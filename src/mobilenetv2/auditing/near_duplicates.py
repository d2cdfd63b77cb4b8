"""Near duplicates: the same picture encoded anew, resized, brightened, or slightly cropped.

Three sieves, each finer and dearer than the one before. A perceptual hash (the signs of a picture's
low frequencies about their median; C. Zauner 2010, "Implementation and Benchmarking of Perceptual
Image Hash Functions", section 3.2) leaves few of all pairs: packed into 64-bit words, 50,000
pictures are 1.25 thousand million exclusive-ors and population counts, seconds in NumPy. What is
left is laid over each other, small and grey, then larger and in colour.

The limits were chosen on 3,409 photos of clothes, many of them on the same floor: 5,705 pairs pass
the hash; laid over each other, the likest two different garments agree to 0.984. Of 200 of these
photos every copy is found that was encoded anew (quality 30), halved, darkened, or cropped by 2% on
each side; of those cropped by 4% on each side 94%, by 8% on one side 70%, brightened until parts
are white 94%; and no pair that is none.

Two pictures are laid over each other by Lucas and Kanade's steps (B. D. Lucas, T. Kanade 1981,
IJCAI) for a shift and a scale of each axis, which is all that cropping and resizing do, towards the
greatest correlation (G. D. Evangelidis, E. Z. Psarakis 2008, IEEE TPAMI 30(10)), which a change of
brightness or contrast leaves alone: so a crop is told from another subject.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import track
from mobilenetv2.spec.records import Preprocessing

FINE, COARSE = 64, 32
"""Sides, in pixels, of what is compared."""
LEAST_SIDE = 24
"""Pixels. In smaller pictures different things look alike: only exact copies of them are told."""
MOST_BITS = 14
"""Bits of 64 in which the hashes of near copies may differ."""
LEAST_UNALIGNED, LEAST_COARSE, LEAST_FINE = 0.7, 0.975, 0.987
"""Correlations that each step asks for, from -1 to 1."""
COARSE_STEPS = 5
FLAT = 3.0
"""Standard deviation in grey levels below which a picture shows nothing to compare."""
MOST_CANDIDATES = 200_000
"""Pairs of near hashes that are looked at closer, the nearest first: a few minutes."""
TILE = 1024
"""Hashes a side: 8 MB of differences, which stay in the caches."""
STEPS = 8
"""Steps of refinement of an alignment, at the most."""
LEAST_COMMON = 0.6
"""Share of the picture that both must show."""
FURTHEST = 0.3
"""A shift and scale beyond this (1: half a side) is no slight crop, and would fit anything."""
LONGEST_STEP = 0.1
AT_ONCE = 64
"""Pairs aligned together: more leave the caches."""

_STRETCHED = Preprocessing((FINE, FINE), (FINE, FINE), "stretch")


@dataclass(frozen=True, slots=True)
class View:
    """A picture as it is compared: a few kilobytes, so that 50,000 fit."""

    grey: NDArray
    """uint8 (32, 32)."""
    fine: bytes
    """64 x 64 in colour, as a JPEG file."""
    flat: bool
    """Nothing to be seen: one colour all over."""
    tiny: bool
    """Smaller than ``LEAST_SIDE``."""


def view(image: Image.Image) -> View:
    """Return what is compared of an RGB picture of any size."""
    fine = preprocess(image, _STRETCHED)
    grey = fine @ np.array([0.299, 0.587, 0.114])
    grey = grey.reshape(COARSE, FINE // COARSE, COARSE, FINE // COARSE).mean((1, 3))
    file = io.BytesIO()
    Image.fromarray(fine).save(file, "JPEG", quality=95, subsampling=0)
    flat, tiny = float(grey.std()) < FLAT, min(image.size) < LEAST_SIDE
    return View(np.rint(grey).astype(np.uint8), file.getvalue(), flat, tiny)


def hashes(greys: NDArray) -> NDArray:
    """Return perceptual hashes: uint8 (pictures, 32, 32) -> uint64 (pictures,).

    A bit says that one of the 8 x 8 lowest frequencies of the cosine transform is above the median.
    """
    frequencies, places = np.arange(8), np.arange(COARSE)
    cosines = np.cos(np.pi * np.outer(frequencies, 2 * places + 1) / (2 * COARSE))
    words = np.zeros(len(greys), np.uint64)
    for at in range(0, len(greys), TILE):  # 10 KB a picture
        part = greys[at : at + TILE].astype(np.float64)
        low = (cosines @ part @ cosines.T).reshape(len(part), 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        words[at : at + TILE] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return words


def near_hashes(
    words: NDArray, furthest: int = MOST_BITS, most: int = MOST_CANDIDATES
) -> tuple[NDArray, int]:
    """Return pairs of hashes that differ in at most ``furthest`` bits, the nearest first.

    Returns:
        (int64 (pairs, 2) with the lower place first, the number of pairs beyond ``most``).
    """
    counts = np.zeros(furthest + 1, np.int64)
    kept: list[list[NDArray]] = [[] for _ in counts]
    starts = range(0, len(words), TILE)
    tiles = [(i, j) for i in starts for j in starts if i <= j]
    for near in track(
        in_parallel(lambda tile: _near_in_tile(words, *tile, furthest), tiles, ahead=2),
        "comparing photos", len(tiles),
    ):  # fmt: skip
        for distance, pairs in enumerate(near):
            # Of each distance no more than could be returned is kept, beside those nearer.
            room = most - int(counts[: distance + 1].sum())
            if room > 0 and len(pairs):
                kept[distance].append(pairs[:room])
            counts[distance] += len(pairs)
    nearest = [pairs for one in kept for pairs in one]
    together = np.concatenate(nearest) if nearest else np.zeros((0, 2), np.int64)
    return together[:most], max(0, int(counts.sum()) - most)


def find_near_duplicates(
    views: list[View], most: int = MOST_CANDIDATES
) -> tuple[list[tuple[int, int]], int]:
    """Find the pairs that show the same. A flat or tiny picture is like no other.

    Returns:
        (pairs by their places, the lower place first, sorted; the number of pairs with near hashes
        beyond ``most``, which were not looked at).
    """
    places = np.array([i for i, one in enumerate(views) if not (one.flat or one.tiny)], np.int64)
    if len(places) < 2:
        return [], 0
    compared = [views[i] for i in places]
    greys = np.stack([one.grey for one in compared])
    candidates, unsearched = near_hashes(hashes(greys), most=most)
    chunks = [candidates[at : at + TILE] for at in range(0, len(candidates), TILE)]
    verified = track(
        in_parallel(lambda chunk: _same(compared, greys, chunk), chunks, ahead=2),
        "looking at likely copies", len(candidates), TILE,
    )  # fmt: skip
    pairs = sorted((int(places[i]), int(places[j])) for same in verified for i, j in same)
    return pairs, unsearched


def _near_in_tile(words: NDArray, row: int, column: int, furthest: int) -> list[NDArray]:
    """Return the pairs of one tile at each distance."""
    different = np.bitwise_count(
        words[row : row + TILE, None] ^ words[None, column : column + TILE]
    )
    first, second = np.nonzero(different <= furthest)
    distances = different[first, second]
    first, second = first + row, second + column
    pairs, above = np.stack((first, second), 1), first < second
    return [pairs[above & (distances == distance)] for distance in range(furthest + 1)]


def _same(views: list[View], greys: NDArray, pairs: NDArray) -> NDArray:
    """Return those of some pairs that agree once they are laid over each other."""
    small = smooth(greys[pairs.ravel()][..., None]).reshape(len(pairs), 2, COARSE, COARSE, 1)
    unaligned, _ = align(small[:, 0], small[:, 1], steps=0)
    pairs, small = pairs[unaligned > LEAST_UNALIGNED], small[unaligned > LEAST_UNALIGNED]
    coarse, moved = align(small[:, 0], small[:, 1], steps=COARSE_STEPS)
    pairs, moved = pairs[coarse > LEAST_COARSE], moved[coarse > LEAST_COARSE]
    if not len(pairs):
        return pairs
    large = np.stack([_decoded(views[place]) for place in pairs.ravel()])
    large = smooth(large).reshape(len(pairs), 2, FINE, FINE, 3)
    fine, _ = align(large[:, 0], large[:, 1], moved)
    kept: NDArray = pairs[fine > LEAST_FINE]
    return kept


def _decoded(one: View) -> NDArray:
    return np.asarray(Image.open(io.BytesIO(one.fine)).convert("RGB"))


def align(
    first: NDArray, second: NDArray, start: NDArray | None = None, steps: int = STEPS
) -> tuple[NDArray, NDArray]:
    """Return the best correlation of each pair, and where that is.

    Args:
        first, second: any number type (pairs, side, side, channels); the second is moved.
        start: float (pairs, 2, 2) to begin from; none is no movement.

    Returns:
        (float32 (pairs,) from -1 to 1, float32 (pairs, 2, 2): shift and scale along x, then along
        y, in halves of a side).
    """
    pieces = [
        _align(
            first[at : at + AT_ONCE].astype(np.float32),
            second[at : at + AT_ONCE].astype(np.float32),
            None if start is None else start[at : at + AT_ONCE],
            steps,
        )
        for at in range(0, len(first), AT_ONCE)
    ]
    if not pieces:
        return np.zeros(0, np.float32), np.zeros((0, 2, 2), np.float32)
    return np.concatenate([one for one, _ in pieces]), np.concatenate([two for _, two in pieces])


def smooth(pictures: NDArray) -> NDArray:
    """Average each pixel with its neighbours, 1 2 1 along both axes: float32, the same shape.

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
        wanted, _ = _standardised(target, common)
        have, size = _standardised(values, common)
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
    """Return bilinear values at moved places, their slopes along x and y (pairs, pixels, channels),
    and which lie inside (pairs, pixels)."""
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


def _standardised(values: NDArray, common: NDArray) -> tuple[NDArray, NDArray]:
    """Return channels about their means where both pictures are, of length 1, and that length."""
    weight = common[..., None].astype(np.float32)
    mean = (values * weight).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    centred = (values - mean) * weight
    size = np.sqrt((centred * centred).sum((1, 2), keepdims=True) + 1e-6)
    return centred / size, size
