"""The whole measurement: files written, everyone started, bursts in turns, answers compared."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmark import machine
from mobilenetv2.benchmark.candidate import Candidate
from mobilenetv2.benchmark.process import LONGEST, Process
from mobilenetv2.benchmark.results import Row, Speed, compare_answers
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.formats import FORMATS, INT8
from mobilenetv2.model import store
from mobilenetv2.progress import say, track
from mobilenetv2.quantize import post_training
from mobilenetv2.quantize.scheme import save_scheme
from mobilenetv2.runtime.predictor import load_predictor
from mobilenetv2.spec.records import ModelConfig

ANSWERED = 8
"""Pictures in a batch where answers are compared."""
LEAST_MEMORY = 1024**3
"""Bytes that must be free for one candidate more."""
ROUNDS = 6
"""Bursts into which each candidate's seconds are divided."""
SEED = 0
Burst = Callable[[int, float], dict[str, Any]]
"""(batch, seconds) -> the answer of ``running.Runner.burst``."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured, and on what."""

    model: Path
    """A model folder, or an exported file where no file has to be written."""
    config: ModelConfig
    candidates: tuple[Candidate, ...]
    pictures: NDArray
    """uint8 (photos, height, width, channels)."""
    truth: NDArray | None
    """int (photos,): classes."""
    calibration: NDArray | None
    """As ``pictures``, and none of them; where int8 files have to be written."""
    threads: int
    batches: tuple[int, ...]
    seconds: float
    """Seconds of counted runs for each candidate and size of batch."""


def measure_candidates(job: Job) -> list[Row]:
    """Return a row for each candidate. What fails has its error there, and the others go on.

    Raises:
        MobileNetV2Error: the model itself cannot be read or run.
    """
    rows = [Row(candidate) for candidate in job.candidates]
    with TemporaryDirectory(prefix="benchmark-") as name, ExitStack() as stack:
        folder = Path(name)
        np.save(folder / "pictures.npy", job.pictures)
        reference = reference_logits(job)
        paths = _write_files(job, rows, folder)
        processes: dict[int, Process] = {}
        for key, path in paths.items():
            process = Process(rows[key].candidate.name, folder / f"{key}.log", job.threads)
            processes[key] = stack.enter_context(process)
            _load(job, rows[key], process, path)
        _measure_speeds(job, rows, processes, folder)
        _compare_all(job, rows, processes, folder, reference)
    return rows


def reference_logits(job: Job) -> NDArray:
    """Return the network's own logits: ONNX Runtime in float32; of an exported file, its own."""
    _, predict = load_predictor(job.model, threads=job.threads)
    count = len(job.pictures)
    parts = (job.pictures[i : i + ANSWERED] for i in range(0, count, ANSWERED))
    return np.concatenate([predict(p) for p in track(parts, "reference", count, ANSWERED)])


def _write_files(job: Job, rows: Sequence[Row], folder: Path) -> dict[int, Path]:
    """Return every candidate's file by its place in ``rows``; of others the error is there."""
    paths: dict[int, Path] = {}
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
            paths[key] = path
    return paths


def _calibrate(job: Job, folder: Path) -> dict[str, str]:
    """Quantise once for all formats; return where it lies, as part of a request."""
    if job.calibration is None:
        raise ArtifactError("int8 needs photos to calibrate on; give --calibration FOLDER")
    say(f"calibrating int8 on {len(job.calibration)} photos")
    scheme = post_training.quantise(*store.load(job.model), job.calibration)
    places = {"scheme": folder / "scheme.npz", "calibration": folder / "calibration.npy"}
    save_scheme(scheme, places["scheme"])
    np.save(places["calibration"], job.calibration)
    return {name: str(path) for name, path in places.items()}


def write_file(job: Job, candidate: Candidate, folder: Path, given: dict[str, str]) -> Path:
    """Have a candidate's file written into a new folder by a process of its own; return it."""
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
    """Start a candidate; its error is in its row."""
    free = machine.available_memory()
    try:
        if free is not None and free < LEAST_MEMORY:
            raise ArtifactError(
                f"only {free / 1e6:.0f} MB of memory are free, so it was not started; choose fewer "
                "with --runtime"
            )
        found = process.ask({
            "do": "load", "runtime": row.candidate.runtime, "format": row.candidate.format,
            "path": str(path), "threads": job.threads, "config": json.loads(job.config.to_json()),
        })  # fmt: skip
    except MobileNetV2Error as error:
        row.error = str(error)
        return
    row.load, row.memory_after_load = found["load_s"], found["memory_after_load"]


def _measure_speeds(
    job: Job, rows: Sequence[Row], processes: dict[int, Process], folder: Path
) -> None:
    def burst(process: Process, batch: int, seconds: float) -> dict[str, Any]:
        return process.ask({
            "do": "burst", "pictures": str(folder / "pictures.npy"), "batch": batch,
            "seconds": seconds,
        })  # fmt: skip

    turns = [
        Turn(key, batch, partial(burst, process))
        for key, process in processes.items()
        for batch in job.batches
        if not rows[key].error
    ]
    failed: dict[int, str] = {}
    for _ in track(take_turns(turns, job.seconds, failed), "measuring", len(turns) * ROUNDS):
        pass
    for key, error in failed.items():
        rows[key].error = error
    for turn in turns:
        row = rows[turn.key]
        if not row.error and turn.first is not None:
            row.speeds.append(Speed(turn.batch, tuple(turn.seconds), turn.first))
            row.memory = max(row.memory or row.memory_after_load or 0, turn.last["memory"])
            row.busy |= turn.busy


def _compare_all(
    job: Job, rows: Sequence[Row], processes: dict[int, Process], folder: Path, reference: NDArray
) -> None:
    able = [key for key, row in enumerate(rows) if not row.error]
    for key in track(able, "comparing answers", len(able)):
        row, out = rows[key], folder / f"{key}.npy"
        request = {
            "do": "answer", "pictures": str(folder / "pictures.npy"), "out": str(out),
            "batch": ANSWERED,
        }  # fmt: skip
        try:
            processes[key].ask(request, LONGEST + len(job.pictures))
            found = np.load(out)
            if found.shape != reference.shape:
                raise ArtifactError(f"{row.candidate.name}: its logits have another shape")
            row.agreement = compare_answers(
                found, reference, job.truth, job.config.spec.classifier.outputs
            )
        except MobileNetV2Error as error:
            row.error = str(error)


@dataclass(slots=True)
class Turn:
    """One candidate with one size of batch, and what it has shown so far."""

    key: int
    """Place of its candidate."""
    batch: int
    burst: Burst
    seconds: list[float] = field(default_factory=list)
    """Seconds of each counted run, in the order in which they were."""
    first: float | None = None
    """Seconds of the very first run."""
    last: dict[str, Any] = field(default_factory=dict)
    """The answer to the last burst."""
    busy: bool = False
    """Whether it went on computing when it was no more its turn."""

    def share(self, seconds: float, rounds: int) -> int:
        """Return how many of so many parts of its seconds are over."""
        return min(rounds, int(rounds * sum(self.seconds) / seconds + 1e-9))


def take_turns(
    turns: Sequence[Turn], seconds: float, failed: dict[int, str], rounds: int = ROUNDS
) -> Iterator[Turn]:
    """Measure in short bursts until each has run for that long: a machine that slows down slows all
    of them. The order is another one every round.

    Args:
        seconds: of counted runs for each turn.
        failed: key -> error. Whoever fails is entered and left out from then on.

    Yields:
        Each turn ``rounds`` times, as that share of its seconds is over: for a bar of progress.
    """
    order = random.Random(SEED)
    told = {id(turn): 0 for turn in turns}
    open_ = list(turns)
    while open_:
        order.shuffle(open_)
        for turn in open_:
            if turn.key not in failed:
                _take_one(turn, seconds / rounds, failed)
            done = rounds if turn.key in failed else turn.share(seconds, rounds)
            yield from [turn] * (done - told[id(turn)])
            told[id(turn)] = done
        open_ = [turn for turn in open_ if told[id(turn)] < rounds]


def _take_one(turn: Turn, seconds: float, failed: dict[int, str]) -> None:
    try:
        found = turn.burst(turn.batch, seconds)
    except MobileNetV2Error as error:
        failed[turn.key] = str(error)
        return
    turn.seconds += found["seconds"]
    turn.first = found["first_s"] if turn.first is None else turn.first
    turn.busy |= bool(found["busy"])
    turn.last = found
