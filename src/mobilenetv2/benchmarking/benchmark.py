"""Benchmark of a model: speed, accuracy, size and memory by runtime and precision."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from mobilenetv2 import machine as machines
from mobilenetv2.benchmarking.choices import Candidate, choose_candidates, choose_photos
from mobilenetv2.benchmarking.job import Job, measure_candidates
from mobilenetv2.benchmarking.results import Row, by_latency, draw, tabulate
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.run_record import trained_on
from mobilenetv2.exporting.job import versions
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import ALIASES, FORMATS, INT8, PRECISIONS, RUNTIMES, Precision
from mobilenetv2.locks import hold
from mobilenetv2.machine import workers
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.model.store import load_config
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.fastest import PICTURES, Asked, Trial, choose, sentence
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.loading import tell
from mobilenetv2.runtime.predictor import is_exported, load_any_artifact, require_nothing
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import Resize
from mobilenetv2.text import counted, json_text, percent, several

REPORT, PICTURE = "benchmark.json", "benchmark.png"
TIMED = "the runtime's answer to pictures that are prepared already, in turns"


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark:
    """Results of all candidates (runtime and precision) on one machine."""

    model: str
    rows: tuple[Row, ...]
    """Results by candidate, the fastest first; failed ones are last and have an ``error``."""
    machine: dict[str, Any]
    """Processor, cores, memory in bytes, system, Python."""
    versions: dict[str, str]
    """Versions of the packages that wrote or ran a file."""
    threads: int
    """Number of threads of each runtime."""
    batches: tuple[int, ...]
    """Batch sizes; candidates are sorted by their latency at the first one."""
    seconds: float
    """Seconds of measurement for each candidate and batch size."""
    photos: int
    """Number of photos on which the predictions were compared."""
    photos_from: str
    calibrated_on: str | None
    """Description of the calibration photos of int8; None without int8."""
    reference: str
    """Model or file with which the predictions were compared."""
    date: str
    """Start in UTC, ISO 8601."""
    command: str | None = None
    """Command line of the benchmark; None if it was started in Python."""
    many: tuple[Trial, ...] = ()
    """Trials on many photos at once, as ``predict`` with the runtime 'auto' makes them."""
    fastest: str = ""
    """Runtime and precision that 'auto' takes, and how its answers differ; '' without trials."""

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
        """Return the column names, and a row of texts for each candidate."""
        return tabulate(self.rows, self.batches)

    def table_of_many(self) -> tuple[list[str], list[list[str]]]:
        """Return the column names and a row for each trial on many photos."""
        rows = [
            [one.candidate.runtime, one.candidate.precision, *(
                [f"{one.rate:.0f}", percent(one.same), f"{one.difference:.2g}"] if not one.error
                else ["error", "-", "-"]
            )]
            for one in sorted(self.many, key=lambda one: -one.rate)
        ]  # fmt: skip
        return ["runtime", "precision", "/s", "same answer", "difference"], rows

    def notes(self) -> list[str]:
        """Return the candidates' errors, and notes on candidates that slowed down others."""
        notes = []
        for row in self.rows:
            if row.error:
                notes.append(f"{row.candidate.name}: {row.error}")
            elif row.busy:
                notes.append(
                    f"note: {row.candidate.name} keeps computing between its turns, which slows "
                    "down the others; for fair results, benchmark its runtime separately"
                )
        return notes

    def to_dict(self, every: bool = False) -> dict[str, Any]:
        """Return plain values for JSON.

        Args:
            every: True to include the milliseconds of every run.
        """
        return {
            "model": self.model, "command": self.command, "date": self.date,
            "machine": self.machine, "versions": self.versions, "threads": self.threads,
            "batches": list(self.batches), "seconds": self.seconds, "photos": self.photos,
            "photos_from": self.photos_from, "calibrated_on": self.calibrated_on,
            "reference": self.reference, "timed": TIMED,
            "rows": [row.to_dict(every) for row in self.rows],
            "many": [asdict(one) for one in self.many], "fastest": self.fastest,
        }  # fmt: skip

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``benchmark.json`` with every run, and the figure ``benchmark.png``, to a folder.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        place = Path(folder)
        title = (
            f"{self.model} on {self.photos_from}\n{self.machine['processor']}, "
            f"{self.threads} threads"
        )
        record = json_text(self.to_dict(every=True), indent=1) + "\n"
        with hold(place, inside=True, wait=True):
            write_atomically(place / REPORT, record)
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
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> Benchmark:
    """Measure a model in several runtimes and precisions: speed, accuracy, size, memory.

    Each candidate runs in a separate process, and all take turns, so that a machine that slows down
    affects all of them.

    Args:
        model: model folder, published name, exported file, or network of any edition.
        runtime: one or several runtimes, such as 'onnxruntime'; default: all installed ones.
        precision: one or several of 'float32', 'float16', 'bfloat16' and 'int8'. Default: float32,
            and int8 if there are photos for calibration.
        data: labelled photos to measure the accuracy on: folder or archive of class folders.
        split: split of ``data`` to measure on; default: test, else validation.
        calibration: folder of photos for the calibration of int8; default: training split of
            ``data``.
        artifacts: folder of exported files to measure, too.
        threads: number of threads of each runtime; default: number of cores.
        batch: one or several batch sizes.
        seconds: seconds of measurement for each candidate and batch size, at most 3,600.
        output: folder for ``benchmark.json`` and a figure; default: nothing is written.
        command: command line for the record.
        labels, preprocessing, resize: for a .tflite or .onnx file of another program, as
            :func:`mobilenetv2.predict` takes them.
        ignore: patterns of names of files and folders that are passed over, such as "raw*" or
            "hat/old"; a pattern with a '/' is matched with the path below the data.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8, such as 'gbk'.
            Default: UTF-8, else code page 437.

    Returns:
        The results; a failed candidate has an ``error`` in its row.

    Raises:
        ArtifactError: a runtime or precision is unknown, or does not fit the model.
        DataError: int8 is given, and there are no photos for calibration.
        WeightsError: the model cannot be downloaded or read.
        MissingExtra: a given runtime, or matplotlib for ``output``, is not installed.

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
        raise ArtifactError("split needs data; give data, too")
    if threads is not None and threads < 1:
        raise ArtifactError(f"threads {threads} must be at least 1")
    said = given_options(labels, preprocessing, resize)
    batches = (batch,) if isinstance(batch, int) else tuple(batch)
    if not batches or min(batches) < 1:
        raise ArtifactError("batch sizes must be at least 1")
    runtimes = _known(runtime, "runtime", tuple(RUNTIMES))
    wanted = _known(precision, "precision", (*PRECISIONS, INT8))
    machine = machines.describe()  # before this process adds to its load
    date = datetime.now(UTC).isoformat(timespec="seconds")
    if output is not None:
        require("matplotlib")  # before minutes of measurement
        Path(output).mkdir(parents=True, exist_ok=True)
    with located(model) as given:
        exported = is_exported(given.place)
        config: AnyConfig
        if exported:
            config = load_any_artifact(given.place, given=said, threads=threads).config
        else:
            require_nothing(said, given.place)
            config = load_config(given.place)
        if isinstance(config, ForeignConfig):
            tell(config)
        if data:
            require_answers(config, given.name)
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
            os.fspath(calibration) if calibration else None, need, ignore, zip_encoding,
        )  # fmt: skip
        if needs_int8 and photos.calibration is None:  # of 'if possible' only
            candidates = [who for who in candidates if who.precision != INT8 or who.path]
        if alarm := machines.warning(machine):
            say(alarm)
        job = Job(
            given.place, config, tuple(candidates), photos, threads or workers(), batches, seconds
        )
        rows = by_latency(measure_candidates(job), batches[0])
        reference = f"{given.name} in its first runtime" if exported else None
        found = _record(job, given.name, rows, machine, date, reference, command)
        chosen, trials = choose(
            Asked(given.place, "auto", given=said, callers=job.threads), config.preprocessing,
            lambda _: photos.pictures[:PICTURES], anew=True, keep=bool(data),
        )  # fmt: skip
        found = replace(found, many=trials, fastest=sentence(chosen, trials) if trials else "")
    if output is not None:
        found.save(output)
    return found


def _known(given: str | Sequence[str] | None, what: str, known: Sequence[str]) -> list[str] | None:
    """Return the canonical names without duplicates; None if none are given."""
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
    """Return the import names of the packages that wrote or ran the files."""
    named = {"onnxruntime"}
    for who in candidates:
        named |= {*FORMATS[who.format].packages, *RUNTIMES[who.runtime].own.packages}
    return sorted(named)
