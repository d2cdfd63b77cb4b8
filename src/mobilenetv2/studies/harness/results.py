"""Results of a study: tables as CSV files, findings, and the record of how they were made."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mobilenetv2.documents import read_table
from mobilenetv2.errors import StudyError
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.files import read_file
from mobilenetv2.studies.study import (
    SUFFIXES,
    Case,
    Factor,
    Finding,
    Options,
    Outcome,
    Row,
    Study,
    Table,
)
from mobilenetv2.text import counted, csv_records, csv_text, plain

RESULTS, TIMED, RECORD, PICTURE = "results.csv", "timed.csv", "study.json", "picture.png"
"""Files of a study: measures that a case determines, measures of the machine, the record of the
run, and the picture."""
SECONDS = "seconds"
"""Measure of every case that the harness adds: its time, on a machine that may run several."""
LARGEST_CSV = 64 * 1024**2
"""Largest table in bytes; 10,000 measures have about one million."""
ENDINGS = ("seed", "measure", "value")
"""Columns behind those of the factors."""
Measured = tuple[Case, Outcome]


@dataclass(frozen=True, slots=True, repr=False)
class StudyResult:
    """Results of a finished study."""

    study: str
    """Name of the study."""
    title: str
    """Question of the study."""
    findings: tuple[Finding, ...]
    """Verdicts on its claims, the most important one first."""
    table: Table
    """All measures of all cases."""
    options: Options
    sessions: tuple[Mapping[str, Any], ...]
    """Calls that measured cases: date, seconds, number of cases, command, machine, versions and
    the SHA-256 of this package's source. A study that was resumed has several."""
    path: Path
    """Folder with the files."""

    @property
    def picture(self) -> Path:
        """The picture, a PNG file."""
        return self.path / PICTURE

    @property
    def seconds(self) -> float:
        """Seconds that the study took, over all sessions."""
        return sum(float(one["seconds"]) for one in self.sessions)

    def __repr__(self) -> str:
        verdicts = [finding.verdict for finding in self.findings]
        counts = [f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts)]
        return f"<StudyResult {self.study}, {counted(len(verdicts), 'claim')}: {', '.join(counts)}>"

    def _repr_html_(self) -> str:
        columns, rows = self.claims()
        return element(
            "table",
            element("caption", self.title),
            element("thead", element("tr", [element("th", one) for one in columns])),
            element(
                "tbody", [element("tr", [element("td", cell) for cell in row]) for row in rows]
            ),
        )

    def claims(self) -> tuple[list[str], list[list[str]]]:
        """Return the column names, and a row of texts for each claim."""
        columns = ["claim", "verdict", "found here", "95% interval", "n"]
        return columns, [
            [one.claim, one.verdict, one.found, interval_text(one), str(one.n)]
            for one in self.findings
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the table, which ``results.csv`` has."""
        return {
            "study": self.study, "title": self.title,
            "options": options_record(self.options), "sessions": [*map(dict, self.sessions)],
            "findings": [plain(one, *(f.name for f in fields(one))) for one in self.findings],
            "folder": str(self.path),
        }  # fmt: skip


def interval_text(finding: Finding) -> str:
    """Return an interval as '-0.0123 to 0.456', with its unit; a share is written in percent.

    It is 'exact' for a number without chance, and 'none' for a sample that allows none.
    """
    low, high = finding.interval
    if not math.isfinite(high - low):
        return "none"
    if low == high and finding.n == 1:
        return "exact"
    if finding.unit == "share":
        return f"{_digits(100 * low)}% to {_digits(100 * high)}%"
    return f"{_digits(low)} to {_digits(high)}{SUFFIXES[finding.unit]}"


def _digits(number: float) -> str:
    """Return a number with three digits, or with all of its digits before the point."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def options_record(options: Options) -> dict[str, Any]:
    """Return the options that change results, as plain values; where the data lies does not."""
    return {key: value for key, value in asdict(options).items() if key != "data"}


def table_of(measured: Sequence[Measured]) -> Table:
    """Return the rows of all cases, each with its values and then what was timed."""
    return Table(
        Row(case, name, value)
        for case, outcome in measured
        for name, value in (*outcome.values.items(), *outcome.timed.items())
    )


def csv_tables(measured: Sequence[Measured]) -> dict[str, str]:
    """Return the text of ``results.csv`` and of ``timed.csv``.

    There is a row for each measure, and a column for each factor, which is empty for cases without
    it. Numbers have all their digits.
    """
    names = list(dict.fromkeys(name for case, _ in measured for name in case.factors))
    if clash := set(names) & set(ENDINGS):
        raise ValueError(f"a factor is named as a column: {', '.join(sorted(clash))}")

    def rows(timed: bool) -> Iterator[list[object]]:
        for case, outcome in measured:
            start = [case.factors.get(name, "") for name in names]
            for measure, value in (outcome.timed if timed else outcome.values).items():
                yield [*start, case.seed, measure, value]

    columns = [*names, *ENDINGS]
    return {RESULTS: csv_text(columns, rows(False)), TIMED: csv_text(columns, rows(True))}


def cases_of(study: Study, grid: Sequence[Mapping[str, Factor]], options: Options) -> list[Case]:
    """Return the cases of a grid in order: each of its factors with each seed."""
    seeds = range(options.first_seed, options.first_seed + options.seeds) if study.random else (0,)
    return [Case(dict(factors), seed) for factors in grid for seed in seeds]


def read_result(folder: Path, study: Study) -> StudyResult:
    """Return the results in a finished study's folder, with findings judged from its tables.

    Raises:
        StudyError: the folder is not one of this study, or a file of it is damaged.
        OSError: a file is missing.
    """
    record = read_table(folder / RECORD, StudyError)
    try:
        if record["study"] != study.name:
            raise ValueError(f"it is of the study {record['study']}")
        options = Options(**record["options"])
        cases = cases_of(study, record["grid"], options)
        tables = [_read_csv(folder / name) for name in (RESULTS, TIMED)]
        names = list(dict.fromkeys(name for case in cases for name in case.factors))
        measured = []
        for case in cases:
            key = (*(str(case.factors.get(name, "")) for name in names), str(case.seed))
            measured.append((case, Outcome(*(table.pop(key, {}) for table in tables))))
        if left := [key for table in tables for key in table]:
            raise ValueError(f"a row is of no case: {' '.join(left[0])}")
        sessions = tuple(record["sessions"])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise StudyError(
            f"{folder}: not the results of the study {study.name} ({error}); run it again"
        ) from None
    table = table_of(measured)
    return StudyResult(
        study.name, study.title, tuple(study.judge(table)), table, options, sessions, folder
    )


def _read_csv(path: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """Return the measures of a table by the texts of factors and seed."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in csv_records(read_file(path, LARGEST_CSV).decode("utf-8")):
        *key, measure, value = row.values()
        found.setdefault(tuple(key), {})[measure] = float(value)
    return found
