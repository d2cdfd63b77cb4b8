"""Pages of studies in Markdown: what was asked, found and run, made from the committed results.

``docs/studies/NAME/`` has the files of a study, and ``docs/studies/NAME.md`` is made from them. A
folder ``again`` in there has the same study with other seeds. A verdict that is another one with
other seeds does not stand: it is withdrawn.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from mobilenetv2 import machine
from mobilenetv2.errors import StudyError
from mobilenetv2.files import read_file, write_atomically
from mobilenetv2.studies.harness.results import (
    PICTURE,
    RECORD,
    RESULTS,
    SECONDS,
    TIMED,
    StudyResult,
    interval_text,
    read_result,
)  # fmt: skip
from mobilenetv2.studies.study import Factor, Finding, Study, Table
from mobilenetv2.text import counted, duration, line

AGAIN = "again"
"""Folder of the same study with other seeds, inside the folder of its files."""
MOST_ROWS = 40
"""Largest number of rows of the table of means; a longer one is in the CSV file only."""
WITHDRAWN = "cannot be told"
INDEX = "README.md"
QUICK = (
    "This is a quick version, with fewer cases, runs and photos than the text says: it shows that "
    "the study works, and nothing about its claims."
)


def page_text(
    study: Study, result: StudyResult, place: str, again: StudyResult | None = None
) -> str:
    """Return the page of a study.

    Args:
        study: the study.
        result: its results.
        place: folder of its files, seen from the page; '.' if they are beside it.
        again: the same study with other seeds.
    """
    start = "" if place == "." else f"{place}/"
    parts = [
        f"# {study.title}",
        study.about,
        *([f"**{QUICK}**"] if result.options.quick else []),
        f"![{study.title}]({start}{PICTURE})",
        "## What was found here",
        _findings(result, again),
        f"**What this cannot show:** {study.limits}",
        *_means(result.table),
        "## How it was run",
        _how(result),
        f"Files: [{RESULTS}]({start}{RESULTS}) has every measure, [{TIMED}]({start}{TIMED}) what "
        f"depends on the machine, [{RECORD}]({start}{RECORD}) the record of the run.",
    ]
    if again:
        parts[-1:-1] = [f"Again, with other seeds: {_how(again)}"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def index_text(results: Sequence[tuple[Study, StudyResult, StudyResult | None]]) -> str:
    """Return the page of all studies: a table of their claims, with links to their pages.

    Args:
        results: each study with its results, and with those with other seeds if there are some.
    """
    rows = [
        [finding.claim, f"[{study.name}]({study.name}.md)", finding.found, interval_text(finding),
         standing(finding, again)]
        for study, result, again in results
        for finding in result.findings
    ]  # fmt: skip
    return "\n\n".join([
        "# Claims and studies",
        "Each claim of the paper and the article that a study has tried, and what was found here: "
        "for small networks, on the photos and the machine that the study's page names. A claim "
        "held, did not hold, or cannot be told from so few runs. A verdict that another set of "
        "seeds does not confirm is withdrawn. [Studies](../studies.md) says how to run them.",
        _table(["claim", "study", "found here", "95% interval", "verdict"], rows)
        if rows else "No results are committed yet.",
        "`python benchmarks/studies.py` makes these pages from the files beside them.",
    ]) + "\n"  # fmt: skip


def standing(finding: Finding, again: StudyResult | None) -> str:
    """Return the verdict that stands after the study was run with other seeds."""
    if again is None:
        return finding.verdict
    other = other_verdict(finding, again)
    if other == finding.verdict:
        return f"{finding.verdict} (twice)"
    return f"{WITHDRAWN} ({finding.verdict}; with other seeds: {other})"


def other_verdict(finding: Finding, again: StudyResult) -> str:
    """Return the verdict on the same claim in another run of the study."""
    return next((one.verdict for one in again.findings if one.claim == finding.claim), "no finding")


def _findings(result: StudyResult, again: StudyResult | None) -> str:
    columns, rows = result.claims()
    if again:
        columns = [*columns, "with other seeds"]
        rows = [
            [*row, other_verdict(finding, again)]
            for row, finding in zip(rows, result.findings, strict=True)
        ]
    return _table(columns, rows)


def _means(table: Table) -> list[str]:
    """Return the parts with the mean of each measure over the seeds, for each row of factors."""
    groups: dict[tuple[tuple[str, Factor], ...], dict[str, list[float]]] = {}
    for row in table:
        if row.measure != SECONDS:
            group = groups.setdefault(tuple(row.case.factors.items()), {})
            group.setdefault(row.measure, []).append(row.value)
    if not groups or len(groups) > MOST_ROWS:
        return []
    factors = list(dict.fromkeys(name for key in groups for name, _ in key))
    named = dict.fromkeys(name for group in groups.values() for name in group)
    measures = [name for name in named if name not in factors]  # a width may be both
    rows = [
        [*(str(dict(key).get(name, "")) for name in factors),
         *(_mean(group.get(name, [])) for name in measures)]
        for key, group in groups.items()
    ]  # fmt: skip
    several = any(len(values) > 1 for group in groups.values() for values in group.values())
    note = ["Means over the seeds, with the standard deviation."] if several else []
    return ["## Measures", *note, _table([*factors, *measures], rows)]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    shown = f"{fmean(values):.4g}" if abs(fmean(values)) < 1e4 else f"{fmean(values):,.0f}"
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{shown} ± {spread:.2g}" if spread and math.isfinite(spread) else shown


def _how(result: StudyResult) -> str:
    """Return the sentences that say with which command, when, where and how long it ran."""
    sessions = result.sessions
    cases = sum(int(one["cases"]) for one in sessions)
    commands = "; ".join(dict.fromkeys(f"`{one['command']}`" for one in sessions))
    machines = "; ".join(dict.fromkeys(machine.sentence(one["machine"]) for one in sessions))
    versions: Mapping[str, str] = sessions[-1]["versions"] if sessions else {}
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    seeds = sorted({row.case.seed for row in result.table})
    parts = [
        f"{commands}: {counted(cases, 'case')} in {duration(result.seconds)}",
        f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else "",
        f"begun {sessions[0]['date'][:10]}" if sessions else "",
    ]
    sources = {str(one.get("code")) for one in sessions}
    return (
        f"{', '.join(filter(None, parts))}. Machine: {machines}. Versions: {packages}."
        + (f" Its cases ran with {len(sources)} versions of the source." * (len(sources) > 1))
    )  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""

    def written(cells: Sequence[str]) -> str:
        return f"| {' | '.join(line(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([written(columns), written(["---"] * len(columns)), *map(written, rows)])


def made_pages(docs: Path, studies: Mapping[str, Study]) -> dict[Path, str]:
    """Return the text of each page that the committed results have, by its path.

    Args:
        docs: folder with NAME/, which has the files of a finished study.
        studies: all studies by name, in the order of the index.

    Raises:
        StudyError: a folder's files are damaged, or are not of its study.
        OSError: a file cannot be read.
    """
    pages, found = {}, []
    for name, study in studies.items():
        folder = docs / name
        if not (folder / RECORD).is_file():
            continue
        result = read_result(folder, study)
        again = read_result(folder / AGAIN, study) if (folder / AGAIN).is_dir() else None
        pages[docs / f"{name}.md"] = page_text(study, result, name, again)
        found.append((study, result, again))
    return {**pages, docs / INDEX: index_text(found)}


def take_results(output: Path, docs: Path, study: Study, again: bool = False) -> Path:
    """Copy the files of a finished study to where its page is made from; return that folder.

    Args:
        output: folder of the study.
        docs: folder of all studies' pages.
        study: the study.
        again: True if these are the results with other seeds.

    Raises:
        StudyError: the study is not finished, is a quick one, or has the seeds of the first one.
        OSError: a file cannot be read or written.
    """
    result = read_result(output, study)
    place = docs / study.name
    if result.options.quick:
        raise StudyError(f"{output}: a quick version, which shows nothing; run it in full")
    if again:
        first = {row.case.seed for row in read_result(place, study).table}
        if first & {row.case.seed for row in result.table}:
            raise StudyError(f"{output}: has a seed of {place}; give another first seed")
        place /= AGAIN
    place.mkdir(parents=True, exist_ok=True)
    for name in (RESULTS, TIMED, PICTURE, RECORD):
        write_atomically(place / name, read_file(output / name))
    return place
