"""Base class of all engines, and common functions for artifacts, their files and batches.

The module of a runtime has two functions. ``read_artifact(path)`` reads a file that this package
exported, with the config inside it. It raises WeightsError or ArtifactError if the file is damaged,
was changed, or comes from another program. ``create_engine(artifact, threads)`` starts an
:class:`Engine` on the CPU. It raises ArtifactError if the runtime cannot run the graph, and
MissingExtra if the runtime is not installed. An engine serves one thread at a time, but for those
of a runtime that is ``shared`` (:mod:`mobilenetv2.formats`): their function takes ``callers``, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.files import read_file
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.model.outputs import require_finite
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

Output = Literal["logits", "features", "map", "probabilities"]
"""Output of a network; 'map' is the last feature map, before pooling.

An engine whose file gives probabilities gives logits, too, which it computes of them.
"""
LARGEST_FILE = 512 * 1024**2
LARGEST_CONFIG = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Artifact:
    """Graph and config for an engine, in memory, so that the checked bytes are the ones run."""

    config: ModelConfig
    format: str
    """Name of the file format."""
    graph: bytes
    where: str
    """Name of the artifact in error messages."""
    weights: bytes = b""
    """Weights of formats with a second file (.bin of OpenVINO and ncnn)."""


class Program(Protocol):
    """Graph for an engine without its config: an artifact's, or a foreign file's."""

    @property
    def format(self) -> str:
        """Name of the file format."""

    @property
    def graph(self) -> bytes:
        """Bytes of the file."""

    @property
    def where(self) -> str:
        """Name in error messages."""

    @property
    def weights(self) -> bytes:
        """Bytes of the second file, if the format has one."""


class Engine:
    """Graph that is ready to run. A subclass computes a batch of the graph's batch size.

    Args:
        where: name of the artifact in error messages.
    """

    title = ""
    """Name of the runtime in error messages."""
    outputs: tuple[str, ...] = ("logits",)
    """Outputs of the graph: 'logits', and 'features' and 'map' if it was built with them."""
    takes_pictures = False
    """True if the graph takes uint8 images and normalises them."""
    batch: int | None = None
    """Batch size of the graph; None for any."""
    shape: tuple[int, ...] | None = None
    """Shape of an image (channels, height, width), if the runtime does not check it itself."""
    channels: Mapping[str, int] = {}
    """Channels of each output as the config has them; an output that is left out may have any."""

    def __init__(self, where: str) -> None:
        self.where = where

    def run(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output for any batch.

        Args:
            x: normalised float32 images (batch, channels, height, width); with ``takes_pictures``,
                uint8 images (batch, height, width, channels) of ``images.preprocess``.
            output: name of the output.

        Returns:
            float32 (batch, n); for 'map' (batch, channels, height, width).

        Raises:
            ArtifactError: the graph does not have the output, has another input shape, or gives
                another number of values than the config says.
            OutputError: a value is not finite.
        """
        if output not in self.outputs:
            raise ArtifactError(f"{self.where}: it has no {output}, only {', '.join(self.outputs)}")
        if self.shape is not None and x.shape[1:] != self.shape:
            raise ArtifactError(
                f"{self.where}: it takes images {list(self.shape)}, not {list(x.shape[1:])}"
            )
        if self.batch is None:
            found = self.compute(x, output)
        else:
            found = in_fixed_batches(lambda part: self.compute(part, output), x, self.batch)
        sides = [len(x), self.channels.get(output, found.shape[1] if found.ndim > 1 else 0)]
        if list(found.shape[:2]) != sides or found.ndim != (4 if output == "map" else 2):
            raise ArtifactError(
                f"{self.where}: its {output} have shape {list(found.shape)}, where its config says "
                f"{sides}; it was changed or damaged, so export it again"
            )
        return require_finite(found, self.where)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        raise NotImplementedError

    def failure(self, reason: object) -> ArtifactError:
        """Return the error for an artifact that the runtime cannot run."""
        return cannot_run(self.where, self.title, reason)


class Pool(Engine):
    """Engines of one artifact, each of which serves one thread at a time.

    Args:
        engines: the engines, as many as threads that call the pool at once.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        first = engines[0]
        super().__init__(first.where)
        self.title, self.outputs, self.batch = first.title, first.outputs, first.batch
        self.takes_pictures, self.shape = first.takes_pictures, first.shape
        self._free: SimpleQueue[Engine] = SimpleQueue()
        for engine in engines:
            self._free.put(engine)

    def run(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output for any batch, as :meth:`Engine.run`, in an engine that is free."""
        engine = self._free.get()
        try:
            return engine.run(x, output)
        finally:
            self._free.put(engine)


def channels_of(spec: NetworkSpec) -> dict[str, int]:
    """Return the channels of each output of a network, by the output's name."""
    pooled = resolve(spec).linears[0].in_features
    return {
        "logits": spec.logits, "probabilities": spec.logits, "features": pooled, "map": pooled
    }  # fmt: skip


def cannot_run(where: str, title: str, reason: object) -> ArtifactError:
    """Return the error for an artifact that a runtime cannot run."""
    return ArtifactError(f"{where}: {title} cannot run it ({reason})")


def in_fixed_batches(compute: Callable[[NDArray], NDArray], x: NDArray, batch: int) -> NDArray:
    """Compute in batches of exactly ``batch`` images; the last one is padded with zeros.

    Args:
        compute: function from (batch, ...) to (batch, n).
        x: array (images, ...), which may be empty.
        batch: number of images in a batch.

    Returns:
        Array (images, n), in order.
    """
    missing = -len(x) % batch if len(x) else batch
    filled = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x
    parts = [compute(filled[i : i + batch]) for i in range(0, len(filled), batch)]
    return np.concatenate(parts)[: len(x)] if len(parts) > 1 or missing else parts[0]


def read_bounded(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """Read a whole file, if it is not too large.

    Raises:
        ArtifactError: the file is larger than ``limit`` bytes.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > limit:
        raise ArtifactError(f"{path}: {size:,} bytes are more than the limit of {limit:,}")
    return read_file(path, limit)


def embedded_config(text: str | None, path: Path) -> ModelConfig:
    """Return the config inside an exported file, with preprocessing and labels.

    Args:
        text: value of our key in the file's metadata; None if the file does not have the key.
        path: path of the file, for messages.

    Raises:
        ArtifactError: the file has no config, or it is damaged.
    """
    if text is None:
        made = BY_ENDING.get(path.suffix.lower())
        advice = (
            f"'mobilenetv2 weights import {path} OUT' converts it into a model folder"
            if made is not None and (made.graph or made.name == "keras")
            else "create the file with 'mobilenetv2 export'"
        )
        raise ArtifactError(
            f"{path}: it has no preprocessing and labels, which files of 'mobilenetv2 export' "
            f"contain; {advice}"
        )
    from mobilenetv2.checkpoints.description import parse_config  # a model folder needs none

    try:
        return parse_config(text)
    except DialectError as error:
        raise ArtifactError(f"{path}: {error}") from None


def archived_config(data: bytes, name: str, path: Path, broken: str) -> str | None:
    """Return the text of our entry in a .zip archive; None if it has no such entry.

    Args:
        data: bytes of the archive, which may follow other bytes.
        name: name of the entry, which is stored without compression.
        path: path of the file, for messages.
        broken: explanation of a damaged archive, for messages.

    Raises:
        ArtifactError: the archive is damaged.
    """
    import zipfile

    from mobilenetv2.zips import Zip

    try:
        with Zip(data) as archive:
            entry = archive.getinfo(name)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > LARGEST_CONFIG:
                raise ArtifactError(f"{path}: the config inside it was changed or damaged")
            return archive.content(entry, LARGEST_CONFIG).decode("utf-8")
    except KeyError:
        return None
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: {broken} ({error})") from None


def another_network(path: Path, config: ModelConfig, graph: str) -> ArtifactError:
    """Return the error for a file whose config describes another network than its graph.

    Args:
        path: path of the file.
        config: config inside the file.
        graph: inputs or outputs of the graph, for the message.
    """
    (height, width), channels = config.spec.size, config.spec.input_channels
    return ArtifactError(
        f"{path}: the config inside it describes another network: the config has images of "
        f"{height} x {width} x {channels} and {config.spec.logits} logits, but the graph {graph}"
    )
