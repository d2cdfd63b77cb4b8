"""Keras 3's ``.keras`` archives: a zip of config.json, metadata.json and model.weights.h5.

The configuration is read as JSON, never built; the weights by :mod:`hdf5`.
"""

import zipfile
from pathlib import Path

from mobilenetv2.checkpoints.containers import hdf5
from mobilenetv2.checkpoints.containers.archive import copy, open_zip
from mobilenetv2.checkpoints.containers.container import LARGEST_JSON, Container
from mobilenetv2.errors import WeightsError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read(path: Path, folder: Path) -> Container:
    """Read an archive; ``metadata["config"]`` is the model's configuration.

    Args:
        folder: an empty one, where the weights are unpacked.

    Raises:
        WeightsError: damaged, hostile, or without its parts.
    """
    with open_zip(path) as archive:
        texts = {
            key: hdf5.parse(_text(archive, name), name)
            for key, name in (("config", CONFIG), ("saved", METADATA))
        }
        member = _member(archive, WEIGHTS)
        unpacked = folder / WEIGHTS
        with archive.open(member) as source:
            copy(source, unpacked, member.file_size)
    found = hdf5.read(unpacked)
    return Container(found.arrays, {**found.metadata, **texts})


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(name)
    except KeyError:
        raise WeightsError(f"not a .keras archive: it has no {name}") from None


def _text(archive: zipfile.ZipFile, name: str) -> str:
    member = _member(archive, name)
    if member.file_size > LARGEST_JSON:
        raise WeightsError(f"its {name} is larger than {LARGEST_JSON:,} bytes")
    return archive.read(member).decode("utf-8", "replace")
