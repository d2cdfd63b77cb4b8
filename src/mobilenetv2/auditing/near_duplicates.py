"""Near duplicates: photos that were encoded again, resized, brightened or slightly cropped.

There are three filters, each more exact and slower than the one before. The first is a perceptual
hash: the signs of an image's low frequencies relative to their median (C. Zauner 2010,
"Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2). It excludes most
pairs. With hashes as 64-bit words, 50,000 images need 1.25 billion exclusive-ors and population
counts, which take seconds in NumPy. The remaining pairs are aligned and compared, first small and
grey, then larger and in colour.

The limits were chosen on 3,409 photos of clothes, many of them on the same floor. 5,705 pairs pass
the hash; after alignment, the most similar two different garments have a correlation of 0.984.
Copies of 200 of these photos were searched. All are found that were encoded again (quality 30),
halved, darkened, or cropped by 2% on each side. 94% are found if cropped by 4% on each side, 70% if
cropped by 8% on one side, and 94% if brightened until parts are white. No other pair is found.

Two images are aligned with Lucas and Kanade's steps (B. D. Lucas, T. Kanade 1981, IJCAI) for a
shift and a scale of each axis, which describe cropping and resizing. The steps maximise the
correlation (G. D. Evangelidis, E. Z. Psarakis 2008, IEEE TPAMI 30(10)), which does not depend on
brightness and contrast. This distinguishes a crop from another subject.
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
"""Sides of the compared images, in pixels."""
LEAST_SIDE = 24
"""Minimum side in pixels; smaller images look too similar, so only exact copies are found."""
MOST_BITS = 14
"""Maximum number of different bits, of 64, in the hashes of near duplicates."""
LEAST_UNALIGNED, LEAST_COARSE, LEAST_FINE = 0.7, 0.975, 0.987
"""Minimum correlations after each step, from -1 to 1."""
COARSE_STEPS = 5
FLAT = 3.0
"""Standard deviation in grey levels below which an image shows nothing to compare."""
MOST_CANDIDATES = 200_000
"""Maximum number of pairs that are compared after the hash, the nearest first: a few minutes."""
TILE = 1024
"""Number of hashes per side of a tile: 8 MB of differences, which fit into the caches."""
STEPS = 8
"""Maximum number of steps to refine an alignment."""
LEAST_COMMON = 0.6
"""Minimum fraction of the image that both must show."""
FURTHEST = 0.3
"""Maximum shift and scale (1 is half a side); a larger one is no small crop, and fits anything."""
LONGEST_STEP = 0.1
AT_ONCE = 64
"""Number of pairs that are aligned together, limited by the caches."""

_STRETCHED = Preprocessing((FINE, FINE), (FINE, FINE), "stretch")


@dataclass(frozen=True, slots=True)
class View:
    """Compact form of an image for comparison: a few kilobytes, so that 50,000 fit into memory."""

    grey: NDArray
    """Grey image as uint8 (32, 32)."""
    fine: bytes
    """Colour image of 64 x 64 pixels as a JPEG file."""
    flat: bool
    """True if the image has one colour all over."""
    tiny: bool
    """True if the image is smaller than ``LEAST_SIDE``."""


def view(image: Image.Image) -> View:
    """Return the compact form of an RGB image of any size."""
    fine = preprocess(image, _STRETCHED)
    grey = fine @ np.array([0.299, 0.587, 0.114])
    grey = grey.reshape(COARSE, FINE // COARSE, COARSE, FINE // COARSE).mean((1, 3))
    file = io.BytesIO()
    Image.fromarray(fine).save(file, "JPEG", quality=95, subsampling=0)
    flat, tiny = float(grey.std()) < FLAT, min(image.size) < LEAST_SIDE
    return View(np.rint(grey).astype(np.uint8), file.getvalue(), flat, tiny)


def hashes(greys: NDArray) -> NDArray:
    """Return perceptual hashes, uint64 (pictures,), for uint8 (pictures, 32, 32).

    Each bit is 1 if one of the 8 x 8 lowest frequencies of the cosine transform is above the
    median.
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
        int64 (pairs, 2) with the lower index first, and the number of pairs beyond ``most``.
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
    """Return the pairs of near duplicates; flat or tiny images have none.

    Returns:
        Sorted pairs of indices, the lower one first; and the number of pairs with near hashes
        beyond ``most``, which were not compared.
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
    """Return the pairs that agree after alignment."""
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
    """Return the best correlation of each pair, and its alignment.

    Args:
        first, second: any number type (pairs, side, side, channels); the second is moved.
        start: float (pairs, 2, 2), the alignment to start from; None means no movement.

    Returns:
        float32 (pairs,) from -1 to 1, and float32 (pairs, 2, 2): shift and scale along x, then
        along y, in halves of a side.
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

    Interpolation between pixels blurs; an image that is already blurred changes less by it.
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
    """Return bilinear values at moved places, their slopes along x and y, and which lie inside.

    Values and slopes are (pairs, pixels, channels), the last (pairs, pixels).
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


def _standardised(values: NDArray, common: NDArray) -> tuple[NDArray, NDArray]:
    """Return channels, centred over the common part and of length 1, and their length."""
    weight = common[..., None].astype(np.float32)
    mean = (values * weight).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    centred = (values - mean) * weight
    size = np.sqrt((centred * centred).sum((1, 2), keepdims=True) + 1e-6)
    return centred / size, size
