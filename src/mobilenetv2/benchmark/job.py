"""The whole measurement: files written, everyone started, bursts in turns, answers compared."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmark import memory
from mobilenetv2.benchmark.contestant import Contestant
from mobilenetv2.benchmark.process import LONGEST, Process
from mobilenetv2.benchmark.results import Row, Speed, agree
from mobilenetv2.benchmark.turns import ROUNDS, Turn, interleave
from mobilenetv2.benchmark.writing import save_scheme
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.formats import FORMATS, INT8
from mobilenetv2.model import store
from mobilenetv2.progress import say, track
from mobilenetv2.quantize import post_training
from mobilenetv2.runtime.predictor import predictor
from mobilenetv2.spec.records import ModelConfig

ANSWERED = 8
"""Pictures in a batch where answers are compared."""
LEAST_MEMORY = 1024**3
"""Bytes that must be free for one contestant more."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured, and on what."""

    model: Path
    """A model folder, or an exported file where no file has to be written."""
    config: ModelConfig
    contestants: tuple[Contestant, ...]
    pictures: NDArray
    """uint8 (photos, height, width, channels)."""
    truth: NDArray | None
    """int (photos,): outputs of the network."""
    calibration: NDArray | None
    """As ``pictures``, and none of them; where int8 files have to be written."""
    threads: int
    batches: tuple[int, ...]
    seconds: float
    """Of counted runs for each contestant and size of batch."""


def run(job: Job) -> list[Row]:
    """Measure. What fails has its error in its row, and the others go on.

    Raises:
        MobileNetV2Error: the model itself cannot be read or run.
    """
    rows = [Row(contestant) for contestant in job.contestants]
    with TemporaryDirectory(prefix="benchmark-") as name, ExitStack() as stack:
        folder = Path(name)
        pictures = folder / "pictures.npy"
        np.save(pictures, job.pictures)
        reference = expected(job)
        paths = written(job, rows, folder)
        processes: dict[int, Process] = {}
        for key in paths:
            process = Process(rows[key].contestant.name, folder / f"{key}.log", job.threads)
            processes[key] = stack.enter_context(process)
            load(job, rows[key], process, paths[key])
        _measure(job, rows, processes, pictures)
        _compare(job, rows, processes, folder, reference)
    return rows


def expected(job: Job) -> NDArray:
    """The logits of the network itself: ONNX Runtime in float32; of an exported file, its own."""
    _, predict = predictor(job.model, threads=job.threads)
    count = len(job.pictures)
    parts = (job.pictures[i : i + ANSWERED] for i in range(0, count, ANSWERED))
    return np.concatenate([predict(p) for p in track(parts, "reference", count, ANSWERED)])


def written(job: Job, rows: Sequence[Row], folder: Path) -> dict[int, Path]:
    """Every contestant's file, by its place in ``rows``; those without have their error there."""
    paths: dict[int, Path] = {}
    given: dict[str, str] = {}
    if any(row.contestant.path is None and row.contestant.precision == INT8 for row in rows):
        given = calibrated(job, folder)
    for key, row in enumerate(rows):
        who = row.contestant
        path = who.path
        try:
            if path is None:
                say(f"{key + 1} of {len(rows)}: writing {who.format} {who.precision}")
                path = write(job, who, folder / str(key), given)
            row.bytes = size(path, who.format)
        except (MobileNetV2Error, OSError) as error:
            row.error = str(error)
        else:
            paths[key] = path
    return paths


def calibrated(job: Job, folder: Path) -> dict[str, str]:
    """Quantise once for all formats; where it lies."""
    if job.calibration is None:
        raise ArtifactError("int8 needs photos to calibrate on; give --calibration FOLDER")
    config, arrays = store.load(job.model)
    say(f"calibrating int8 on {len(job.calibration)} photos")
    scheme = post_training.quantise(config, arrays, job.calibration)
    save_scheme(scheme, folder / "scheme.npz")
    np.save(folder / "calibration.npy", job.calibration)
    return {
        "scheme": str(folder / "scheme.npz"), "calibration": str(folder / "calibration.npy")
    }  # fmt: skip


def write(job: Job, who: Contestant, folder: Path, given: dict[str, str]) -> Path:
    """One file, by a process of its own."""
    folder.mkdir()
    out = folder / f"model{FORMATS[who.format].suffix}"
    request = {
        "do": "write", "model": str(job.model), "format": who.format, "precision": who.precision,
        "out": str(out), **given,
    }  # fmt: skip
    with Process(who.name, folder / "log", job.threads) as process:
        process.ask(request)
    return out


def size(path: Path, format_: str) -> int:
    """Bytes of a file and those that belong to it; of a folder, of all in it."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    suffix = FORMATS[format_].suffix
    stem = path.name[: -len(suffix)] if suffix and path.name.endswith(suffix) else path.stem
    others = [path.with_name(stem + ending) for ending in FORMATS[format_].beside]
    return sum(file.stat().st_size for file in (path, *others) if file.is_file())


def load(job: Job, row: Row, process: Process, path: Path) -> None:
    """Start a contestant; its error is in its row."""
    free = memory.available()
    try:
        if free is not None and free < LEAST_MEMORY:
            raise ArtifactError(
                f"only {free / 1e6:.0f} MB of memory are free, so it was not started; choose fewer "
                "with --runtime"
            )
        found = process.ask({
            "do": "load", "runtime": row.contestant.runtime, "format": row.contestant.format,
            "path": str(path), "threads": job.threads, "config": json.loads(job.config.to_json()),
        })  # fmt: skip
    except MobileNetV2Error as error:
        row.error = str(error)
        return
    row.load, row.memory_after_load = found["load_s"], found["memory_after_load"]


def _measure(
    job: Job, rows: Sequence[Row], processes: dict[int, Process], pictures: Path
) -> None:  # fmt: skip
    """Everyone's speeds, in turns."""

    def burst(process: Process, batch: int, seconds: float) -> dict[str, Any]:
        return process.ask({
            "do": "burst", "pictures": str(pictures), "batch": batch, "seconds": seconds
        })  # fmt: skip

    turns = [
        Turn(key, batch, partial(burst, process))
        for key, process in processes.items()
        for batch in job.batches
        if not rows[key].error
    ]
    failed: dict[int, str] = {}
    for _ in track(interleave(turns, job.seconds, failed), "measuring", len(turns) * ROUNDS):
        pass
    for key, error in failed.items():
        rows[key].error = error
    for turn in turns:
        row = rows[turn.key]
        if not row.error and turn.first is not None:
            row.speeds.append(Speed(turn.batch, tuple(turn.seconds), turn.first))
            row.memory = max(row.memory or row.memory_after_load or 0, turn.last["memory"])
            row.busy |= turn.busy


def _compare(
    job: Job, rows: Sequence[Row], processes: dict[int, Process], folder: Path, reference: NDArray
) -> None:  # fmt: skip
    """Everyone's answers, one after the other."""
    able = [(row, processes[key], key) for key, row in enumerate(rows) if not row.error]
    for row, process, key in track(able, "comparing answers", len(able)):
        out = folder / f"{key}.npy"
        try:
            process.ask(
                {"do": "answer", "pictures": str(folder / "pictures.npy"), "out": str(out),
                 "batch": ANSWERED},
                LONGEST + len(job.pictures),
            )  # fmt: skip
            found = np.load(out)
            if found.shape != reference.shape:
                raise ArtifactError(f"{row.contestant.name}: its logits have another shape")
            row.agreement = agree(found, reference, job.truth)
        except MobileNetV2Error as error:
            row.error = str(error)
