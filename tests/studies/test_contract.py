"""Every study, in its quick version: tables, findings with verdicts, and a picture.

Trainings are shorter than those of ``--quick``, which ``test_training.py`` runs.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from mobilenetv2.errors import DataError, MissingExtra, require
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.harness.results import StudyResult, read_result
from mobilenetv2.studies.harness.run import CasesFailed, study
from mobilenetv2.studies.study import Verdict
from mobilenetv2.text import csv_records

NO_DATA = "the dataset '"
"""Start of the message of :func:`mobilenetv2.studies.data.folder`."""


def finished(name: str, folder: Path) -> StudyResult:
    """Return the results of a quick study; skip where its packages or its data are missing."""
    try:
        for package in (*catalogue.load(name).packages, "matplotlib"):
            require(package)
        return study(name, folder, quick=True, photos=256, epochs=1)
    except (MissingExtra, ModuleNotFoundError, DataError) as error:
        pytest.skip(str(error))
    except CasesFailed as error:
        if NO_DATA in str(error):
            pytest.skip(str(error))
        raise


def rows(path: Path) -> Sequence[dict[str, str]]:
    return [*csv_records(path.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.NAMES)
def test_a_quick_study(name: str, tmp_path: Path) -> None:
    folder, chosen = tmp_path / "out", catalogue.load(name)
    result = finished(name, folder)
    factors = list(dict.fromkeys(key for row in result.table for key in row.case.factors))
    for table in ("results.csv", "timed.csv"):
        header = (folder / table).read_text("utf-8").splitlines()[0]
        assert header.split(",") == [*factors, "seed", "measure", "value"]
        assert all(math.isfinite(float(row["value"])) for row in rows(folder / table))
    seeds = {row["seed"] for row in rows(folder / "results.csv")}
    assert seeds == ({"0", "1"} if chosen.random else {"0"})
    assert result.findings
    for finding in result.findings:
        low, high = finding.interval
        assert finding.verdict in get_args(Verdict) and finding.n >= 1
        assert finding.claim.endswith(".") and finding.found.endswith((".", ")"))
        assert low <= finding.estimate <= high
    again = read_result(folder, chosen)
    assert again.table == result.table and again.findings == result.findings
    with Image.open(result.picture) as picture:
        assert picture.format == "PNG" and picture.width > 400
        colours = picture.convert("RGB").getcolors(1 << 24)
        assert colours is not None and len(colours) > 10
    text = (folder / "README.md").read_text("utf-8")
    assert chosen.title in text and all(finding.verdict in text for finding in result.findings)
