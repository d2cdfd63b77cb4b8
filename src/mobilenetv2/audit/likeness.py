"""Near copies: the same picture encoded anew, resized, brightened, or slightly cropped.

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
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.audit.alignment import align, smooth
from mobilenetv2.data.batches import in_parallel
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.progress import track
from mobilenetv2.spec.records import Preprocessing

FINE, COARSE = 64, 32
"""Sides, in pixels, of what is compared."""
LEAST_SIDE = 24
"""Pixels. In smaller pictures different things look alike: only exact copies of them are told."""
FURTHEST = 14
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


@dataclass(frozen=True, slots=True)
class Alike:
    """Near copies among pictures, by their places."""

    pairs: tuple[tuple[int, int], ...]
    """The lower place first, sorted."""
    unsearched: int = 0
    """Pairs of near hashes beyond ``MOST_CANDIDATES``, which were not looked at."""


def view(image: Image.Image) -> View:
    """What is kept of an RGB picture, whatever its size."""
    fine = preprocess(image, _STRETCHED)
    grey = fine @ np.array([0.299, 0.587, 0.114])
    grey = grey.reshape(COARSE, FINE // COARSE, COARSE, FINE // COARSE).mean((1, 3))
    file = io.BytesIO()
    Image.fromarray(fine).save(file, "JPEG", quality=95, subsampling=0)
    flat, tiny = float(grey.std()) < FLAT, min(image.size) < LEAST_SIDE
    return View(np.rint(grey).astype(np.uint8), file.getvalue(), flat, tiny)


def hashes(greys: NDArray) -> NDArray:
    """Perceptual hashes.

    Args:
        greys: uint8 (pictures, 32, 32).

    Returns:
        uint64 (pictures,): which of the 8 x 8 lowest frequencies of the cosine transform are above
        their median.
    """
    parts = [_hashes(greys[at : at + TILE]) for at in range(0, len(greys), TILE)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _hashes(greys: NDArray) -> NDArray:
    """The same at once, at 10 KB a picture."""
    frequencies, places = np.arange(8), np.arange(COARSE)
    cosines = np.cos(np.pi * np.outer(frequencies, 2 * places + 1) / (2 * COARSE))
    low = (cosines @ greys.astype(np.float64) @ cosines.T).reshape(len(greys), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    packed: NDArray = np.packbits(bits, axis=1).view(np.uint64).reshape(len(greys))
    return packed


def near(
    words: NDArray, furthest: int = FURTHEST, most: int = MOST_CANDIDATES
) -> tuple[NDArray, int]:
    """Pairs of hashes that differ in few bits, the nearest first.

    Args:
        words: uint64 (pictures,).
        furthest: bits.
        most: pairs returned.

    Returns:
        (int64 (pairs, 2) with the lower place first, the number of pairs beyond ``most``).
    """
    counts = np.zeros(furthest + 1, np.int64)
    kept: list[list[NDArray]] = [[] for _ in counts]
    starts = range(0, len(words), TILE)
    tiles = [(i, j) for i in starts for j in starts if i <= j]
    for found in track(
        in_parallel(lambda tile: _near_tile(words, *tile, furthest), tiles, ahead=2),
        "comparing photos", len(tiles),
    ):  # fmt: skip
        for distance, pairs in enumerate(found):
            # Of each distance no more than could be returned is kept, beside those nearer.
            room = most - int(counts[: distance + 1].sum())
            if room > 0 and len(pairs):
                kept[distance].append(pairs[:room])
            counts[distance] += len(pairs)
    nearest = [pairs for one in kept for pairs in one]
    together = np.concatenate(nearest) if nearest else np.zeros((0, 2), np.int64)
    return together[:most], max(0, int(counts.sum()) - most)


def alike(views: list[View], most: int = MOST_CANDIDATES) -> Alike:
    """The pairs that show the same. A flat or tiny picture is like nothing."""
    places = np.array([i for i, one in enumerate(views) if not (one.flat or one.tiny)], np.int64)
    if len(places) < 2:
        return Alike(())
    compared = [views[i] for i in places]
    greys = np.stack([one.grey for one in compared])
    candidates, unsearched = near(hashes(greys), most=most)
    chunks = [candidates[at : at + TILE] for at in range(0, len(candidates), TILE)]
    found = track(
        in_parallel(lambda chunk: _same(compared, greys, chunk), chunks, ahead=2),
        "looking at likely copies", len(candidates), TILE,
    )  # fmt: skip
    pairs = sorted((int(places[i]), int(places[j])) for same in found for i, j in same)
    return Alike(tuple(pairs), unsearched)


def _near_tile(words: NDArray, row: int, column: int, furthest: int) -> list[NDArray]:
    """The pairs of one tile at each distance."""
    different = np.bitwise_count(
        words[row : row + TILE, None] ^ words[None, column : column + TILE]
    )
    first, second = np.nonzero(different <= furthest)
    distances = different[first, second]
    first, second = first + row, second + column
    pairs, above = np.stack((first, second), 1), first < second
    return [pairs[above & (distances == distance)] for distance in range(furthest + 1)]


def _same(views: list[View], greys: NDArray, pairs: NDArray) -> NDArray:
    """Those of some pairs that agree once they are laid over each other."""
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
