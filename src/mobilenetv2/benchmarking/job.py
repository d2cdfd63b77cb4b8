"""Measurement of all candidates: write files, load them, run in turns, compare predictions."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import machine
from mobilenetv2.benchmarking.choices import Candidate, Photos
from mobilenetv2.benchmarking.process import LONGEST, Process
from mobilenetv2.benchmarking.results import Row, Speed, compare_answers
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, argument
from mobilenetv2.files import temporary_folder
from mobilenetv2.formats import FORMATS, INT8
from mobilenetv2.model import store
from mobilenetv2.progress import say, track
from mobilenetv2.quantization import post_training
from mobilenetv2.quantization.scheme import save_scheme
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.foreign import ForeignArtifact, known_artifact
from mobilenetv2.runtime.predictor import EnginePredictor, create_engine, load_artifact
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.mapping import to_mapping

PICTURES = "pictures.npy"
ANSWERED = 8
"""Batch size for the comparison of predictions."""
LEAST_MEMORY = 1024**3
"""Bytes that must be free before a candidate is started."""
ROUNDS = 6
"""Number of turns into which each candidate's seconds are divided."""
SEED = 0
Burst = Callable[[int, float], dict[str, Any]]
"""Function from batch size and seconds to the answer of ``running.Runner.burst``."""


@dataclass(frozen=True, slots=True)
class Job:
    """Options of a benchmark: model, candidates and photos."""

    model: Path
    """Model folder, or an exported file if no file has to be written."""
    config: AnyConfig
    candidates: tuple[Candidate, ...]
    photos: Photos
    """Photos for the comparison, with those for calibration if int8 files have to be written."""
    threads: int
    batches: tuple[int, ...]
    seconds: float
    """Seconds of counted runs for each candidate and batch size."""


def measure_candidates(job: Job) -> list[Row]:
    """Return a row for each candidate; a failed candidate has an error in its row.

    Raises:
        MobileNetV2Error: the model cannot be read or run.
    """
    rows = [Row(candidate) for candidate in job.candidates]
    with temporary_folder() as folder, ExitStack() as stack:
        started = list[tuple[Row, Process]]()
        np.save(folder / PICTURES, job.photos.pictures)
        reference = reference_logits(job)
        for key, (row, path) in enumerate(_write_files(job, rows, folder)):
            process = Process(row.candidate.name, folder / f"{key}.log", job.threads)
            started.append((row, stack.enter_context(process)))
            _load(job, row, process, path)
        _measure_speeds(job, started, folder)
        _compare_all(job, started, folder, reference)
    return rows


def reference_logits(job: Job) -> NDArray:
    """Return the reference's logits: ONNX Runtime in float32, or the exported file itself."""
    artifact: Artifact | ForeignArtifact
    if isinstance(job.config, ForeignConfig):
        known = known_artifact(job.model, job.config)  # with the weights in files beside it
        if known is None:
            raise ArtifactError(f"{job.model}: the file changed while it was measured")
        artifact = known
    else:
        artifact = load_artifact(job.model)  # without a trained classifier, too: speed needs none
    predict = EnginePredictor(
        create_engine(artifact, threads=job.threads), artifact.config.preprocessing
    )
    pictures, count = job.photos.pictures, len(job.photos.pictures)
    parts = (pictures[i : i + ANSWERED] for i in range(0, count, ANSWERED))
    return np.concatenate([predict(p) for p in track(parts, "reference", count, ANSWERED)])


def _write_files(job: Job, rows: Sequence[Row], folder: Path) -> list[tuple[Row, Path]]:
    """Write the files and return the rows with files; put errors into the others."""
    written: list[tuple[Row, Path]] = []
    given: dict[str, str] = {}
    if any(row.candidate.path is None and row.candidate.precision == INT8 for row in rows):
        given = _calibrate(job, folder)
    for key, row in enumerate(rows):
        candidate, path = row.candidate, row.candidate.path
        try:
            if path is None:
                say(f"{key + 1} of {len(rows)}: writing {candidate.format} {candidate.precision}")
                path = write_file(job, candidate, folder / str(key), given)
            row.bytes = FORMATS[candidate.format].size(path)
        except (MobileNetV2Error, OSError) as error:
            row.error = str(error)
        else:
            written.append((row, path))
    return written


def _calibrate(job: Job, folder: Path) -> dict[str, str]:
    """Quantise once for all formats; return the path of the scheme as part of a request."""
    pictures = job.photos.calibration
    if pictures is None:
        raise ArtifactError(
            f"int8 needs photos for calibration; give {argument('calibration')}, a folder"
        )
    say(f"calibrating int8 on {len(pictures)} photos")
    scheme = folder / "scheme.npz"
    save_scheme(post_training.quantise(*store.load(job.model), pictures), scheme)
    return {"scheme": str(scheme)}


def write_file(job: Job, candidate: Candidate, folder: Path, given: dict[str, str]) -> Path:
    """Write a candidate's file into a new folder in a separate process; return its path."""
    folder.mkdir()
    out = folder / f"model{FORMATS[candidate.format].suffix}"
    request = {
        "do": "write", "model": str(job.model), "format": candidate.format,
        "precision": candidate.precision, "out": str(out), **given,
    }  # fmt: skip
    with Process(candidate.name, folder / "log", job.threads) as process:
        process.ask(request)
    return out


def _load(job: Job, row: Row, process: Process, path: Path) -> None:
    """Start a candidate, or put the error into its row."""
    free = machine.available_memory()
    try:
        if free is not None and free < LEAST_MEMORY:
            raise ArtifactError(
                f"not started, since only {free / 1e6:.0f} MB of memory are free; choose fewer "
                "runtimes"
            )
        answer = process.ask({
            "do": "load", "runtime": row.candidate.runtime, "format": row.candidate.format,
            "path": str(path), "threads": job.threads, "config": to_mapping(job.config),
        })  # fmt: skip
    except MobileNetV2Error as error:
        row.error = str(error)
        return
    row.load, row.memory_after_load = answer["load_s"], answer["memory_after_load"]


def _measure_speeds(job: Job, started: Sequence[tuple[Row, Process]], folder: Path) -> None:
    def burst(process: Process, batch: int, seconds: float) -> dict[str, Any]:
        return process.ask({
            "do": "burst", "pictures": str(folder / PICTURES), "batch": batch, "seconds": seconds,
        })  # fmt: skip

    turns = [
        Turn(row, batch, partial(burst, process))
        for row, process in started
        for batch in job.batches
        if not row.error
    ]
    for _ in track(take_turns(turns, job.seconds), "measuring", len(turns) * ROUNDS):
        pass
    for turn in turns:
        row = turn.row
        if not row.error and turn.first is not None:
            row.speeds.append(Speed(turn.batch, tuple(turn.seconds), turn.first))
            row.memory = max(row.memory or row.memory_after_load or 0, turn.memory)


def _compare_all(
    job: Job, started: Sequence[tuple[Row, Process]], folder: Path, reference: NDArray
) -> None:
    able = [(row, process) for row, process in started if not row.error]
    out = folder / "answers.npy"
    request = {
        "do": "answer", "pictures": str(folder / PICTURES), "out": str(out), "batch": ANSWERED,
    }  # fmt: skip
    for row, process in track(able, "comparing predictions", len(able)):
        try:
            process.ask(request, LONGEST + len(job.photos.pictures))
            logits = np.load(out)
            if logits.shape != reference.shape:
                raise ArtifactError(f"{row.candidate.name}: its logits have another shape")
            row.agreement = compare_answers(logits, reference, job.photos.truth, job.config.outputs)
        except MobileNetV2Error as error:
            row.error = str(error)


@dataclass(slots=True, eq=False)
class Turn:
    """Candidate with one batch size, and its measurements so far."""

    row: Row
    """Row of the candidate, for its error and ``busy``."""
    batch: int
    burst: Burst
    seconds: list[float] = field(default_factory=list)
    """Seconds of each counted run, in order."""
    first: float | None = None
    """Seconds of the first run, which is not counted."""
    memory: int = 0
    """Maximum number of resident bytes, as of the last burst."""
    told: int = 0
    """Number of its rounds that were yielded."""

    def take(self, seconds: float) -> None:
        """Run one burst; after an error, put it into the row and skip further turns."""
        if self.row.error:
            return
        try:
            burst = self.burst(self.batch, seconds)
        except MobileNetV2Error as error:
            self.row.error = str(error)
            return
        self.seconds += burst["seconds"]
        self.first = burst["first_s"] if self.first is None else self.first
        self.row.busy |= bool(burst["busy"])
        self.memory = burst["memory"]


def take_turns(turns: Sequence[Turn], seconds: float, rounds: int = ROUNDS) -> Iterator[Turn]:
    """Measure all turns in short bursts, so that a machine that slows down affects all of them.

    The order changes every round.

    Args:
        turns: candidates with their batch sizes.
        seconds: seconds of counted runs for each turn.
        rounds: number of bursts for each turn.

    Yields:
        Each turn ``rounds`` times, after each of its bursts, for a progress bar.
    """
    order = random.Random(SEED)
    open_ = list(turns)
    while open_:
        order.shuffle(open_)
        for turn in open_:
            turn.take(seconds / rounds)
            done = int(rounds * sum(turn.seconds) / seconds + 1e-9)
            done = rounds if turn.row.error else min(rounds, done)
            yield from [turn] * (done - turn.told)
            turn.told = done
        open_ = [turn for turn in open_ if turn.told < rounds]
