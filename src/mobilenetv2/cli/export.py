"""``mobilenetv2 export``: a model as files for other runtimes, each verified."""

import argparse
import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.cli.photos import pictures
from mobilenetv2.errors import ArtifactError, MissingExtra, MobileNetV2Error, installing
from mobilenetv2.export import samples
from mobilenetv2.export.format import Options, require_honoured
from mobilenetv2.export.job import Outcome, Request, requests
from mobilenetv2.export.job import run as run_job
from mobilenetv2.export.verify import Reference
from mobilenetv2.formats import FORMATS, OF_INT8, Format
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.progress import say

EVERY = list(FORMATS)
"""What the parser makes of --format all."""
EVERYTHING = "pip install 'mobilenetv2[export]'"
"""The line that installs the packages of all formats."""


def run(arguments: argparse.Namespace) -> int:
    """Write the files, print what was compared; 1 where a file could not be kept, else 0."""
    if arguments.list:
        return show_list(arguments.json)
    if arguments.model is None or arguments.out is None:
        raise MobileNetV2Error("export needs MODEL and OUT; 'mobilenetv2 export --list' needs none")
    config, arrays = store.load(locate(arguments.model))
    wanted = available(chosen(arguments), everything=arguments.format == EVERY)
    if not wanted:
        raise ArtifactError(f"{arguments.out}: no format has all that is asked for")
    if not arguments.overwrite:
        require_new(wanted)
    record = config.preprocessing
    photos = pictures(arguments.photos, record) if arguments.photos else samples.pictures(record)
    outcomes = []
    for outcome in run_job(Reference(config, arrays, photos), wanted):
        outcomes.append(outcome)
        if arguments.json:
            print(json.dumps(as_json(outcome)), flush=True)
        if outcome.error:
            say(f"{outcome.request.format.name}: {outcome.error}")
    if not arguments.json:
        show(outcomes)
    return PARTLY_FAILED if any(outcome.error for outcome in outcomes) else 0


def chosen(arguments: argparse.Namespace) -> list[Request]:
    """What the options ask for; of ``--format all``, what each format can do of it."""
    options = [
        Options(precision, arguments.pictures, arguments.batch, arguments.any_size, arguments.opset)
        for precision in arguments.precision
    ]
    if arguments.format != EVERY:
        return requests(arguments.format, options, Path(arguments.out))
    able = []
    left: dict[str, list[str]] = {}
    for name, made in FORMATS.items():
        for each in options:
            if reason := refusal(made, each):
                left.setdefault(reason.partition(";")[0].partition(" has ")[2], []).append(name)
            else:
                able.append((name, each))
    for reason, names in left.items():
        say(f"note: {', '.join(names)} left out: {reason}")
    out = Path(arguments.out)
    return [request for name, each in able for request in requests([name], [each], out)]


def refusal(format_: Format, options: Options) -> str:
    """Why a format cannot have what is asked for; '' where it can."""
    try:
        require_honoured(format_, options)
    except MobileNetV2Error as error:
        return str(error)
    return ""


def available(wanted: list[Request], everything: bool) -> list[Request]:
    """The requests whose packages are here.

    Raises:
        MissingExtra: some are not, and were asked for by name; under ``--format all`` they are
            named and left out.
    """
    absent = {request.format.name: request.format.missing() for request in wanted}
    missing = {name: packages for name, packages in absent.items() if packages}
    if missing and not everything:
        lacking = [package for names in missing.values() for package in names]
        parts = ", ".join(f"{name} needs {' and '.join(p)}" for name, p in missing.items())
        raise MissingExtra(f"{parts}; install it with: {installing(lacking)}")
    if missing:
        parts = ", ".join(f"{name} ({' and '.join(p)})" for name, p in missing.items())
        say(f"note: left out for want of packages: {parts}; {EVERYTHING} brings them")
    return [request for request in wanted if request.format.name not in missing]


def require_new(wanted: Sequence[Request]) -> None:
    """Raise if a file is there already.

    Raises:
        FileExistsError: the first.
    """
    for request in wanted:
        ends = ("", *request.format.beside)
        for end in ends:
            name = request.out.name
            other = request.out.with_name(name.removesuffix(request.format.suffix) + end)
            place = other if end else request.out
            if place.exists():
                raise FileExistsError(
                    errno.EEXIST, "is there already; choose another place or give --overwrite",
                    str(place),
                )  # fmt: skip


def show(outcomes: Sequence[Outcome]) -> None:
    """One row for each file."""
    rows = []
    for outcome in outcomes:
        found, wanted = outcome.comparison, outcome.request
        cells: list[Any] = [wanted.format.name, wanted.options.precision]
        if found is None:
            rows.append([*cells, "-", "-", "-", "-", "failed"])
            continue
        rows.append([
            *cells, f"{outcome.size / 1e6:.1f} MB" if outcome.size else "-",
            f"{found.difference:.1e}", f"{found.tolerance * max(1.0, found.largest):.1e}",
            f"{found.same_top1} of {found.photos}",
            str(wanted.out) if not outcome.error else "not kept",
        ])  # fmt: skip
    table(
        None,
        ("format", "precision", "size", "difference", "allowed", "same top-1", "file"),
        rows,
        texts=(0, 1, 6),
    )
    unseen = [o.request.format.name for o in outcomes if not o.request.format.runs_here]
    if unseen:
        say(
            f"note: {', '.join(unseen)} does not run on this system; it was compared by computing "
            "what the file says"
        )


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One JSON line."""
    wanted = outcome.request
    found: dict[str, Any] = {
        "format": wanted.format.name, "precision": wanted.options.precision, "file": str(wanted.out)
    }  # fmt: skip
    if outcome.comparison:
        found |= outcome.comparison.to_dict()
    return found | ({"error": outcome.error} if outcome.error else {"bytes": outcome.size})


def show_list(as_lines: bool) -> int:
    """Every format: what it is for, and whether it can be written here; 0."""
    rows = []
    for name, made in FORMATS.items():
        missing = made.missing()
        if as_lines:
            print(json.dumps({
                "format": name, "installed": not missing, "missing": missing,
                "precisions": made.precisions, "options": sorted(made.options),
                "purpose": made.purpose, "devices": made.likes, "runs_here": made.runs_here,
            }))  # fmt: skip
            continue
        state = "yes" if not missing else installing(missing)
        if not made.runs_here:
            state += " (checked by its specification, does not run here)"
        ending = made.suffix or "a folder"
        rows.append([name, ending, ", ".join(made.precisions), made.purpose, made.likes, state])
    if rows:
        table(
            None, ("format", "file", "precisions", "what it is for", "likes", "installed"), rows,
            texts=(0, 1, 2, 3, 4, 5),
        )  # fmt: skip
        say(f"int8 of {', '.join(OF_INT8)} is made by 'mobilenetv2 quantize'")
    return 0
