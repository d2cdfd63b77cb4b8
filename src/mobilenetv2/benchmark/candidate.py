"""Candidates of a benchmark: runtimes x precisions, and exported files that exist already."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.errors import ArtifactError, MissingExtra, installing
from mobilenetv2.export.job import RECORD
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import BY_ENDING, INT8, PRECISIONS, RUNTIMES, engines_of
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import is_exported

UNKNOWN = "?"
LARGEST_RECORD = 1024**2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the table: a file in a runtime."""

    runtime: str
    format: str
    precision: str
    """Precision of the file; :data:`UNKNOWN` of one that does not say."""
    path: Path | None = None
    """A file that was there before; None is one that is written for the occasion."""

    @property
    def name(self) -> str:
        """For progress and errors."""
        return f"{self.runtime} {self.path.name if self.path else self.precision}"


def choose_candidates(
    exported: Path | None,
    runtimes: Sequence[str] | None,
    precisions: Sequence[str] | None,
    artifacts: Path | None,
    int8: bool,
) -> list[Candidate]:
    """Return what is measured; what is not installed is named and left out.

    Args:
        exported: the model, where it is a file: it runs in every runtime that takes it.
        runtimes: None is all that are installed.
        precisions: None is float32.
        artifacts: a folder with more files.
        int8: by default int8, too.

    Raises:
        MissingExtra: a runtime that was asked for by name is not installed, or none is.
        ArtifactError: a runtime or precision that does not go with the model.
    """
    names = runtimes or list(RUNTIMES)
    if exported is None:
        found = cross(names, precisions or ["float32", *([INT8] if int8 else [])])
    elif precisions:
        raise ArtifactError(
            f"{exported}: an exported file has its precision; --precision is for a model folder"
        )
    else:
        found = candidates_of_file(exported, names)
        if not found:
            raise ArtifactError(f"{exported}: {', '.join(names)} does not run such a file")
    if artifacts is not None:
        found += candidates_in(artifacts, names)
    return _installed(found, asked=bool(runtimes))


def _installed(candidates: Sequence[Candidate], asked: bool) -> list[Candidate]:
    kept: list[Candidate] = []
    absent: dict[str, list[str]] = {}
    for who in candidates:
        packages = RUNTIMES[who.runtime].own.missing()
        if not packages:
            kept.append(who)
        elif who.runtime not in absent:
            absent[who.runtime if who.precision != INT8 else f"{who.runtime} int8"] = packages
    for label, packages in absent.items():
        text = f"for want of {' and '.join(packages)}; {installing(packages)} brings it"
        if asked or not kept:
            raise MissingExtra(f"{label} cannot be measured, {text}")
        say(f"note: {label} is left out, {text}")
    return kept


def cross(runtimes: Sequence[str], precisions: Sequence[str]) -> list[Candidate]:
    """Return every runtime in every precision that its format has.

    Raises:
        ArtifactError: a precision that none of the runtimes has.
    """
    found = []
    for precision in precisions:
        able = [name for name in runtimes if RUNTIMES[name].own.has(precision)]
        if not able:
            others = [name for name in RUNTIMES if RUNTIMES[name].own.has(precision)]
            raise ArtifactError(
                f"--precision {precision}: {', '.join(runtimes)} has none; {', '.join(others)} has"
            )
        found += [Candidate(name, RUNTIMES[name].own.name, precision) for name in able]
    return found


def candidates_of_file(path: Path, runtimes: Sequence[str]) -> list[Candidate]:
    """Return an exported file in each of the runtimes that takes its format."""
    format_ = BY_ENDING[path.suffix.lower()].name
    precision = precision_of(path)
    return [
        Candidate(name, format_, precision, path)
        for name in engines_of(format_)
        if name in runtimes
    ]


def candidates_in(folder: Path, runtimes: Sequence[str]) -> list[Candidate]:
    """Return every exported file in a folder that engines here take, by name.

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
    found = [each for file in files for each in candidates_of_file(file, runtimes)]
    if not found:
        raise ArtifactError(
            f"--artifacts {folder}: no exported file of {', '.join(runtimes)} is in it; their "
            f"names end in {', '.join(e for e, made in BY_ENDING.items() if made.readable)}"
        )
    return found


def precision_of(path: Path) -> str:
    """Return what ``export`` or ``quantize`` wrote down beside a file, if it is about this file."""
    record = path.with_name(f"{path.name}{RECORD}")
    try:
        if record.stat().st_size > LARGEST_RECORD:
            return UNKNOWN
        known = json.loads(record.read_text("utf-8"))
        precision, digest = known["precision"], known["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return UNKNOWN
    fits = precision in (*PRECISIONS, INT8) and digest == sha256_of_file(path)
    return str(precision) if fits else UNKNOWN
