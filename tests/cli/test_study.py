"""``study`` as a command: the list, its table and JSON, how it fails and how it goes on."""

import inspect
import json
import os
from pathlib import Path

import planted_study
import pytest

import mobilenetv2 as mn
from mobilenetv2.cli.main import main
from mobilenetv2.errors import Stopped
from mobilenetv2.studies.harness import catalogue
from mobilenetv2.studies.harness import run as room

PLACES = [Path(planted_study.__file__).parent, Path(mn.__file__).parents[1]]
ARGUMENTS = inspect.signature(room.study).parameters


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted study is the only one."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, PLACES)))
    monkeypatch.setattr(catalogue, "load", {"planted": planted_study.STUDY}.__getitem__)
    monkeypatch.setattr(catalogue, "load_all", lambda: {"planted": planted_study.STUDY})


def test_the_list_has_every_study_with_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 0
    shown = capsys.readouterr().out
    assert main(["study", "list"]) == 0 and capsys.readouterr().out == shown
    assert main(["study", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == [*catalogue.NAMES]
    assert all(one["name"] in shown and one["question"] in shown for one in listed)


@pytest.mark.usefixtures("planted")
def test_findings_are_printed_and_json_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "planted", "--output", str(tmp_path / "out"), "--quick", "--seeds", "3"]
    words += ["--first-seed", "1"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Is better better?\n") and "\nHELD: Better is better | by far.\n" in out
    assert "DID NOT HOLD: Nothing is something." in out
    assert "note: this is a quick version" in err
    assert "planted: 6 cases to run" in err and f"summary: {tmp_path / 'out'}" in err
    assert main([*words, "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in found["findings"]] == ["held", "did not hold"]
    assert found["study"] == "planted" and found["options"]["seeds"] == 3
    assert main(words) == 2
    assert "give --resume to continue it or --overwrite to" in capsys.readouterr().err
    assert main([*words, "--first-seed", "4", "--resume"]) == 2
    assert "--first-seed 1, now 4" in capsys.readouterr().err


@pytest.mark.usefixtures("planted")
def test_failed_cases_are_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "fail").write_text("kind=plain size=1 seed=1")
    words = ["study", "planted", "--output", str(tmp_path / "out"), "--quick"]
    assert main([*words, "--data", str(data)]) == 1
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == "" and last.startswith("mobilenetv2: error: ") and "Traceback" not in err
    assert "1 of 4 cases failed (kind=plain size=1 seed=1: no photos here)" in last
    assert "--resume runs these again" in last


def test_a_study_that_is_stopped_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Stopped("my out")

    monkeypatch.setattr(room, "study", stopped)
    words = ["study", "memory", "--output", "my out", "--seeds", "5", "--overwrite"]
    assert main(words) == 130
    out, err = capsys.readouterr()
    command = "mobilenetv2 study memory --output 'my out' --seeds 5 --resume"
    assert (out, err) == ("", f"stopped; continue with: {command}\n")


def test_every_option_is_an_argument_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def noted(name: str, output: str, **options: object) -> None:
        given.update(options, name=name, output=output)
        raise Stopped("run")

    monkeypatch.setattr(room, "study", noted)
    words = "memory --output x --quick --seeds 4 --first-seed 7 --epochs 2 --photos 500"
    main(["study", *words.split(), "--device", "cuda", "--data", "there", "--overwrite"])
    assert given == {
        "name": "memory", "output": "x", "quick": True, "seeds": 4, "first_seed": 7, "epochs": 2,
        "photos": 500, "device": "cuda", "data": "there", "resume": False, "overwrite": True,
    }  # fmt: skip
    main(["study", "memory", "--output", "x", "--photos", "all", "--resume"])
    defaults = {name: one.default for name, one in ARGUMENTS.items()}
    changes = {"name": "memory", "output": "x", "photos": 0, "resume": True}
    assert given == defaults | changes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "--output", "x"], "study 'nothing' is unknown"),
        (["memory"], "study memory needs --output DIR"),
        (["memory", "--output", "x", "--photos", "many"], "'many' is not a number of photos"),
        (["memory", "--output", "x", "--photos", "0"], "'0' is not a number of photos"),
        (["memory", "--output", "x", "--resume", "--overwrite"], "not allowed with"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["study", *words])
    except SystemExit as end:  # the parser's own
        status = int(str(end.code))
    errors = capsys.readouterr().err
    assert status == 2 and said in errors and "Traceback" not in errors
