"""The studies by name: each that is listed is there, and offers what the records ask for."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mobilenetv2 import studies
from mobilenetv2.errors import StudyError
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.study import Options, Study


def test_every_study_has_its_name_a_question_and_a_grid() -> None:
    for name, study in catalogue.load_all().items():
        assert isinstance(study, Study) and study.name == name
        assert study.title.endswith("?") and len(study.title) < 100, name
        for field in fields(study):
            assert getattr(study, field.name) not in ("", None), (name, field.name)
        quick, full = (study.grid(Options(quick=quick)) for quick in (True, False))
        assert 0 < len(quick) <= len(full), name
        for factors in (*quick, *full):
            for value in factors.values():
                assert type(value) in (str, int, float), (name, value)
        assert catalogue.module_of(name) == study.measure.__module__
        assert study.measure.__qualname__.isidentifier(), name


def test_every_module_with_a_study_is_named() -> None:
    folder = Path(studies.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "\nSTUDY = " in path.read_text("utf-8")}
    assert found == {name.replace("-", "_") for name in catalogue.NAMES}
    assert catalogue.module_of("linear-bottleneck") == "mobilenetv2.studies.linear_bottleneck"


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(StudyError, match="study 'nothing' is unknown"):
        catalogue.load("nothing")
    with pytest.raises(StudyError, match="unknown"):
        catalogue.load("study")  # a module of the room, and no study


def test_names_load_no_study_and_studies_load_no_framework() -> None:
    code = (
        "import sys; from mobilenetv2.studies.harness import catalogue as c\n"
        "assert not {*map(c.module_of, c.NAMES)} & {*sys.modules}\n"
        "c.load_all()\n"
        "print(*{'torch', 'keras', 'jax', 'sklearn', 'matplotlib'} & {*sys.modules}, 'end')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "end"
