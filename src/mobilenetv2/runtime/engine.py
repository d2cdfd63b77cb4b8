"""The base class of all engines, and what they share: artifacts, their files, batches.

The module of a runtime has two functions. ``read_artifact(path)`` reads a file that was exported
here, with the config inside it; it raises WeightsError or ArtifactError for a damaged one, somebody
else's or one that was changed. ``create_engine(artifact, threads)`` starts an :class:`Engine` on
the CPU; it raises ArtifactError for a graph that the runtime cannot run, MissingExtra where the
runtime is not installed.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import parse_config
from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.files import read_file
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.spec.records import ModelConfig

Output = Literal["logits", "features", "map"]
"""'map' is the last feature map, before pooling."""
LARGEST_FILE = 512 * 1024**2
LARGEST_CONFIG = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Artifact:
    """A network ready for an engine. Everything is in memory, so what was checked is what runs."""

    config: ModelConfig
    format: str
    """Name of the file format."""
    graph: bytes
    where: str
    """Name of the artifact in an error."""
    weights: bytes = b""
    """The second file of formats that have two (OpenVINO's .bin, ncnn's .bin)."""


class Engine:
    """A graph, ready to run. A subclass computes one batch of the size that its graph takes.

    Args:
        where: the artifact's name in an error.
    """

    title = ""
    """Name of the runtime in an error."""
    outputs: tuple[str, ...] = ("logits",)
    """The graph's outputs: 'logits', and 'features' and 'map' where it was built for them."""
    takes_pictures = False
    """True if the graph normalises by itself."""
    batch: int | None = None
    """Pictures that the graph takes at a time; None: any number."""
    shape: tuple[int, ...] | None = None
    """Shape of one image (channels, height, width), where the runtime does not check it itself."""

    def __init__(self, where: str) -> None:
        self.where = where

    def run(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output for any batch.

        Args:
            x: float32 (batch, channels, height, width), normalised; where ``takes_pictures``,
                uint8 (batch, height, width, channels) as ``images.preprocess`` gives it.

        Returns:
            float32 (batch, n); for 'map' (batch, channels, height, width).

        Raises:
            ArtifactError: the graph has no such output, or cannot take such a picture.
        """
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if self.shape is not None and x.shape[1:] != self.shape:
            raise ArtifactError(
                f"{self.where}: it takes {list(self.shape)}, not {list(x.shape[1:])}"
            )
        if self.batch is None:
            return self.compute(x, output)
        return in_fixed_batches(lambda part: self.compute(part, output), x, self.batch)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch that the graph takes, as :meth:`run` does."""
        raise NotImplementedError

    def failure(self, reason: object) -> ArtifactError:
        """Return the error that the runtime cannot run the artifact."""
        return cannot_run(self.where, self.title, reason)


def cannot_run(where: str, title: str, reason: object) -> ArtifactError:
    """Return the error that a runtime cannot run an artifact."""
    return ArtifactError(f"{where}: {title} cannot run it ({reason})")


def in_fixed_batches(compute: Callable[[NDArray], NDArray], x: NDArray, batch: int) -> NDArray:
    """Compute parts of exactly ``batch`` pictures; the last one is filled up with zeros.

    Args:
        compute: (batch, ...) -> (batch, n).
        x: (pictures, ...); there may be none.

    Returns:
        (pictures, n), in order.
    """
    missing = -len(x) % batch if len(x) else batch
    filled = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
    parts = [compute(filled[i : i + batch]) for i in range(0, len(filled), batch)]
    return np.concatenate(parts)[: len(x)] if len(parts) > 1 or missing else parts[0]


def read_bounded(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """Read a whole file, if it is not too large.

    Raises:
        ArtifactError: larger than ``limit`` bytes.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > limit:
        raise ArtifactError(f"{path}: {size:,} bytes are more than the limit of {limit:,}")
    return read_file(path)


def embedded_config(text: str | None, path: Path) -> ModelConfig:
    """Return the config that an exported file carries: preprocessing and labels among it.

    Args:
        text: found under our key in the file's metadata; None for somebody else's file.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    if text is None:
        made = BY_ENDING.get(path.suffix.lower())
        advice = (
            f"'mobilenetv2 weights import {path} OUT' makes a model folder of it"
            if made is not None and made.graph
            else "make it with 'mobilenetv2 export'"
        )
        raise ArtifactError(
            f"{path}: it does not say its preprocessing and labels, as this project's exports do; "
            f"{advice}"
        )
    try:
        return parse_config(text)
    except DialectError as error:
        raise ArtifactError(f"{path}: {error}") from None


def archived_config(data: bytes, name: str, path: Path, broken: str) -> str | None:
    """Return the text of our entry in a .zip archive, or behind a file; None where there is none.

    Args:
        name: of the entry, which is stored: there is nothing to inflate.
        broken: what a damaged archive means, for the message.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo(name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > LARGEST_CONFIG:
                raise ArtifactError(f"{path}: the config inside it is not as it was written")
            return archive.read(entry).decode("utf-8")
    except KeyError:
        return None
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ArtifactError(f"{path}: {broken} ({error})") from None


def another_network(path: Path, config: ModelConfig, graph: str) -> ArtifactError:
    """Return the error that a file's config and its graph are not of one network.

    Args:
        graph: what the graph takes or gives, for the message.
    """
    (height, width), channels = config.spec.size, config.spec.input_channels
    return ArtifactError(
        f"{path}: the config inside it describes another network: it takes pictures of "
        f"{height} x {width} x {channels} and gives {config.spec.logits} logits, the graph {graph}"
    )
