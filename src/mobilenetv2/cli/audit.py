"""``mobilenetv2 audit``: what is wrong with a set of labelled photos, before it is trained on."""

from __future__ import annotations

import argparse
import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import RUN_HELP, Parser
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.files import atomic_folder, require_only, write_atomically
from mobilenetv2.progress import say
from mobilenetv2.text import counted, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mobilenetv2.auditing.inspection import Audit, LabelError
    from mobilenetv2.auditing.issues import Issue
    from mobilenetv2.evaluation.run_record import TrainedOn

PAGE, FIGURES = "audit.html", "audit.json"
SHOWN = 5
"""Photos, or groups of them, that the terminal names of each issue."""

EXAMPLES = """\
  mobilenetv2 audit photos/
  mobilenetv2 audit photos.zip --output audit
  mobilenetv2 audit photos/ --model runs/photos/best --output audit

The exit status is 0 whatever is found; --json has a level for each finding.
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared("data")
    parser.add_argument(
        "--model", metavar="MODEL", help=f"also find the labels that a model doubts: {RUN_HELP}"
    )
    parser.add_argument(
        "--output", metavar="DIR",
        help="write audit.html, a page with thumbnails, and audit.json; an older audit is replaced",
    )  # fmt: skip
    parser.add_shared("--runtime", "--threads", "--flips", "--device", "--json")


def run(arguments: argparse.Namespace) -> int:
    """Print (and write) what was found; 0, whatever it is."""
    import numpy as np

    from mobilenetv2.auditing.inspection import inspect
    from mobilenetv2.auditing.issues import Evidence, find_issues
    from mobilenetv2.auditing.page import audit_html
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.evaluation.matching import match
    from mobilenetv2.evaluation.run_record import trained_on
    from mobilenetv2.hub.models import locate
    from mobilenetv2.model.outputs import probabilities
    from mobilenetv2.runtime.loading import load_model

    folder = Path(arguments.output) if arguments.output else None
    if folder is not None:
        check_output(folder)
    config, predictor, outputs = None, None, np.zeros(0, np.int64)
    dataset = open_dataset(arguments.data)
    if arguments.model:
        loaded = load_model(
            arguments.model, runtime=arguments.runtime, device=arguments.device,
            threads=arguments.threads, flips=arguments.flips,
        )  # fmt: skip
        config, predictor = loaded.config, loaded.predict
        outputs = np.array(match(dataset.classes, config.labels, dataset.place))
    elif (
        arguments.runtime or arguments.threads is not None or arguments.device != "cpu"
        or arguments.flips
    ):  # fmt: skip
        raise ArtifactError(
            "--runtime, --threads, --device and --flips are of a model; give one: --model"
        )
    audit, logits = inspect(dataset, config.preprocessing if config else None, predictor)
    doubts: list[LabelError] = []
    learnt, here = 0, True
    if config is not None and logits is not None:
        known = trained_on(locate(arguments.model))
        doubts, learnt = doubted(
            audit, probabilities(logits, config.spec.classifier.outputs)[:, outputs], known
        )
        here = known.here(arguments.data)
    size = config.preprocessing.size if config else None
    issues = find_issues(Evidence(audit, doubts, size, learnt, here))
    record = to_dict(audit, issues, doubts, arguments.model, learnt)
    if arguments.json:
        print(json.dumps(record))
    else:
        show(audit, issues, arguments.model, len(doubts))
    if folder is not None:
        with atomic_folder(folder) as made:
            write_atomically(made / FIGURES, json.dumps(record, indent=1) + "\n")
            write_atomically(made / PAGE, audit_html(audit, issues, dataset))
        say(f"audit: {visible(str(folder / PAGE))}")
    return 0


def check_output(folder: Path) -> None:
    """Raise unless the folder can be made, or is an older audit, which is replaced."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(folder))
    if folder.exists() and folder.samefile(Path.cwd()):
        raise MobileNetV2Error(f"--output {folder}: the current folder; name one to be made")
    require_only(folder, (PAGE, FIGURES))
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not os.access(parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(parent))


def doubted(audit: Audit, probabilities: NDArray, known: TrainedOn) -> tuple[list[LabelError], int]:
    """Return the labels that the model doubts, the most confident first, and how many photos of the
    set it was trained on.

    Args:
        probabilities: float (photos, classes), of the classes of the set. Other outputs of the
            model are not asked for: no folder is theirs.
    """
    import numpy as np

    from mobilenetv2.auditing.inspection import find_label_errors

    learnt = np.array([known.parts.get(photo.name) == "train" for photo in audit.photos])
    labels = np.array([photo.label for photo in audit.photos])
    return find_label_errors(probabilities, labels, learnt), int(learnt.sum())


def to_dict(
    audit: Audit, issues: Sequence[Issue], doubts: Sequence[LabelError], model: str | None,
    learnt: int,
) -> dict[str, object]:  # fmt: skip
    """Return plain values for JSON."""
    suspicious = [
        {
            "photo": audit.photos[doubt.photo].name,
            "label": audit.classes[doubt.label], "label_probability": doubt.of_label,
            "answer": audit.classes[doubt.answer], "answer_probability": doubt.of_answer,
            "trained_on": doubt.trained_on,
        }
        for doubt in doubts
    ]  # fmt: skip
    return {
        **audit.to_dict(),
        "model": model,
        "trained_on": learnt,
        "suspicious": suspicious if model else None,
        "findings": [one.to_dict(audit) for one in issues],
    }


def show(audit: Audit, issues: Sequence[Issue], model: str | None, doubts: int) -> None:
    """Print classes and sizes, then the issues, the worst first."""
    from mobilenetv2.auditing.issues import LEVELS

    counts = audit.counts()
    several = len(audit.splits) > 1
    by_split = [audit.counts(split) for split in audit.splits if several]
    rows = [
        (visible(audit.classes[label]), *(of[label] for of in by_split), counts[label])
        for label in sorted(range(len(counts)), key=lambda label: counts[label])
    ]
    names = audit.splits if several else ()
    table(visible(audit.place), ("class", *names, "photos"), rows, rest="larger classes")
    print(f"{counted(len(audit.photos), 'photo')}, {sum(counts):,} of them readable")
    for name, (least, median, most) in audit.sizes().items():
        digits = ".2f" if name == "aspect" else ",.0f"
        print(f"{name:7} {least:{digits}} to {most:{digits}}, median {median:{digits}}")
    if model and not doubts:
        print(f"{visible(model)} doubts no label")
    for level, heading in LEVELS.items():
        here = [one for one in issues if one.level == level]
        if here:
            print(f"\n{heading.upper()}")
        for one in here:
            show_issue(audit, one)
    if not issues:
        print("\nNothing to mend.")


def show_issue(audit: Audit, issue: Issue) -> None:
    """Print what it is, what to do, and the first few photos."""
    print(f"\n{visible(issue.title)}")
    print(f"  {visible(issue.advice)}")
    for group in issue.groups[:SHOWN]:
        names = [named(audit, issue, place) for place in group[:SHOWN]]
        names += [f"{len(group) - SHOWN} more"] if len(group) > SHOWN else []
        print(f"  - {' = '.join(names)}")
    if len(issue.groups) > SHOWN:
        print(f"  ({len(issue.groups) - SHOWN:,} more; --json or --output has all)")


def named(audit: Audit, issue: Issue, place: int) -> str:
    """Return a photo, with what there is to say of it."""
    note = issue.notes.get(place)
    return visible(audit.photos[place].name + (f": {note}" if note else "")).replace("\n", "\ufffd")
