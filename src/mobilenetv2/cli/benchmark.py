"""``mobilenetv2 benchmark``: runtimes x precisions in one table: speed, accuracy, size, memory."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.cli.parser import DATA_HELP, RUN_HELP, Parser, names, require_positive
from mobilenetv2.errors import MobileNetV2Error, require
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import FORMATS, INT8, PRECISIONS, RUNTIMES
from mobilenetv2.progress import say
from mobilenetv2.text import interval

if TYPE_CHECKING:
    from mobilenetv2.benchmarking.choices import Photos
    from mobilenetv2.benchmarking.results import Row

REPORT, PICTURE = "benchmark.json", "benchmark.png"
EXAMPLES = """\
  mobilenetv2 benchmark runs/photos/best --data photos/
  mobilenetv2 benchmark imagenet --runtime onnxruntime,openvino --batch 1,32
  mobilenetv2 benchmark imagenet --threads 1 --output bench/ --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("model", help=RUN_HELP)
    parser.add_argument(
        "--runtime", type=names(RUNTIMES), metavar="A,B",
        help=f"of {', '.join(RUNTIMES)} (default: all that are installed)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", type=names((*PRECISIONS, INT8)), metavar="A,B",
        help=f"of {', '.join(PRECISIONS)}, {INT8} (default: float32, and int8 where photos to "
        "calibrate on are given)",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="DATA", help=f"labelled photos, for accuracy: {DATA_HELP}"
    )
    parser.add_shared("--split")
    parser.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos to calibrate int8 on (default: DATA's training split)",
    )  # fmt: skip
    parser.add_argument("--artifacts", metavar="DIR", help="exported files to measure, too")
    parser.add_shared("--threads", help="of each runtime (default: cores)")
    parser.add_argument(
        "--batch", type=_batches, default=(1, 32), metavar="N,M", help="(default: 1,32)"
    )
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="S",
        help="of measuring for each row and batch (default: 3)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="write benchmark.json and a picture")
    parser.add_shared("--json")


def _batches(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,32") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a batch is at least 1")
    return sizes


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the table; 1 where a candidate failed, else 0."""
    from mobilenetv2.benchmarking.choices import choose_candidates, choose_photos
    from mobilenetv2.benchmarking.job import Job, measure_candidates
    from mobilenetv2.benchmarking.machine import describe, warning
    from mobilenetv2.benchmarking.results import by_latency
    from mobilenetv2.data.batches import workers
    from mobilenetv2.evaluation.run_record import trained_on
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model.store import load_config
    from mobilenetv2.runtime.predictor import is_exported, load_artifact

    if not 0 < arguments.seconds <= 3600:
        raise MobileNetV2Error(
            f"--seconds {arguments.seconds:g} must be above 0 and at most an hour"
        )
    if arguments.split and not arguments.data:
        raise MobileNetV2Error("--split is of --data, which is not given")
    require_positive("--threads", arguments.threads)
    machine = describe()  # before our own work is part of its load
    if arguments.output:
        require("matplotlib")  # not after minutes of measuring
        Path(arguments.output).mkdir(parents=True, exist_ok=True)
    model = locate(arguments.model)
    exported = is_exported(model)
    config = load_artifact(model).config if exported else load_config(model)
    candidates = choose_candidates(
        model if exported else None, arguments.runtime, arguments.precision,
        Path(arguments.artifacts) if arguments.artifacts else None,
        int8=bool(arguments.data or arguments.calibration),
    )  # fmt: skip
    needs_int8 = any(who.precision == INT8 and who.path is None for who in candidates)
    photos = choose_photos(
        config, trained_on(model), arguments.data, arguments.split, arguments.calibration,
        "no" if not needs_int8 else "yes" if arguments.precision else "if possible",
    )  # fmt: skip
    if needs_int8 and photos.calibration is None:  # of 'if possible' only
        candidates = [who for who in candidates if who.precision != INT8 or who.path]
    threads = arguments.threads or workers()
    if alarm := warning(machine):
        say(alarm)
    job = Job(model, config, tuple(candidates), photos, threads, arguments.batch, arguments.seconds)
    rows = by_latency(measure_candidates(job), arguments.batch[0])
    facts = report(arguments, machine, photos, threads, rows, exported)
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


def report(
    arguments: argparse.Namespace, machine: dict[str, Any], photos: Photos, threads: int,
    rows: Sequence[Row], exported: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return all of the JSON but the rows."""
    from mobilenetv2.exporting.job import versions

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
        "photos": len(photos.pictures),
        "photos_from": photos.source,
        "calibrated_on": photos.calibrated_on,
        "reference": f"{arguments.model} itself in its first runtime"
        if exported
        else "the model in float32 in ONNX Runtime",
        "timed": "the runtime's answer to pictures that are prepared already, in turns",
    }


def save(
    facts: dict[str, Any], rows: Sequence[Row], arguments: argparse.Namespace, threads: int
) -> None:
    """Write ``benchmark.json``, with every run, and the plot."""
    from mobilenetv2.benchmarking.results import draw

    folder = Path(arguments.output)
    text = json.dumps({**facts, "rows": [row.to_dict(every=True) for row in rows]}, indent=1)
    write_atomically(folder / REPORT, text + "\n")
    machine = facts["machine"]
    title = (
        f"{arguments.model} on {facts['photos_from']}\n{machine['processor']}, {threads} threads"
    )
    draw(rows, arguments.batch[0], title, folder / PICTURE)
    say(f"wrote {folder / REPORT} and {PICTURE}")


def show(rows: Sequence[Row], facts: Mapping[str, Any], batches: Sequence[int]) -> None:
    """Print a line for each candidate, the quickest first."""
    from mobilenetv2.benchmarking.machine import sentence

    first = batches[0]
    labelled = any(row.agreement and row.agreement.right is not None for row in rows)
    named = any(row.candidate.path for row in rows)
    columns = ["runtime", "precision", f"ms at {first}", "p95"]
    columns += [f"/s at {batch}" for batch in batches]
    columns += ["same answer", "difference"]
    columns += ["top-1", "95% interval"] if labelled else []
    columns += ["size", "memory", "load", *(["file"] if named else [])]
    table(
        f"{facts['model']} on {facts['photos_from']}, {facts['threads']} threads",
        columns,
        [cells(row, batches, labelled, named) for row in rows],
        texts=(0, 1, len(columns) - 1) if named else (0, 1),
    )
    print(f"measured on {sentence(facts['machine'])}")
    print(
        "ms: median of a batch; /s: pictures a second; same answer, "
        f"difference: against {facts['reference']}; memory: peak of the process; load: until it "
        "is ready to run"
    )
    if facts["calibrated_on"]:
        print(f"int8: calibrated on {facts['calibrated_on']}")


def cells(row: Row, batches: Sequence[int], labelled: bool, named: bool) -> list[str]:
    """Return a row of the table; a failed one says so, and why is told below."""
    from mobilenetv2.evaluation.metrics import wilson

    who, speed, agreement = row.candidate, row.speed(batches[0]), row.agreement
    start, file = [who.runtime, who.precision], [who.path.name if who.path else "made here"]
    end = file if named else []
    if row.error or speed is None or agreement is None:
        gap = 2 + len(batches) + 2 + 2 * labelled + 3
        return [*start, "failed", *["-"] * (gap - 1), *end]
    line = [*start, f"{1e3 * speed.median:.2f}", f"{1e3 * speed.p95:.2f}"]
    for batch in batches:
        each = row.speed(batch)
        line.append(f"{each.throughput:.1f}" if each else "-")
    line += [f"{agreement.same / agreement.photos:.1%}", f"{agreement.difference:.1e}"]
    if labelled:
        right = agreement.right or 0
        line += [f"{right / agreement.photos:.1%}", interval(wilson(right, agreement.photos))]
    line += [
        f"{(row.bytes or 0) / 1e6:.1f} MB", f"{(row.memory or 0) / 1e6:.0f} MB",
        f"{row.load or 0:.2f} s",
    ]  # fmt: skip
    return [*line, *end]
