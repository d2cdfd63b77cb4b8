"""Facts of foreign LiteRT and ONNX files of any network, read as data; nothing in them is run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import kinds
from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.checkpoints.foreign.wiring import Meaning
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.foreign import Layout
from mobilenetv2.spec.records import Labels, Resize

Shape = tuple[int | None, ...]
"""Sides of a tensor; None for one of any length."""


@dataclass(frozen=True, slots=True)
class End:
    """An input or output of a graph."""

    name: str
    shape: Shape
    dtype: str
    """Type of the values, such as 'float32', 'uint8' or 'string'."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a file with one picture in and one vector out; None where the file is silent."""

    format: str
    """Name of the file format."""
    size: tuple[int, int] | None
    channels: int
    layout: Layout
    batch: int | None
    """Batch size of the graph; None for any."""
    classes: int | None
    """Number of outputs."""
    meaning: Meaning
    last: str
    """Name of the last operator."""
    input_type: str = "float32"
    input_range: tuple[float, float] | None = None
    """Lowest and highest value of a quantised input, as it was calibrated."""
    scaled: tuple[float, tuple[str, ...]] | None = None
    """Largest pixel value of a graph that scales its input itself, and the operators that do so."""
    largest_filter: float | None = None
    """Largest norm of a filter of the first convolution; None if its weights are not plain."""
    normalisation: Normalisation | None = None
    """Mean and standard deviation, if the file's metadata have them."""
    normalisation_from: str = ""
    bgr: bool = False
    fit: Resize | None = None
    labels: Labels | None = None
    labels_from: str = ""
    licence: str | None = None
    from_tensorflow: bool = False
    """True if TensorFlow or Keras made the graph, as far as can be seen."""


LARGEST_FIRST = 4 * 1024**2
"""Maximum bytes of the first convolution's weights; 64 filters of 11 x 11 x 3 have 0.1 MB."""


LARGEST_BATCH = 256 * 1024**2
"""Maximum bytes of a batch of pictures in float32."""
COUNTED_SIZE = (224, 224)
"""Size that is counted for a graph of any size."""


def largest_norm(filters: NDArray) -> float | None:
    """Return the largest norm of filters (filters, ...); None if one is not finite."""
    with np.errstate(all="ignore"):
        norms = np.sqrt((filters.reshape(len(filters), -1).astype(np.float64) ** 2).sum(1))
    return float(norms.max()) if norms.size and np.isfinite(norms).all() else None


DETECTING = frozenset({
    "TFLite_Detection_PostProcess", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5",
    "NonMaxSuppression", "RoiAlign", "EfficientNMS_TRT", "BatchedNMS_TRT",
})  # fmt: skip
"""Operators that only detectors have."""
ALONE = "this package runs classifiers: one picture in, one vector out"


def picture_end(ends: list[End]) -> tuple[Layout, tuple[int, int] | None, int, int | None]:
    """Return layout, size, channels and batch of the only input.

    Raises:
        DialectError: the graph takes something else than one picture.
    """
    if len(ends) != 1:
        raise DialectError(f"a network of {len(ends)} inputs ({_shown(ends)}); {ALONE}")
    (end,) = ends
    if len(end.shape) != 4 or end.dtype not in ("float32", "float16", "float64", "uint8", "int8"):
        raise DialectError(
            f"a network whose input is no picture ({_shown(ends)}), such as one for sound, text or "
            f"tables; {ALONE}"
        )
    batch, *sides = end.shape
    last, first = sides[2], sides[0]
    if last in (1, 3) and first not in (1, 3):
        layout: Layout = "NHWC"
    elif first in (1, 3):
        layout = "NCHW"
    else:
        raise DialectError(
            f"a network of pictures with other channels than 1 or 3 ({_shown(ends)}); {ALONE}"
        )
    height, width, channels = sides if layout == "NHWC" else (*sides[1:], first)
    size = None if height is None or width is None else (height, width)
    if size and not all(1 <= side <= 8192 for side in size):
        raise DialectError(f"its input has impossible sides ({_shown(ends)})")
    require_room(size or COUNTED_SIZE, channels or 3, batch or 1, _shown(ends))
    return layout, size, channels or 3, batch


def require_room(size: tuple[int, int], channels: int, batch: int, shown: str) -> None:
    """Raise DialectError if one batch of pictures would be too large for the memory.

    Args:
        size: height and width.
        channels: number of channels.
        batch: number of pictures in the graph's batch.
        shown: what the file says, for the message.
    """
    count = 4 * batch * size[0] * size[1] * channels
    if count > LARGEST_BATCH:
        raise DialectError(
            f"its batches of {batch:,} pictures of {size[0]:,} x {size[1]:,} pixels need "
            f"{count / 2**20:,.0f} MB, more than {LARGEST_BATCH // 2**20} MB ({shown}); export it "
            "with a batch of 1"
        )


def vector_end(ends: list[End], operators: frozenset[str]) -> int | None:
    """Return the length of the only output vector; None if the file does not say it.

    Raises:
        DialectError: the graph gives something else than one vector; the message says what it is.
    """
    shown = _shown(ends)
    boxes = any(len(end.shape) == 3 and end.shape[2] == 4 for end in ends)
    if operators & DETECTING or (boxes and len(ends) > 1):
        raise _not_alone("detector", shown)
    if len(ends) != 1:
        raise DialectError(f"a network of {len(ends)} outputs ({shown}); {ALONE}")
    (end,) = ends
    sides = end.shape[1:]
    long = [side for side in sides if side != 1]
    indices = end.dtype in ("int32", "int64")  # the class of each pixel
    if len(long) > 1:
        raise _not_alone("map" if len(end.shape) == 4 or indices else "table", shown)
    if end.dtype not in ("float32", "float16", "float64", "uint8", "int8"):
        raise DialectError(f"its output is no vector of probabilities ({shown}); {ALONE}")
    if not end.shape and not sides:
        return None
    return long[0] if long else 1


def _not_alone(key: str, shown: str) -> DialectError:
    """Return the error for a recognised kind of network, with its outputs."""
    return DialectError(f"{kinds.sentence(key)} (here: {shown})")


def _shown(ends: list[End]) -> str:
    parts = []
    for end in ends[:4]:
        sides = ", ".join("?" if side is None else str(side) for side in end.shape)
        parts.append(f"{end.name[:40]!r} [{sides}] {end.dtype}")
    return "; ".join(parts) + ("; ..." if len(ends) > 4 else "")
