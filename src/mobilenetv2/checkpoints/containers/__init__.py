"""Foreign files read as data, never executed: bounds are checked before memory is taken.

Every reader raises a WeightsError for what is no such file, is damaged, hostile or of a type that
no network has, or holds more than its bytes can; and an OSError where it cannot be opened.
"""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Container:
    """A foreign file's arrays under its own names, and the rest as plain JSON values."""

    arrays: dict[str, NDArray]
    """As stored: floats, integers and booleans of any size, native byte order. NumPy has no
    bfloat16, so that is widened to float32, which holds each of its values."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """``format`` is always there: pytorch, safetensors, keras-legacy, keras-3, hdf5, tensorflow."""
