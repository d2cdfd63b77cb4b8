"""Runtimes x precisions of one model: speed, accuracy, size and memory, as one record."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from mobilenetv2.benchmarking import machine as machines
from mobilenetv2.benchmarking.choices import Candidate, choose_candidates, choose_photos
from mobilenetv2.benchmarking.job import Job, measure_candidates
from mobilenetv2.benchmarking.results import Row, by_latency, draw, tabulate
from mobilenetv2.data.batches import workers
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.exporting.job import versions
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import ALIASES, FORMATS, INT8, PRECISIONS, RUNTIMES, Precision
from mobilenetv2.model.store import load_config
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import is_exported, load_artifact
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.text import counted, several

REPORT, PICTURE = "benchmark.json", "benchmark.png"
TIMED = "the runtime's answer to pictures that are prepared already, in turns"


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark:
    """The figures of each candidate, a runtime with a precision, on one machine."""

    model: str
    rows: tuple[Row, ...]
    """The quickest first; those that failed, last, have an ``error``."""
    machine: dict[str, Any]
    """Processor, cores, memory in bytes, system, Python."""
    versions: dict[str, str]
    """Version of each package that took part."""
    threads: int
    """Threads of each runtime."""
    batches: tuple[int, ...]
    """Sizes of batch; candidates are ordered by their latency at the first."""
    seconds: float
    """Seconds of measuring for each candidate and size of batch."""
    photos: int
    """Number of photos that answers were compared on."""
    photos_from: str
    calibrated_on: str | None
    """Photos that int8 was calibrated on, in words."""
    reference: str
    """The model or file that the answers were compared with."""
    date: str
    """Start in UTC, ISO 8601."""
    command: str | None = None
    """The command line, where one asked for it."""

    def __repr__(self) -> str:
        failed = sum(bool(row.error) for row in self.rows)
        best = self.rows[0]
        speed = best.speed(self.batches[0])
        first = f": {best.candidate.name} {1e3 * speed.median:.2f} ms first" if speed else ""
        return f"<Benchmark of {self.model}, {counted(len(self.rows), 'candidate')}{first}" + (
            f", {failed} failed>" if failed else ">"
        )

    def _repr_html_(self) -> str:
        columns, rows = self.table()
        return element(
            "table",
            element("caption", f"{self.model} on {self.photos_from}, {self.threads} threads"),
            element("thead", element("tr", [element("th", one) for one in columns])),
            element(
                "tbody", [element("tr", [element("td", cell) for cell in row]) for row in rows]
            ),
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the names of the columns, and a row of texts for each candidate."""
        return tabulate(self.rows, self.batches)

    def notes(self) -> list[str]:
        """Return the errors of candidates, and what made the figures of others unfair."""
        notes = []
        for row in self.rows:
            if row.error:
                notes.append(f"{row.candidate.name}: {row.error}")
            elif row.busy:
                notes.append(
                    f"note: {row.candidate.name} goes on computing when it is not its turn, at the "
                    "others' expense; leaving its runtime out is fairer"
                )
        return notes

    def to_dict(self, every: bool = False) -> dict[str, Any]:
        """Return plain values for JSON.

        Args:
            every: with the milliseconds of every single run.
        """
        return {
            "model": self.model, "command": self.command, "date": self.date,
            "machine": self.machine, "versions": self.versions, "threads": self.threads,
            "batches": list(self.batches), "seconds": self.seconds, "photos": self.photos,
            "photos_from": self.photos_from, "calibrated_on": self.calibrated_on,
            "reference": self.reference, "timed": TIMED,
            "rows": [row.to_dict(every) for row in self.rows],
        }  # fmt: skip

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``benchmark.json``, with every run, and the plot ``benchmark.png`` into a folder.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / REPORT, json.dumps(self.to_dict(every=True), indent=1) + "\n")
        title = (
            f"{self.model} on {self.photos_from}\n{self.machine['processor']}, "
            f"{self.threads} threads"
        )
        draw(self.rows, self.batches[0], title, place / PICTURE)
        say(f"wrote {place / REPORT} and {PICTURE}")


def benchmark(
    model: AnyModel,
    *,
    runtime: str | Sequence[str] | None = None,
    precision: Precision | Sequence[Precision] | None = None,
    data: str | PathLike[str] | None = None,
    split: str | None = None,
    calibration: str | PathLike[str] | None = None,
    artifacts: str | PathLike[str] | None = None,
    threads: int | None = None,
    batch: int | Iterable[int] = (1, 32),
    seconds: float = 3.0,
    output: str | PathLike[str] | None = None,
    command: str | None = None,
) -> Benchmark:
    """Measure a model in several runtimes and precisions: speed, accuracy, size, memory.

    Each candidate runs in a process of its own, and all of them take turns, so that a machine that
    slows down slows them alike.

    Args:
        model: a model folder, a published name, an exported file, or a network of any edition.
        runtime: one runtime or several, such as 'onnxruntime'; None is all that are installed.
        precision: 'float32', 'float16', 'bfloat16', 'int8', or several; None is float32, and int8
            where photos to calibrate on are given.
        data: labelled photos, for accuracy: a folder or archive of class folders.
        split: the split of ``data``; None is test, else validation.
        calibration: a folder of photos to calibrate int8 on; None takes the training split.
        artifacts: a folder of exported files to measure, too.
        threads: threads of each runtime; None is the number of cores.
        batch: one size of batch, or several.
        seconds: seconds of measuring for each candidate and size of batch, at most 3,600.
        output: a folder for ``benchmark.json`` and a plot.
        command: the command line, for the record.

    Returns:
        The figures; a candidate that failed has an ``error`` in its row.

    Raises:
        ArtifactError: an unknown runtime or precision, or one that does not go with the model.
        DataError: no photos to calibrate on, and int8 was asked for.
        WeightsError: the model cannot be had or read.
        MissingExtra: a runtime that was asked for is not installed, or matplotlib for ``output``.

    Example:
        >>> found = mn.benchmark("embedded", runtime="onnxruntime", batch=1, seconds=0.05)
        >>> row = found.rows[0]
        >>> row.candidate.precision, row.agreement.same, row.agreement.photos
        ('float32', 32, 32)
        >>> row.speed(1).median < 1.0
        True
    """
    if not 0 < seconds <= 3600:
        raise ArtifactError(f"seconds {seconds:g} must be above 0 and at most an hour")
    if split and not data:
        raise ArtifactError("split is of data, which is not given")
    if threads is not None and threads < 1:
        raise ArtifactError(f"threads {threads} must be at least 1")
    batches = (batch,) if isinstance(batch, int) else tuple(batch)
    if not batches or min(batches) < 1:
        raise ArtifactError("a size of batch is at least 1")
    runtimes = _known(runtime, "runtime", tuple(RUNTIMES))
    wanted = _known(precision, "precision", (*PRECISIONS, INT8))
    machine = machines.describe()  # before our own work is part of its load
    date = datetime.now(UTC).isoformat(timespec="seconds")
    if output is not None:
        require("matplotlib")  # not after minutes of measuring
        Path(output).mkdir(parents=True, exist_ok=True)
    with located(model) as given:
        exported = is_exported(given.place)
        config = load_artifact(given.place).config if exported else load_config(given.place)
        candidates = choose_candidates(
            given.place if exported else None, runtimes, wanted,
            Path(artifacts) if artifacts is not None else None,
            int8=bool(data or calibration),
        )  # fmt: skip
        needs_int8 = any(who.precision == INT8 and who.path is None for who in candidates)
        need: Literal["no", "if possible", "yes"] = (
            "no" if not needs_int8 else "yes" if wanted else "if possible"
        )
        photos = choose_photos(
            config, trained_on(given.place), os.fspath(data) if data else None, split,
            os.fspath(calibration) if calibration else None, need,
        )  # fmt: skip
        if needs_int8 and photos.calibration is None:  # of 'if possible' only
            candidates = [who for who in candidates if who.precision != INT8 or who.path]
        if alarm := machines.warning(machine):
            say(alarm)
        job = Job(
            given.place, config, tuple(candidates), photos, threads or workers(), batches, seconds
        )
        rows = by_latency(measure_candidates(job), batches[0])
        reference = f"{given.name} itself in its first runtime" if exported else None
        found = _record(job, given.name, rows, machine, date, reference, command)
    if output is not None:
        found.save(output)
    return found


def _known(given: str | Sequence[str] | None, what: str, known: Sequence[str]) -> list[str] | None:
    """Return names as this project spells them, each once; None where none is given."""
    if given is None:
        return None
    names = [ALIASES.get(name, name) for name in several(given)]
    for name in names:
        if name not in known:
            raise ArtifactError(f"{what} {name!r} is unknown; {suggestion(name, known)}")
    return list(dict.fromkeys(names))


def _record(
    job: Job, model: str, rows: Sequence[Row], machine: dict[str, Any], date: str,
    reference: str | None, command: str | None,
) -> Benchmark:  # fmt: skip
    return Benchmark(
        model, tuple(rows), machine, versions(_packages([row.candidate for row in rows])),
        job.threads, job.batches, job.seconds, len(job.photos.pictures), job.photos.source,
        job.photos.calibrated_on, reference or "the model in float32 in ONNX Runtime", date,
        command,
    )  # fmt: skip


def _packages(candidates: Sequence[Candidate]) -> list[str]:
    """Return the import names of what wrote and ran the files."""
    named = {"onnxruntime"}
    for who in candidates:
        named |= {*FORMATS[who.format].packages, *RUNTIMES[who.runtime].own.packages}
    return sorted(named)
