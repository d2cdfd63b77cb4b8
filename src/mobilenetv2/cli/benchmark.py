"""``mobilenetv2 benchmark``: runtimes x precisions in one table: speed, accuracy, size, memory."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mobilenetv2.benchmark import candidate
from mobilenetv2.benchmark.candidate import Candidate
from mobilenetv2.benchmark.job import Job, measure_candidates
from mobilenetv2.benchmark.machine import describe, warning
from mobilenetv2.benchmark.results import Row, by_latency, draw
from mobilenetv2.cli.benchmark_photos import Given, pictures
from mobilenetv2.cli.benchmark_table import show
from mobilenetv2.cli.main import PARTLY_FAILED
from mobilenetv2.data.batches import workers
from mobilenetv2.errors import ArtifactError, MissingExtra, MobileNetV2Error, installing, require
from mobilenetv2.export.job import versions
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import FORMATS, INT8, RUNTIMES
from mobilenetv2.hub.models import locate
from mobilenetv2.model.store import load_config
from mobilenetv2.progress import say
from mobilenetv2.runtime.artifact import is_exported, load_artifact

REPORT, PICTURE = "benchmark.json", "benchmark.png"


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table; 1 where a candidate failed, else 0."""
    check(arguments)
    machine = describe()  # before our own work is part of its load
    if arguments.output:
        require("matplotlib")  # not after minutes of measuring
        Path(arguments.output).mkdir(parents=True, exist_ok=True)
    model = locate(arguments.model)
    exported = is_exported(model)
    config = load_artifact(model).config if exported else load_config(model)
    wanted = candidates(arguments, model if exported else None)
    needs_int8 = any(who.precision == INT8 and who.path is None for who in wanted)
    given = pictures(arguments, config, needs_int8)
    if needs_int8 and given.calibration is None:  # by default only: who asks for it gets an error
        wanted = [who for who in wanted if who.precision != INT8 or who.path]
    threads = arguments.threads or workers()
    if alarm := warning(machine):
        say(alarm)
    rows = measure_candidates(Job(
        model, config, tuple(wanted), given.pictures, given.truth, given.calibration, threads,
        arguments.batch, arguments.seconds,
    ))  # fmt: skip
    rows = by_latency(rows, arguments.batch[0])
    facts = report(arguments, machine, given, threads, rows, exported)
    if arguments.output:
        save(facts, rows, arguments, threads)
    if arguments.json:
        print(json.dumps({**facts, "rows": [row.to_dict() for row in rows]}))
    else:
        show(rows, facts, arguments.batch)
    for row in rows:
        if row.error:
            say(f"{row.candidate.name}: {row.error}")
        elif row.busy:
            say(
                f"note: {row.candidate.name} goes on computing when it is not its turn, at the "
                "others' expense; --runtime without it is fairer"
            )
    return PARTLY_FAILED if any(row.error for row in rows) else 0


def check(arguments: argparse.Namespace) -> None:
    """What the parser does not look at.

    Raises:
        MobileNetV2Error: a number that makes no sense.
    """
    if not 0 < arguments.seconds <= 3600:
        raise MobileNetV2Error(
            f"--seconds {arguments.seconds:g} must be above 0 and at most an hour"
        )
    if arguments.split and not arguments.data:
        raise MobileNetV2Error("--split is of --data, which is not given")
    if arguments.threads is not None and arguments.threads < 1:
        raise MobileNetV2Error(f"--threads {arguments.threads} must be at least 1")


def candidates(arguments: argparse.Namespace, exported: Path | None) -> list[Candidate]:
    """Who takes part.

    Args:
        exported: MODEL, where it is an exported file: it takes part in every runtime that takes it.

    Raises:
        MissingExtra: a runtime that was asked for by name is not installed.
        ArtifactError: a runtime or precision that does not go with MODEL.
    """
    runtimes: Sequence[str] = arguments.runtime or list(RUNTIMES)
    found: list[Candidate] = []
    if exported is not None:
        if arguments.precision:
            raise ArtifactError(
                f"{exported}: an exported file has its precision; --precision is for a model folder"
            )
        found = candidate.candidates_of_file(exported, runtimes)
        if not found:
            raise ArtifactError(f"{exported}: {', '.join(runtimes)} does not run such a file")
    else:
        found = candidate.cross(runtimes, precisions(arguments))
    if arguments.artifacts:
        found += candidate.candidates_in(Path(arguments.artifacts), runtimes)
    return installed(found, asked=bool(arguments.runtime))


def precisions(arguments: argparse.Namespace) -> list[str]:
    """Those asked for; else float32, and int8 where there are photos to calibrate on."""
    if arguments.precision:
        return list(arguments.precision)
    return ["float32", INT8] if arguments.data or arguments.calibration else ["float32"]


def installed(wanted: Sequence[Candidate], asked: bool) -> list[Candidate]:
    """Those whose packages are here; the others are named, with the line that installs them.

    Raises:
        MissingExtra: one is not, and runtimes were asked for by name; or none is.
    """
    kept: list[Candidate] = []
    absent: dict[str, list[str]] = {}
    for who in wanted:
        packages = RUNTIMES[who.runtime].own.missing()
        if packages:
            label = who.runtime if who.precision != INT8 else f"{who.runtime} int8"
            if who.runtime not in absent:
                absent[label] = packages
        else:
            kept.append(who)
    for label, packages in absent.items():
        text = f"for want of {' and '.join(packages)}; {installing(packages)} brings it"
        if asked or not kept:
            raise MissingExtra(f"{label} cannot be measured, {text}")
        say(f"note: {label} is left out, {text}")
    return kept


def report(
    arguments: argparse.Namespace, machine: dict[str, Any], given: Given, threads: int,
    rows: Sequence[Row], exported: bool,
) -> dict[str, Any]:  # fmt: skip
    """All of the JSON but the rows."""
    packages = [
        package
        for row in rows
        for package in (
            *FORMATS[row.candidate.format].packages,
            *RUNTIMES[row.candidate.runtime].own.packages,
        )
    ]
    return {
        "model": arguments.model,
        "command": arguments.command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions(sorted({"onnxruntime", *packages})),
        "threads": threads,
        "batches": list(arguments.batch),
        "seconds": arguments.seconds,
        "photos": len(given.pictures),
        "photos_from": given.source,
        "calibrated_on": given.calibrated_on,
        "reference": f"{arguments.model} itself in its first runtime"
        if exported
        else "the model in float32 in ONNX Runtime",
        "timed": "the runtime's answer to pictures that are prepared already, in turns",
    }


def save(
    facts: dict[str, Any], rows: Sequence[Row], arguments: argparse.Namespace, threads: int
) -> None:
    """``benchmark.json``, with every run, and the picture."""
    folder = Path(arguments.output)
    text = json.dumps({**facts, "rows": [row.to_dict(every=True) for row in rows]}, indent=1)
    write_atomically(folder / REPORT, text + "\n")
    machine = facts["machine"]
    title = (
        f"{arguments.model} on {facts['photos_from']}\n{machine['processor']}, {threads} threads"
    )
    draw(rows, arguments.batch[0], title, folder / PICTURE)
    say(f"wrote {folder / REPORT} and {PICTURE}")
