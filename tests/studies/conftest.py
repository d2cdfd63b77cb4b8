"""The planted study of ``tests/against``, which the processes of its cases have to find."""

import os
from collections.abc import Iterator
from pathlib import Path

import planted_study
import pytest

import mobilenetv2 as mn
from mobilenetv2.studies.harness.results import StudyResult
from mobilenetv2.studies.study import Options

PLACES = [Path(planted_study.__file__).parent, Path(mn.__file__).parents[1]]


@pytest.fixture(scope="session")
def importable() -> Iterator[None]:
    """Processes that are started find the planted study, and the package that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, PLACES)))
        yield


@pytest.fixture(scope="session")
def whole(importable: None, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """The planted study with the seeds 1 to 3, run at once. Only to be read."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    from mobilenetv2.studies.harness.run import run_study

    folder = tmp_path_factory.mktemp("studies") / "planted"
    return run_study(planted_study.STUDY, folder, Options(seeds=3, first_seed=1))
