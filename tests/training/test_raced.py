"""Real trainings, started at the same time into one folder: one has it, the others say so."""

import itertools
import random
import time
from pathlib import Path

import pytest
from kills import begin, photos
from races import KINDS, NEW, compete, outcome


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def expected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The outcome of a training that nobody disturbs."""
    run = tmp_path_factory.mktemp("whole") / "run"
    _, errors = begin(data, run, *NEW).communicate(timeout=600)
    assert (run / "summary.md").is_file(), errors
    return outcome(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["new", "mixed"])
def test_of_trainings_into_one_folder_exactly_one_succeeds(
    kind: str, data: Path, expected: dict[str, object], tmp_path: Path
) -> None:
    run, moment = tmp_path / "run", random.Random(0)
    given = list(itertools.islice(itertools.cycle(KINDS[kind]), 4))
    moment.shuffle(given)
    if kind != "new":  # a run that was stopped is there
        process = begin(data, run, *NEW)
        end = time.monotonic() + 300
        while not (run / "checkpoint.safetensors").is_file() and time.monotonic() < end:
            time.sleep(0.01)
        process.terminate()
        process.communicate(timeout=60)
    succeeded, wrong = compete(data, run, given, [moment.uniform(0, 0.3) for _ in given])
    assert wrong == []
    assert succeeded == 1
    assert outcome(run) == expected
