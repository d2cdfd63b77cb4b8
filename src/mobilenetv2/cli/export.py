"""``mobilenetv2 export``: a model as files for other runtimes, each verified."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.cli.main import PARTLY_FAILED, table
from mobilenetv2.cli.photos import pictures
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, installing
from mobilenetv2.export.job import (
    Options,
    Outcome,
    Request,
    V,
    make_files,
    place_files,
    require_honoured,
    require_new,
    require_packages,
)
from mobilenetv2.export.verify import Comparison, Exporter, Reference, requests, sample_pictures
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
    wanted = chosen(arguments)
    if not wanted:
        raise ArtifactError(f"{arguments.out}: no format has all that is asked for")
    if not arguments.overwrite:
        require_new(wanted)
    record = config.preprocessing
    photos = pictures(arguments.photos, record) if arguments.photos else sample_pictures(record)
    made = make_files(Exporter(Reference(config, arrays, photos)), wanted)
    outcomes = reported(made, arguments.json)
    if not arguments.json:
        show(outcomes)
    return status(outcomes)


def reported(
    made: Iterable[Outcome[V]], as_json: bool, facts: Mapping[str, Any] | None = None
) -> list[Outcome[V]]:
    """Return the outcomes; each is printed as a line of JSON, and its error told, as it comes."""
    outcomes = []
    for outcome in made:
        outcomes.append(outcome)
        if as_json:
            print(json.dumps(outcome.to_dict(facts)), flush=True)
        if outcome.error:
            say(f"{outcome.request.format.name}: {outcome.error}")
    return outcomes


def status(outcomes: Sequence[Outcome[Any]]) -> int:
    """Return the exit status."""
    return PARTLY_FAILED if any(outcome.error for outcome in outcomes) else 0


def chosen(arguments: argparse.Namespace) -> list[Request]:
    """Return what the options ask for; of ``--format all``, what can be had of it.

    Raises:
        MissingExtra: packages are not installed, and formats were asked for by name.
    """
    out, options = (
        Path(arguments.out),
        [
            Options(
                precision, arguments.pictures, arguments.batch, arguments.any_size, arguments.opset
            )
            for precision in arguments.precision
        ],
    )
    if arguments.format != EVERY:
        wanted = requests(arguments.format, options, out)
        require_packages(request.format for request in wanted)
        return wanted
    able: list[tuple[Format, Options]] = []
    left: dict[str, list[str]] = {}
    for name, made in FORMATS.items():
        for each in options:
            try:
                require_honoured(made, each)
                able.append((made, each))
            except ArtifactError as error:
                left.setdefault(str(error).partition(";")[0].partition(" has ")[2], []).append(name)
    for reason, names in left.items():
        say(f"note: {', '.join(names)} left out: {reason}")
    absent = {made.name: packages for made, _ in able if (packages := made.missing())}
    if absent:
        parts = ", ".join(f"{name} ({' and '.join(each)})" for name, each in absent.items())
        say(f"note: left out for want of packages: {parts}; {EVERYTHING} brings them")
    here = [(made, each) for made, each in able if made.name not in absent]
    return [request for made, each in here for request in place_files([made], [each], out)]


def show(outcomes: Sequence[Outcome[Comparison]]) -> None:
    """Print a row for each file."""
    rows = []
    for outcome in outcomes:
        found, wanted = outcome.verdict, outcome.request
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
