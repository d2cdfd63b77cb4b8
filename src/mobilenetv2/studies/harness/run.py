"""Run of a study: every case in a process with one thread, and results that are kept at once."""

import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from mobilenetv2 import machine
from mobilenetv2.errors import Stopped, StudyError, argument, require
from mobilenetv2.exporting.job import versions
from mobilenetv2.files import write_atomically
from mobilenetv2.machine import workers
from mobilenetv2.progress import say, track
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.harness.folder import (
    README,
    StudyFolder,
    code_sha256,
    open_study,
    settings_of,
)  # fmt: skip
from mobilenetv2.studies.harness.page import page_text
from mobilenetv2.studies.harness.results import (
    PICTURE,
    StudyResult,
    cases_of,
    csv_tables,
    table_of,
)  # fmt: skip
from mobilenetv2.studies.harness.workers import Answer, measure_cases
from mobilenetv2.studies.study import Case, Options, Study
from mobilenetv2.text import counted

SEEDS, QUICK_SEEDS = 3, 2
"""Default number of runs of each case; two is the least that has an interval."""


class CasesFailed(StudyError):
    """Some cases of a study failed; the others are finished and saved."""


def study(
    name: str,
    output: str | PathLike[str],
    *,
    quick: bool = False,
    seeds: int | None = None,
    first_seed: int = 0,
    epochs: int | None = None,
    photos: int | None = None,
    device: str = "cpu",
    data: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> StudyResult:
    """Run a study: an experiment on a claim of the paper or of the article.

    Every case runs once for each seed, in a process with one thread, as many at a time as there are
    cores. Finished cases are saved at once; a study that was stopped continues with ``resume``.

    Args:
        name: name of the study, such as 'information'.
        output: folder for tables, picture and summary.
        quick: True for a small version of a minute or two, which shows that the study works.
        seeds: number of runs of each case. Default: 3, and 2 with ``quick``.
        first_seed: seed of the first run; the others count up from it.
        epochs: passes over the training photos. Default: the study's own number.
        photos: number of training photos, 0 for all. Default: the study's own number.
        device: where networks are trained: 'cpu', 'cuda' or 'mps'.
        data: folder with ``cifar10/`` and ``published/``. Default: the folder of ``make data``.
        resume: True to continue a study that was stopped, with the same settings; more ``seeds``
            add runs, also to a finished study.
        overwrite: True to replace an existing study.

    Returns:
        The findings, each with its verdict and interval, and the table of all measures.

    Raises:
        StudyError: the study is unknown, an option is impossible, the folder cannot be used, or
            cases failed.
        InUse: another process writes the folder.
        MissingExtra: a package that the study needs is not installed.
        Stopped: Ctrl-C, a ``KeyboardInterrupt``; finished cases are saved.

    Example:
        >>> mn.study("informations", "study")  # a study that does not exist
        Traceback (most recent call last):
        mobilenetv2.errors.StudyError: study 'informations' is unknown; ...
    """
    chosen = catalogue.load(name)
    seeds = (QUICK_SEEDS if quick else SEEDS) if seeds is None else seeds
    options = Options(
        quick, seeds, first_seed, epochs, photos, device, None if data is None else Path(data)
    )
    return run_study(chosen, Path(output), options, resume=resume, overwrite=overwrite)


def run_study(
    study: Study, output: Path, options: Options, *, resume: bool = False, overwrite: bool = False
) -> StudyResult:
    """Run the cases of a study that are not finished, and write its results.

    Each finished case is saved at once. The tables have all cases in the order of the grid, so that
    they are the same bytes however often the study was stopped and resumed.

    Args:
        study: the study.
        output: folder for the results.
        options: what was chosen.
        resume: True to continue a study with the same settings.
        overwrite: True to replace an existing study.

    Raises:
        StudyError: an option is impossible, or the folder cannot be used.
        CasesFailed: cases failed; the message names the first one.
        InUse: another process writes the folder.
        MissingExtra: a package that the study needs is not installed.
        Stopped: Ctrl-C; finished cases are saved.
    """
    _check(options)
    for package in (*study.packages, "matplotlib"):
        if find_spec(package) is None:  # the processes of the cases import it
            require(package)  # raises with the line that installs it
    grid = study.grid(options)
    cases = cases_of(study, grid, options)
    if len({case.key for case in cases}) < len(cases):
        raise ValueError(f"{study.name}: a case is twice in its grid")
    folder = StudyFolder(output, settings_of(study, options, grid))
    with open_study(folder, resume, overwrite):
        left = [case for case in cases if folder.read_case(case) is None]
        if left:
            _run(study, options, folder, left, len(cases))
        return _finish(study, options, folder, cases)


def _check(options: Options) -> None:
    """Raise StudyError for an impossible option."""
    least = {"seeds": 1, "first_seed": 0, "epochs": 1, "photos": 0}
    for name, lowest in least.items():
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise StudyError(f"{argument(name)} {value} must be at least {lowest}")


def command_of(study: Study, options: Options, output: str = "DIR") -> str:
    """Return the command line of a study, without the place of the data."""
    words = ["mobilenetv2", "study", study.name, "--output", output]
    words += ["--quick"] if options.quick else []
    if study.random:
        words += ["--seeds", str(options.seeds)]
        words += ["--first-seed", str(options.first_seed)] if options.first_seed else []
    words += ["--epochs", str(options.epochs)] if options.epochs is not None else []
    if options.photos is not None:
        words += ["--photos", str(options.photos or "all")]
    words += ["--device", options.device] if options.device != "cpu" else []
    return shlex.join(words)


def _run(
    study: Study, options: Options, folder: StudyFolder, left: Sequence[Case], total: int
) -> None:
    """Measure cases and save each one; raise one error at the end if some failed."""
    one_by_one = study.alone or options.device != "cpu"
    count = 1 if one_by_one else min(workers(), len(left))
    before = f"{total - len(left):,} of {counted(total, 'case')} are finished, " * (
        total > len(left)
    )
    say(f"{study.name}: {before}{counted(len(left), 'case')} to run, {count} at a time")
    # A kill may come between a case and the record.
    unrecorded = total - len(left) - sum(int(one["cases"]) for one in folder.sessions)
    if folder.sessions and unrecorded > 0:
        folder.sessions[-1]["cases"] += unrecorded
    session: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": 0.0, "cases": 0,
        "command": command_of(study, options), "machine": machine.describe(),
        "versions": versions(study.packages), "code": code_sha256(),
    }  # fmt: skip
    if any(one.get("code") != session["code"] for one in folder.sessions):
        say("note: the source of mobilenetv2 has changed since the first cases of this study")
    folder.sessions.append(session)
    started, failed = time.monotonic(), list[tuple[Case, Answer]]()
    try:
        answers = measure_cases(study, options, left, count)
        for case, answer in track(answers, study.name, len(left)):
            if "failed" in answer:
                failed.append((case, answer))
                say(f"{case.key} failed: {answer['failed']}")
                continue
            folder.write_case(case, answer)
            session["cases"] += 1
            session["seconds"] = round(time.monotonic() - started, 1)
            folder.write_record()
    except KeyboardInterrupt:
        done = total - len(left) + session["cases"]
        raise Stopped(
            folder.path,
            f"the study was stopped, and {done} of {counted(total, 'case')} are saved; to "
            "continue, give the same options",
        ) from None
    _report(folder, failed, total)


def _report(folder: StudyFolder, failed: Sequence[tuple[Case, Answer]], total: int) -> None:
    """Write the errors of cases and raise one error, or remove what an earlier call wrote."""
    if not failed:
        folder.errors.unlink(missing_ok=True)
        return
    texts = [f"{case.key}\n{one['failed']}\n{one.get('trace', '')}\n" for case, one in failed]
    write_atomically(folder.errors, "".join(texts))
    case, answer = failed[0]
    raise CasesFailed(
        f"{folder.path}: {len(failed)} of {counted(total, 'case')} failed ({case.key}: "
        f"{answer['failed']}); the others are saved, and {folder.errors.name} has all errors; "
        f"{argument('resume', True)} runs these again"
    )


def _finish(
    study: Study, options: Options, folder: StudyFolder, cases: Sequence[Case]
) -> StudyResult:
    """Write tables, picture and summary of a study whose cases are all finished."""
    measured = [found for case in cases if (found := folder.read_case(case))]
    table = table_of(measured)
    for name, text in csv_tables(measured).items():
        write_atomically(folder.path / name, text)
    result = StudyResult(
        study.name, study.title, tuple(study.judge(table)), table, options,
        tuple(folder.sessions), folder.path,
    )  # fmt: skip
    study.draw(table, folder.path / PICTURE)
    write_atomically(folder.path / README, page_text(study, result, "."))
    folder.write_record(result.to_dict()["findings"])
    return result
