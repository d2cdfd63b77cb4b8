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
    ones: int = 0
    """Leading axes of length 1 that the foreign array has and the canonical one has not; ``axes``
    counts behind them."""

    def to_canonical(self, array: NDArray) -> NDArray:
        """Foreign to canonical, contiguous."""
        return np.ascontiguousarray(array.reshape(array.shape[self.ones :]).transpose(self.axes))

    def from_canonical(self, array: NDArray) -> NDArray:
        """Canonical to foreign, contiguous: the inverse permutation."""
        turned = array.transpose(np.argsort(self.axes))
        return np.ascontiguousarray(turned.reshape((1,) * self.ones + turned.shape))

    def shape(self, canonical: tuple[int, ...]) -> tuple[int, ...]:
        """The foreign array's shape."""
        inverse = np.argsort(self.axes).tolist()
        return (1,) * self.ones + tuple(canonical[axis] for axis in inverse)


TENSORFLOW_CONVOLUTION = Layout("(height, width, in, out)", (3, 2, 0, 1))
TENSORFLOW_DEPTHWISE = Layout("(height, width, channels, 1)", (2, 3, 0, 1))
TENSORFLOW_LINEAR = Layout("(in, out)", (1, 0))
SLIM_LINEAR = Layout("(1, 1, in, out)", (1, 0), ones=2)
LITERT_CONVOLUTION = Layout("(out, height, width, in)", (0, 3, 1, 2))
LITERT_DEPTHWISE = Layout("(1, height, width, channels)", (3, 0, 1, 2))
