"""Keras's HDF5 files written by h5py: the legacy ``.h5`` and Keras 3's ``.weights.h5``.

The same arrays always give the same bytes: HDF5's times are left out.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require

Layers = Sequence[tuple[str, Sequence[tuple[str, NDArray]]]]
"""For every layer in order its name and its (weight name, array)."""
MADE_BY = {"backend": "tensorflow", "keras_version": "2.15.0"}
"""What Keras looks for: kernels of other ages and backends would be turned round."""


def write_legacy(layers: Layers) -> bytes:
    """A ``.h5`` that ``load_weights`` of Keras 2 and 3 takes; the same input, the same bytes.

    Args:
        layers: in the model's order; those without weights may be left out.

    Raises:
        MissingExtra: h5py is not installed.
    """
    with _Writer() as writer:
        root = writer.file
        root.attrs["layer_names"] = np.array([layer.encode() for layer, _ in layers], "S")
        for name, said in MADE_BY.items():
            root.attrs[name] = said.encode()
        for layer, weights in layers:
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name, _ in weights], "S")
            for name, array in weights:
                group.create_dataset(name, data=array, track_times=False)
    return writer.content


def write_keras3(entries: Sequence[tuple[str, Sequence[NDArray]]]) -> bytes:
    """A ``.weights.h5`` of Keras 3: for every path such as ``layers/conv2d`` its variables.

    Raises:
        MissingExtra: h5py is not installed.
    """
    with _Writer() as writer:
        for path, arrays in entries:
            group = writer.file.require_group(f"{path}/vars")
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=array, track_times=False)
    return writer.content


class _Writer:
    """An HDF5 file in memory; ``content`` is there once it is closed."""

    content = b""

    def __enter__(self) -> "_Writer":
        require("h5py")
        import h5py

        self.buffer = io.BytesIO()
        self.file = h5py.File(self.buffer, "w")
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self.content = self.buffer.getvalue()
