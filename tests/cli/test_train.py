"""``train``: its options, what it prints where, and how it ends."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from mobilenetv2.cli import train as train_verb
from mobilenetv2.cli.main import main
from mobilenetv2.cli.parser import make_parser
from mobilenetv2.cli.train import chosen, resumed
from mobilenetv2.errors import MissingExtra, RecipeError, RunError, WeightsError
from mobilenetv2.hub import models
from mobilenetv2.training import run as job_room
from mobilenetv2.training import steps
from mobilenetv2.training.loop import Stopped
from mobilenetv2.training.recipe_file import read_recipe


def options(*words: str) -> Namespace:
    return make_parser().parse_args(["train", *words, "--output", "run"])


@pytest.fixture
def unfinished(trained: Path, tmp_path: Path) -> Path:
    """A run that was killed before its last file."""
    shutil.copytree(trained, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "summary.md").unlink()
    return tmp_path / "unfinished"


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
    assert "epoch 1/1" in err and "27 photos of 3 classes to train on" in err


def test_without_json_it_prints_the_summary_and_names_the_model(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(photos), "--output", str(run), *quick, "--epochs", "0"]) == 0
    out, err = capsys.readouterr()
    text = (run / "summary.md").read_text("utf-8")
    assert out.strip() == text.partition("![")[0].strip()
    assert err.endswith(f"\nthe model: {run / 'best'}\n")


@pytest.mark.parametrize(
    "words, weights, recipe",
    [
        (["digits"], None, "digits"),
        (["photos", "--weights", "none"], None, "scratch"),
        (["photos", "--weights", "imagenet"], Path("imagenet"), "finetune"),
        (["digits", "--weights", "imagenet"], Path("imagenet"), "finetune"),
        (["photos", "--weights", "x", "--recipe", "head-only"], Path("x"), "head-only"),
    ],
)  # fmt: skip
def test_the_recipe_follows_from_data_and_weights(
    words: list[str], weights: Path | None, recipe: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("imagenet", "x"):
        (tmp_path / name).mkdir()
    assert chosen(options(*words)) == (weights, read_recipe(recipe))


def test_epochs_and_seed_win_over_set() -> None:
    words = ["digits", "--epochs", "0", "--seed", "7", "--set", "epochs=5", "--set", "seed=1"]
    assert chosen(options(*words))[1] == read_recipe("digits", ["epochs=0", "seed=7"])


def test_epochs_of_a_classifier_alone_are_refused(model: Path) -> None:
    words = ["photos", "--weights", str(model), "--recipe", "head-only", "--epochs", "3"]
    with pytest.raises(RecipeError, match="leave it out, or add --set trained=all"):
        chosen(options(*words))
    _, recipe = chosen(options(*words, "--set", "trained=all"))
    assert (recipe.trained, recipe.epochs) == ("all", 3)


def test_without_weights_the_published_default_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "locate", lambda name: tmp_path / name)
    assert chosen(options("photos")) == (tmp_path / "timm-100", read_recipe("finetune"))
    assert "starting from timm-100, published ImageNet weights" in capsys.readouterr().err


def test_offline_it_says_how_to_give_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETV2_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        chosen(options("photos"))
    message = str(caught.value)
    assert "no --weights given, and the default cannot be had: no network" in message
    assert "weights import FILE imagenet" in message
    assert message.endswith("or train from scratch with --weights none")


def test_a_framework_that_is_not_there_is_said_before_weights_are_fetched(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(edition: str) -> None:
        raise MissingExtra(f"{edition} is not installed")

    monkeypatch.setattr(steps, "find_steps", missing)
    monkeypatch.setattr(train_verb, "chosen", lambda _: pytest.fail("weights were looked for"))
    with pytest.raises(MissingExtra, match="jax is not installed"):
        train_verb.run(options(str(photos), "--edition", "jax"))


@pytest.mark.parametrize(
    "change",
    [["--epochs", "0"], ["--seed", "0"], ["--set", "epochs=1"], ["--recipe", "scratch"],
     ["--weights", "none"], ["--edition", "torch"]],
)  # fmt: skip
def test_resuming_takes_no_other_recipe_or_weights(change: list[str], unfinished: Path) -> None:
    words = ["train", "digits", "--output", str(unfinished), "--resume", *change]
    with pytest.raises(RunError, match=f"recipe, weights and edition; leave out {change[0]}$"):
        resumed(make_parser().parse_args(words))


def test_resuming_takes_recipe_and_weights_from_the_run(unfinished: Path) -> None:
    words = ["train", "x", "--output", str(unfinished), "--resume"]
    weights, recipe, edition = resumed(make_parser().parse_args(words))
    assert (weights, edition) == (None, "torch")
    assert recipe == read_recipe(str(unfinished / "recipe.toml"))
    assert (recipe.network.name, recipe.epochs) == ("small", 1)


def test_a_run_that_is_stopped_says_how_to_go_on_and_prints_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: object) -> None:
        raise Stopped

    monkeypatch.setattr(job_room, "train", stopped)
    assert main(["train", "digits", "--output", "my runs/x", "--device", "cuda", "--json"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    said = "mobilenetv2 train digits --output 'my runs/x' --device cuda --resume"
    assert err == f"stopped; go on with: {said}\n"


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
