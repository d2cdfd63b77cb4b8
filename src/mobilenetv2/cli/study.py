"""Verb ``study``: run an experiment on a claim of the paper or the article."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import PARTLY_FAILED, json_line, table, tell
from mobilenetv2.cli.parser import Parser
from mobilenetv2.errors import StudyError, argument
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.studies.harness.results import StudyResult

LIST = "list"
EXAMPLES = """\
  mobilenetv2 study list
  mobilenetv2 study information --output studies/information --quick
  mobilenetv2 study linear-bottleneck --output studies/linear --seeds 5
  mobilenetv2 study linear-bottleneck --output studies/linear --seeds 5 --resume
  mobilenetv2 study residual --output studies/residual --photos all --epochs 60 --device cuda

The exit status is 0 whatever the verdicts are.
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "name", nargs="?", default=LIST, metavar="NAME",
        help="name of the study; 'list', or none, shows all with their questions",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR", help="folder for the tables, the picture and the summary"
    )
    parser.add_flag("--quick", "a small version of a minute or two, to see that the study works")
    parser.add_argument(
        "--seeds", type=int, metavar="N",
        help="number of runs of each case (default: 3, and 2 with --quick)",
    )  # fmt: skip
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="N",
        help="seed of the first run; the others count up from it (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, metavar="N",
        help="passes over the training photos (default: the study's own number)",
    )  # fmt: skip
    parser.add_argument(
        "--photos", type=_photos, metavar="N|all",
        help="number of training photos (default: the study's own number)",
    )  # fmt: skip
    parser.add_shared("--device")
    parser.add_argument(
        "--data", metavar="DIR",
        help="folder with cifar10/ and published/ (default: the folder of 'make data')",
    )  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="continue a study that was stopped, as it was started, or add runs with more --seeds",
    )
    again.add_argument("--overwrite", action="store_true", help="replace an existing study")
    parser.add_shared("--json")


def _photos(text: str) -> int:
    if text == "all":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of photos, or 'all'")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run a study or list all; return 1 if cases failed, else 0."""
    if arguments.name == LIST:
        return list_studies(arguments.json)
    if arguments.output is None:
        raise StudyError(
            f"study {arguments.name} needs {argument('output')} DIR, a folder for its results"
        )
    from mobilenetv2.studies.harness.run import CasesFailed, study

    names = (
        "quick", "seeds", "first_seed", "epochs", "photos", "device", "data", "resume", "overwrite",
    )  # fmt: skip
    options = {name: getattr(arguments, name) for name in names}
    try:
        found = study(arguments.name, arguments.output, **options)
    except CasesFailed as error:
        say(f"mobilenetv2: error: {error}")
        return PARTLY_FAILED
    if arguments.json:
        print(json_line(found.to_dict()))
    else:
        show(found)
    return 0


def list_studies(as_json: bool) -> int:
    """Print the name and the question of every study."""
    from mobilenetv2.studies.harness.catalogue import load_all

    rows = [(name, study.title) for name, study in load_all().items()]
    if as_json:
        print(json_line([{"name": name, "question": title} for name, title in rows]))
    else:
        table(None, ("study", "question"), rows, texts=(0, 1))
    return 0


def show(found: StudyResult) -> None:
    """Print a paragraph for each claim."""
    from mobilenetv2.studies.harness.page import QUICK

    tell(found.title)
    for finding in found.findings:
        print()
        tell(f"{finding.verdict.upper()}: {finding.claim}")
        tell(f"  {finding.found}")
    say("")
    if found.options.quick:
        say(f"note: {QUICK[0].lower()}{QUICK[1:]}")
    say(f"tables, picture and summary: {found.path}")
