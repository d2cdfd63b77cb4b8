"""``NAME.json`` beside an exported ``NAME``: what the dialect's own file cannot say.

A bare state dict has no labels, no preprocessing and no strides. The sidecar is a model folder's
``config.json`` whose origin names the file by its SHA-256, so that it is never taken for another's.
"""

import json
from pathlib import Path

from mobilenetv2.checkpoints.containers.tensorflow import prefix_of
from mobilenetv2.errors import SpecError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.spec.records import ModelConfig

LARGEST = 16 * 1024**2
DATA = ".data-00000-of-00001"
"""Of a TensorFlow checkpoint, whose name is a prefix: the file that holds the tensors."""


def sidecar_path(path: Path) -> Path:
    """'shoes.pth' -> 'shoes.pth.json'."""
    return path.with_name(f"{path.name}.json")


def digest(path: Path) -> str | None:
    """SHA-256 of a checkpoint's weights file in hexadecimal; None of what is several files."""
    for file in (path, path.with_name(prefix_of(path).name + DATA)):
        if file.is_file():
            return sha256_of_file(file)
    return None


def read_sidecar(path: Path) -> ModelConfig | None:
    """The config beside a checkpoint; None where there is none, or it is another file's."""
    path = prefix_of(path)
    beside = sidecar_path(path)
    if not beside.is_file() or beside.stat().st_size > LARGEST:
        return None
    try:
        config = ModelConfig.from_mapping(json.loads(beside.read_text("utf-8")), str(beside))
    except (ValueError, RecursionError, SpecError):
        return None  # somebody else's JSON of the same name
    known = config.origin.sha256 if config.origin else None
    return config if known and known == digest(path) else None
