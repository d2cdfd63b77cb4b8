"""Array layouts of other frameworks to the canonical one and back, as named permutations.

Canonical is PyTorch's: convolutions (out, in, height, width), depthwise (channels, 1, height,
width), linear (out, in).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Layout:
    """A permutation of axes: canonical axis i is the foreign array's axis ``axes[i]``."""

    name: str
    axes: tuple[int, ...]

    def to_canonical(self, array: NDArray) -> NDArray:
        """Foreign to canonical, contiguous."""
        return np.ascontiguousarray(array.transpose(self.axes))

    def from_canonical(self, array: NDArray) -> NDArray:
        """Canonical to foreign, contiguous: the inverse permutation."""
        return np.ascontiguousarray(array.transpose(np.argsort(self.axes)))


TENSORFLOW_CONVOLUTION = Layout("(height, width, in, out)", (3, 2, 0, 1))
TENSORFLOW_DEPTHWISE = Layout("(height, width, channels, 1)", (2, 3, 0, 1))
TENSORFLOW_LINEAR = Layout("(in, out)", (1, 0))
LITERT_CONVOLUTION = Layout("(out, height, width, in)", (0, 3, 1, 2))
LITERT_DEPTHWISE = Layout("(1, height, width, channels)", (3, 0, 1, 2))

LAYOUTS = (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    LITERT_CONVOLUTION,
    LITERT_DEPTHWISE,
)
