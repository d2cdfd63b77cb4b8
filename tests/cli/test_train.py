"""``train``: its options, what it prints where, and how it ends."""

import inspect
import json
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.errors import Stopped
from mobilenetv2.training import run as room
from mobilenetv2.training.recipe_file import read_recipe
from mobilenetv2.training.run import train


def test_json_is_one_object_on_stdout_and_nothing_else(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", str(photos), "--output", str(run), *quick, "--epochs", "1", "--json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["run"] == str(run) and found["model"] == str(run / "best")
    assert (found["held_out"], found["epochs"]) == ("validation", 1)
    assert found["metrics"] == json.loads((run / "best" / "config.json").read_text())["metrics"]
    assert "epoch 1/1" in err and "3 classes, 27 photos to train on" in err


def test_without_json_it_prints_the_summary_and_names_the_model(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(photos), "--output", str(run), *quick, "--epochs", "0"]) == 0
    out, err = capsys.readouterr()
    text = (run / "summary.md").read_text("utf-8")
    assert out.strip() == text.partition("![")[0].strip()
    assert err.endswith(f"\nmodel folder: {run / 'best'}\nreport: {run / 'report.html'}\n")


def test_every_option_is_an_argument_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def noted(data: str, output: str | None, **options: object) -> None:
        given.update(options, data=data, output=output)
        raise Stopped("run")

    monkeypatch.setattr(room, "train", noted)
    words = "digits --set a=1 --set b=2 --recipe r --epochs 3 --seed 4 --edition jax --private"
    words += " --ignore x --ignore y/z --zip-encoding gbk --on ray --workers 2"
    main(["train", *words.split(), "--find-rate", "--weights", "none", "--overwrite"])
    assert given == {
        "data": "digits", "output": None, "weights": "none", "recipe": "r", "edition": "jax",
        "changes": ["a=1", "b=2"], "epochs": 3, "minutes": None, "seed": 4, "find_rate": True,
        "device": "cpu", "resume": False, "overwrite": True, "private": True,
        "ignore": ["x", "y/z"], "zip_encoding": "gbk", "deterministic": False,
        "on": "ray", "workers": 2,
    }  # fmt: skip
    main(["train", "photos", "--output", "x", "--minutes", "2", "--resume", "--device", "cuda"])
    defaults = {name: one.default for name, one in inspect.signature(train).parameters.items()}
    assert given == defaults | {
        "data": "photos", "output": "x", "minutes": 2.0, "resume": True, "device": "cuda",
        "changes": [], "ignore": [],
    }  # fmt: skip


def test_without_an_output_the_run_has_the_name_of_its_data_and_a_number(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "shapes-2"):
        assert main(["train", str(photos), *quick, "--epochs", "0"]) == 0
        err = capsys.readouterr().err
        assert err.startswith(f"the run folder is {Path('runs') / name}\n")
        assert f"\nmodel folder: {Path('runs') / name / 'best'}\n" in err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["shapes", "shapes-2"]


def test_a_run_that_is_stopped_says_how_to_go_on_and_prints_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Stopped("my runs/x")

    monkeypatch.setattr(room, "train", stopped)
    assert main(["train", "digits", "--output", "my runs/x", "--device", "cuda", "--json"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    said = "mobilenetv2 train digits --output 'my runs/x' --device cuda --resume"
    assert err == f"stopped; continue with: {said}\n"


@pytest.mark.slow
def test_the_default_chooses_and_says_why_and_what_a_person_set_stays(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """36 photos: a smaller batch than the recipe's. A recipe that is named is left alone."""
    start = ["train", str(photos), "--weights", str(model), "--set", "precision=float32"]
    assert main([*start, "--epochs", "1", "--output", str(tmp_path / "chosen")]) == 0
    _, err = capsys.readouterr()
    assert "batch_size 3: " in err and "\nepochs " not in err
    recipe = read_recipe(str(tmp_path / "chosen" / "recipe.toml"))
    assert (recipe.batch_size, recipe.epochs) == (3, 1)
    named = [*start, "--recipe", "finetune", "--epochs", "0", "--output", str(tmp_path / "named")]
    assert main(named) == 0
    assert "batch_size 3: " not in capsys.readouterr().err
    kept = read_recipe(str(tmp_path / "named" / "recipe.toml"))
    assert kept.batch_size == read_recipe("finetune").batch_size


@pytest.mark.slow
def test_a_found_rate_is_said_drawn_and_what_the_run_goes_by(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, given = tmp_path / "run", quick.index("learning_rate=0.02")
    others = [*quick[: given - 1], *quick[given + 1 :]]
    command = ["train", str(photos), "--output", str(run), *others, "--epochs", "1", "--find-rate"]
    assert main(command) == 0
    rate = read_recipe(str(run / "recipe.toml")).optimizer.learning_rate
    assert f"learning_rate {rate:g}: " in capsys.readouterr().err
    assert (run / "learning-rate.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--set", "learning_rate=0.1", "--overwrite"]) == 2
    assert "leave one out" in capsys.readouterr().err
