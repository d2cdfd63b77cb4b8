"""Verb ``audit``: find problems in a set of labelled photos before training."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import RUN_HELP, Parser
from mobilenetv2.text import counted, json_text, visible

if TYPE_CHECKING:
    from mobilenetv2.auditing.audit import Audit
    from mobilenetv2.auditing.inspection import Inspection
    from mobilenetv2.auditing.issues import Issue

SHOWN = 5
"""Number of photos, or groups of photos, that are printed for each issue."""

EXAMPLES = """\
  mobilenetv2 audit photos/
  mobilenetv2 audit photos.zip --output audit
  mobilenetv2 audit photos/ --model runs/photos/best --output audit

The exit status is 0 even with findings; --json has a level for each finding.
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("data")
    parser.add_argument(
        "--model", metavar="MODEL",
        help=f"also find labels that contradict a model's confident predictions: {RUN_HELP}",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR",
        help="folder for audit.html (a page with thumbnails) and audit.json; replaces an earlier "
        "audit",
    )  # fmt: skip
    parser.add_shared("--ignore", "--zip-encoding")
    parser.add_shared("--runtime", "--threads", "--flips", "--device", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings, write the pages, and return 0 even with findings."""
    from mobilenetv2.auditing.audit import audit

    found = audit(
        arguments.data, model=arguments.model, output=arguments.output, runtime=arguments.runtime,
        device=arguments.device, threads=arguments.threads, flips=arguments.flips,
        ignore=arguments.ignore, zip_encoding=arguments.zip_encoding,
    )  # fmt: skip
    if arguments.json:
        print(json_text(found.to_dict()))
    else:
        show(found)
    return 0


def show(found: Audit) -> None:
    """Print classes and sizes, then the issues, the most severe first."""
    from mobilenetv2.auditing.issues import LEVELS

    seen = found.inspection
    counts = seen.counts()
    several = len(seen.splits) > 1
    by_split = [seen.counts(split) for split in seen.splits if several]
    rows = [
        (visible(seen.classes[label]), *(of[label] for of in by_split), counts[label])
        for label in sorted(range(len(counts)), key=lambda label: counts[label])
    ]
    names = seen.splits if several else ()
    table(visible(seen.place), ("class", *names, "photos"), rows, rest="larger classes")
    print(f"{counted(len(seen.photos), 'photo')}, {sum(counts):,} of them readable")
    for name, (least, median, most) in seen.sizes().items():
        digits = ".2f" if name == "aspect" else ",.0f"
        print(f"{name:7} {least:{digits}} to {most:{digits}}, median {median:{digits}}")
    if found.model and not found.suspicious:
        print(f"no label contradicts the predictions of {visible(found.model)}")
    for level, heading in LEVELS.items():
        here = [one for one in found.issues if one.level == level]
        if here:
            print(f"\n{heading.upper()}")
        for one in here:
            show_issue(seen, one)
    if not found.issues:
        print("\nNo problems found.")


def show_issue(seen: Inspection, issue: Issue) -> None:
    """Print an issue, the advice, and the first few photos."""
    print(f"\n{visible(issue.title)}")
    print(f"  {visible(issue.advice)}")
    for group in issue.groups[:SHOWN]:
        names = [named(seen, issue, place) for place in group[:SHOWN]]
        names += [f"{len(group) - SHOWN} more"] if len(group) > SHOWN else []
        print(f"  - {' = '.join(names)}")
    if len(issue.groups) > SHOWN:
        print(f"  ({len(issue.groups) - SHOWN:,} more; --json or --output has all)")


def named(seen: Inspection, issue: Issue, place: int) -> str:
    """Return the name of a photo, with its note if it has one."""
    note = issue.notes.get(place)
    return visible(seen.photos[place].name + (f": {note}" if note else "")).replace("\n", "\ufffd")
