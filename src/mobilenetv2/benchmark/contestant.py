"""Who takes part: runtimes x precisions, and exported files that are there already."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.errors import ArtifactError
from mobilenetv2.export.job import COMPARISON
from mobilenetv2.formats import BY_ENDING, FORMATS, INT8, PRECISIONS, RUNTIMES, Format, engines_of
from mobilenetv2.model.checksum import file_sha256
from mobilenetv2.runtime.artifact import is_exported

UNKNOWN = "?"
LARGEST_RECORD = 1024**2


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of the table: a file in a runtime."""

    runtime: str
    format: str
    precision: str
    """Of the file; :data:`UNKNOWN` of one that does not say."""
    path: Path | None = None
    """A file that was there before; None is one that is written for the occasion."""

    @property
    def name(self) -> str:
        """For progress and errors."""
        return f"{self.runtime} {self.path.name if self.path else self.precision}"


def missing(runtime: str) -> list[str]:
    """Return the packages that a runtime and its own format need and that are not installed."""
    return own_format(runtime).missing()


def own_format(runtime: str) -> Format:
    """Return the format that is written for a runtime: of several that it runs, its own."""
    return FORMATS[RUNTIMES[runtime].formats[-1]]


def made(runtimes: Sequence[str], precisions: Sequence[str]) -> list[Contestant]:
    """Every runtime in every precision that its format has.

    Raises:
        ArtifactError: a precision that none of the runtimes has.
    """
    found = []
    for precision in precisions:
        able = [name for name in runtimes if own_format(name).has(precision)]
        if not able:
            others = [name for name in RUNTIMES if own_format(name).has(precision)]
            raise ArtifactError(
                f"--precision {precision}: {', '.join(runtimes)} has none; {', '.join(others)} has"
            )
        found += [Contestant(name, own_format(name).name, precision) for name in able]
    return found


def of_file(path: Path, runtimes: Sequence[str]) -> list[Contestant]:
    """An exported file in each of the runtimes that takes its format."""
    format_ = BY_ENDING[path.suffix.lower()].name
    precision = precision_of(path)
    return [
        Contestant(name, format_, precision, path)
        for name in engines_of(format_)
        if name in runtimes
    ]


def of_folder(folder: Path, runtimes: Sequence[str]) -> list[Contestant]:
    """Every exported file in a folder that engines here take, by name.

    Raises:
        ArtifactError: there is none.
    """
    if not folder.is_dir():
        raise ArtifactError(f"--artifacts {folder}: no such folder")
    files = [
        file
        for file in sorted(folder.iterdir())
        if is_exported(file) and not file.name.startswith(".")
    ]
    found = [each for file in files for each in of_file(file, runtimes)]
    if not found:
        raise ArtifactError(
            f"--artifacts {folder}: no exported file of {', '.join(runtimes)} is in it; their "
            f"names end in {', '.join(e for e, made in BY_ENDING.items() if made.readable)}"
        )
    return found


def precision_of(path: Path) -> str:
    """What ``export`` or ``quantize`` wrote down beside a file, if it is about this file."""
    record = path.with_name(f"{path.name}{COMPARISON}")
    try:
        if record.stat().st_size > LARGEST_RECORD:
            return UNKNOWN
        known = json.loads(record.read_text("utf-8"))
        precision, digest = known["precision"], known["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return UNKNOWN
    fits = precision in (*PRECISIONS, INT8) and digest == file_sha256(path)
    return str(precision) if fits else UNKNOWN
