"""Readers of foreign files as data; nothing in a file is executed, and limits are checked first.

Every reader raises a WeightsError if the file is of another kind, damaged, hostile, of a type that
no network has, or declares more than its bytes can hold. It raises an OSError if the file cannot be
opened.
"""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Container:
    """Arrays of a foreign file under its own names, and the rest as plain JSON values."""

    arrays: dict[str, NDArray]
    """Arrays as stored: floats, integers and booleans of any size, in native byte order.

    NumPy has no bfloat16, so such arrays are widened to float32, which holds every value.
    """
    metadata: dict[str, Any] = field(default_factory=dict)
    """Plain values; ``format`` always exists.

    It is pytorch, safetensors, keras-legacy, keras-3, hdf5 or tensorflow.
    """
