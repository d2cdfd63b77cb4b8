"""Folder of a study that runs: its settings, each finished case, and what stands there at the end.

Every file is written atomically, so that a study that is killed at any moment can be resumed. One
process at a time has a study: it holds the folder's lock.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from mobilenetv2 import __version__
from mobilenetv2.documents import read_table
from mobilenetv2.errors import StudyError, argument
from mobilenetv2.files import sha256_of_file, sweep, write_atomically
from mobilenetv2.locks import INSIDE, hold
from mobilenetv2.spec.mapping import shown
from mobilenetv2.studies.harness.results import (
    PICTURE,
    RECORD,
    RESULTS,
    SECONDS,
    TIMED,
    Measured,
    options_record,
)  # fmt: skip
from mobilenetv2.studies.study import Case, Factor, Options, Outcome, Study
from mobilenetv2.text import json_text

CASES, README, ERRORS = "cases", "README.md", "errors.txt"
"""Folder of finished cases, the summary, and the errors of cases that failed."""


class StudyFolder:
    """Paths of a study's folder, and the functions that read and write its files.

    Args:
        path: the folder.
        settings: what results depend on, as :func:`settings_of` returns it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.record, self.errors = path / RECORD, path / ERRORS
        self.cases = path / CASES
        self.sessions: list[dict[str, Any]] = []
        """Calls that measured cases, the earliest first."""

    def check(self, resume: bool, overwrite: bool) -> None:
        """Raise unless the study may be started, or continued, in this folder.

        It is continued with the same settings, or with more seeds.

        Raises:
            StudyError: the folder exists without ``resume`` or ``overwrite``, belongs to something
                else, or there is no study to resume, or one with other settings.
        """
        if resume:
            if not self.record.is_file():
                why = "it has no study.json" if self.path.exists() else "there is no such folder"
                raise StudyError(f"{self.path}: no study to resume, {why}")
            self._check_settings()
        elif self.path.exists() and not self._is_empty():
            if not overwrite:
                raise StudyError(
                    f"{self.path}: exists already; choose another {argument('output')}, or give "
                    f"{argument('resume', True)} to continue it or {argument('overwrite', True)} "
                    "to replace it"
                )
            if not self.record.is_file():
                raise StudyError(
                    f"{self.path}: not a study (it has no study.json), so not overwritten"
                )

    def _is_empty(self) -> bool:
        """Return True for a folder with nothing but a lock, which a killed process may leave."""
        return self.path.is_dir() and all(one.name == INSIDE for one in self.path.iterdir())

    def _check_settings(self) -> None:
        there = read_table(self.record, StudyError)
        differing = []
        for name in ("study", "version"):
            if there.get(name) != self.settings[name]:
                differing.append(f"{name} {shown(there.get(name))}, now {self.settings[name]}")
        before = there.get("options")
        for name, value in self.settings["options"].items():
            old = before.get(name) if isinstance(before, dict) else None
            more = name == "seeds" and isinstance(old, int) and old < value
            if old != value and not more:
                differing.append(f"{argument(name)} {shown(old)}, now {shown(value)}")
        if not differing and there.get("grid") != self.settings["grid"]:
            differing.append("another grid of cases")
        if differing:
            raise StudyError(
                f"{self.path}: was started with other settings ({'; '.join(differing)}); give the "
                f"same ones, or {argument('overwrite', True)} to start again"
            )

    def begin(self, resume: bool) -> None:
        """Write the record of a new study, or read that of one to continue.

        Raises:
            StudyError: the record is damaged.
        """
        if resume:
            sessions = read_table(self.record, StudyError).get("sessions")
            if not isinstance(sessions, list) or not all(isinstance(s, dict) for s in sessions):
                raise StudyError(
                    f"{self.record}: damaged; start again with {argument('overwrite', True)}"
                )
            self.sessions = sessions
            return
        for name in (README, PICTURE, TIMED, RESULTS, ERRORS):
            (self.path / name).unlink(missing_ok=True)
        if self.cases.is_dir() and not self.cases.is_symlink():
            shutil.rmtree(self.cases)
        self.write_record()

    def write_record(self, findings: Sequence[Any] | None = None) -> None:
        """Write ``study.json``: settings, sessions, and at the end the findings."""
        record = {**self.settings, "sessions": self.sessions}
        if findings is not None:
            record["findings"] = findings
        write_atomically(self.record, json_text(record, indent=1) + "\n")

    def write_case(self, case: Case, answer: Mapping[str, Any]) -> None:
        """Write a finished case.

        Args:
            case: the case.
            answer: its 'values', 'timed' and 'seconds'.
        """
        self.cases.mkdir(exist_ok=True)
        content = {
            "factors": dict(case.factors), "seed": case.seed, "values": answer["values"],
            "timed": answer["timed"], "seconds": answer["seconds"],
        }  # fmt: skip
        write_atomically(self._file(case), json_text(content, indent=1) + "\n")

    def read_case(self, case: Case) -> Measured | None:
        """Return a finished case with its outcome and its seconds; None if it is not finished.

        Raises:
            StudyError: its file is damaged.
        """
        path = self._file(case)
        if not path.is_file():
            return None
        try:
            found = read_table(path, StudyError)
            if found["factors"] != dict(case.factors) or found["seed"] != case.seed:
                raise ValueError("it is another case")
            values, timed = (
                {str(name): float(value) for name, value in found[part].items()}
                for part in ("values", "timed")
            )
            return case, Outcome(values, {SECONDS: float(found["seconds"])} | timed)
        except (StudyError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise StudyError(
                f"{path}: damaged ({reason}); delete this file, and the case is run again"
            ) from None

    def _file(self, case: Case) -> Path:
        return self.cases / f"{hashlib.sha256(case.key.encode()).hexdigest()[:16]}.json"


def settings_of(
    study: Study, options: Options, grid: Sequence[Mapping[str, Factor]]
) -> dict[str, Any]:
    """Return what the results depend on: study, version of this package, options and grid."""
    return {
        "study": study.name, "version": __version__,
        "options": options_record(options), "grid": [dict(factors) for factors in grid],
    }  # fmt: skip


@contextmanager
def open_study(folder: StudyFolder, resume: bool, overwrite: bool) -> Iterator[None]:
    """Lock the folder of a study, and begin or continue it.

    The folder is made if it is missing, and removed at the end if nothing was written.

    Raises:
        InUse: another process has the folder.
        StudyError: the folder is refused by :meth:`StudyFolder.check`.
        OSError: it cannot be made or written.
    """
    allowed = partial(folder.check, resume, overwrite)
    with hold(folder.path, inside=True, allowed=allowed):
        if resume:
            for place in (folder.path, folder.cases):
                with suppress(FileNotFoundError):
                    sweep(place)
        folder.begin(resume)
        yield


@cache
def code_sha256() -> str:
    """Return the SHA-256 of this package's Python files, the names included."""
    root = Path(__file__).parents[2]
    lines = [
        f"{sha256_of_file(path)}  {path.relative_to(root).as_posix()}\n"
        for path in sorted(root.rglob("*.py"))
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
