"""The protocol of the modules that write files, one for each format.

A format's module, ``mobilenetv2.export.NAME``, has two functions::

    def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None
    def reload(out: Path, threads: int | None = None) -> Engine

``write`` makes the file or folder ``out`` and nothing else but what ``formats.Format.beside``
names; ``reload`` runs it in its own runtime. The config travels inside, or in ``OUT.json`` beside
it.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.formats import FORMATS, Format, Precision
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be."""

    precision: Precision = "float32"
    pictures: bool = False
    """Normalisation inside: it takes uint8 (batch, height, width, channels)."""
    batch: int | None = None
    """None: any, where the format has that; else 1."""
    any_size: bool = False
    """Any height and width."""
    opset: int | None = None
    """Of ONNX; None is what the writer takes by itself."""

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ArtifactError(f"--batch {self.batch} must be at least 1")


class Module(Protocol):
    """What each format's module has."""

    def write(self, config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
        """Make the file (or folder) ``out``.

        Args:
            arrays: canonical.

        Raises:
            SpecError: the format cannot have such a network.
            ArtifactError: the converter failed.
        """

    def reload(self, out: Path, threads: int | None = None) -> Engine:
        """What :func:`write` made, in its own runtime.

        Raises:
            ArtifactError: the runtime does not take it.
        """


def module_of(made: Format) -> Module:
    """Return the module that writes a format's files and runs them.

    Raises:
        MissingExtra: a package is not installed; the message has the line that installs it.
    """
    for package in made.missing():
        require(package)  # which says how to get it
    found: Any = importlib.import_module(f"mobilenetv2.export.{made.name}")
    module: Module = found
    return module


def require_honoured(made: Format, options: Options) -> None:
    """Raise unless a format honours every option that is not left alone.

    Raises:
        ArtifactError: the first that it does not.
    """
    if options.precision not in made.precisions:
        raise ArtifactError(
            f"--format {made.name} has no {options.precision}; it has {', '.join(made.precisions)}"
        )
    usual = Options()
    for field in ("pictures", "batch", "any_size", "opset"):
        if getattr(options, field) != getattr(usual, field) and field not in made.options:
            flag = field.replace("_", "-")
            able = [one.name for one in FORMATS.values() if field in one.options]
            raise ArtifactError(
                f"--format {made.name} has no --{flag}, which is for {', '.join(able)}"
            )


def find(name: str) -> Format:
    """Return the format of that name.

    Raises:
        ArtifactError: there is none.
    """
    if name not in FORMATS:
        raise ArtifactError(f"--format {name}: unknown; {suggestion(name, FORMATS)}")
    return FORMATS[name]
