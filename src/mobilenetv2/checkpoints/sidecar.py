"""Our own config where a foreign file lies: what the dialect's own file cannot say.

A bare state dict has no labels, no preprocessing and no strides. ``NAME.json`` beside an exported
``NAME`` is a model folder's ``config.json`` whose origin names the file by its SHA-256, so that it
is never taken for another's. Formats that hold a graph carry the same text inside.
"""

import json
from pathlib import Path

from mobilenetv2.checkpoints.containers.tensorflow import prefix_of
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.spec.records import ModelConfig

LARGEST = 16 * 1024**2
DATA = ".data-00000-of-00001"
"""Ending of a TensorFlow checkpoint's file that holds the tensors; the checkpoint's own name is a
prefix."""


def sidecar_path(path: Path) -> Path:
    """Return 'shoes.pth.json' for 'shoes.pth'."""
    return path.with_name(f"{path.name}.json")


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a checkpoint's weights file in hexadecimal; None of several files."""
    for file in (path, path.with_name(prefix_of(path).name + DATA)):
        if file.is_file():
            return sha256_of_file(file)
    return None


def read_sidecar(path: Path) -> ModelConfig | None:
    """Return the config beside a checkpoint; None where there is none, or it is another file's."""
    path = prefix_of(path)
    beside = sidecar_path(path)
    if not beside.is_file() or beside.stat().st_size > LARGEST:
        return None
    try:
        config = parse_config(beside.read_text("utf-8"))
    except (ValueError, DialectError):
        return None  # somebody else's JSON of the same name
    known = config.origin.sha256 if config.origin else None
    return config if known and known == digest(path) else None


def parse_config(text: str) -> ModelConfig:
    """Return the config that :meth:`ModelConfig.to_json` wrote into a file.

    Raises:
        DialectError: it is damaged.
    """
    try:
        return ModelConfig.from_mapping(json.loads(text), "the config inside it")
    except (ValueError, RecursionError) as error:
        raise DialectError(f"the config inside it is not JSON ({error})") from None
    except SpecError as error:
        raise DialectError(f"the config inside it is damaged: {error}") from None
