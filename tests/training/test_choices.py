"""From arguments to a job: the recipe, the weights, and what does not go together."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import (
    DataError,
    MissingExtra,
    MobileNetV2Error,
    RecipeError,
    RunError,
    WeightsError,
)
from mobilenetv2.training import choices
from mobilenetv2.training import run as room
from mobilenetv2.training.choices import choose_job, locate_weights
from mobilenetv2.training.job import Job
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import read_recipe


@pytest.fixture
def unfinished(trained: Path, tmp_path: Path) -> Path:
    """A run that was killed before its last file."""
    shutil.copytree(trained, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "summary.md").unlink()
    return tmp_path / "unfinished"


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for weights fails."""
    monkeypatch.setattr(choices, "locate", lambda _: pytest.fail("weights were looked for"))


@pytest.mark.parametrize(
    ("data", "options", "weights", "recipe"),
    [
        ("digits", {}, None, "digits"),
        ("photos", {"weights": "none"}, None, "scratch"),
        ("photos", {"weights": None}, None, "scratch"),
        ("photos", {"weights": "imagenet"}, "imagenet", "finetune"),
        ("digits", {"weights": Path("imagenet")}, Path("imagenet"), "finetune"),
        ("photos", {"weights": "x", "recipe": "head-only"}, "x", "head-only"),
        (Path("photos"), {}, "timm-100", "finetune"),
    ],
)
def test_the_recipe_follows_from_data_and_weights(
    data: str | Path, options: dict[str, Any], weights: str | Path | None, recipe: str
) -> None:
    job = choose_job(data, "run", **options)
    assert (job.data, job.output) == (str(data), Path("run"))
    assert (job.weights, job.recipe) == (weights, read_recipe(recipe))
    assert job.default_weights == ("weights" not in options)


def test_changes_are_a_mapping_or_texts() -> None:
    texts = ["learning_rate=0.1", "augmentation.flip=false", "classifier.hidden=[8]", "size=96"]
    mapping = {
        "learning_rate": 0.1, "augmentation.flip": False, "classifier": {"hidden": (8,)},
        "network.size": (96, 96),
    }  # fmt: skip
    job = choose_job("digits", changes=mapping)
    assert job.recipe == choose_job("digits", changes=texts).recipe == read_recipe("digits", texts)
    assert choose_job("digits", changes="size=96").recipe.network.size == (96, 96)
    own = Recipe().changed(epochs=3, dropout=0.5)
    assert choose_job("digits", recipe=own).recipe == own
    assert choose_job("digits", recipe=own, changes={"epochs": 5}).recipe == own.changed(epochs=5)
    with pytest.raises(RecipeError, match="unknown key 'epoch'; did you mean 'epochs'"):
        choose_job("digits", recipe=own, changes={"epoch": 5})


def test_the_photos_choose_only_what_nobody_set() -> None:
    job = choose_job("photos", changes={"batch_size": 8}, epochs=2, find_rate=True)
    assert job.kept == frozenset({"batch_size", "epochs", "optimizer.learning_rate"})
    assert choose_job("photos", minutes=2).kept == frozenset({"epochs"})
    assert choose_job("photos", recipe="finetune").kept is None
    assert choose_job("photos", weights=None).kept is None


def test_epochs_and_seed_win_over_changes() -> None:
    job = choose_job("digits", changes=["epochs=5", "seed=1"], epochs=0, seed=7)
    assert job.recipe == read_recipe("digits", ["epochs=0", "seed=7"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"recipe": "head-only", "epochs": 3},
            "epochs needs training steps, .*, or give changes={.trained.: .all.}",
        ),
        ({"recipe": "head-only", "minutes": 3.0}, "minutes needs training steps"),
        ({"epochs": 3, "minutes": 3.0}, "epochs and minutes both set the training time"),
        ({"changes": {"epochs": 3}, "minutes": 3.0}, "minutes chooses epochs, which is also set"),
        ({"changes": ["learning_rate=1"], "find_rate": True}, "find_rate chooses optimizer.learni"),
        ({"recipe": "fintune"}, "did you mean 'finetune'"),
        ({"edition": "jaxx"}, "edition 'jaxx' is unknown; did you mean 'jax'"),
        ({"resume": True}, "resume=True needs the run folder .* give it as output"),
        ({"overwrite": True}, "overwrite=True needs the run folder"),
        ({"resume": True, "overwrite": True, "output": "run"}, "leave one out"),
    ],
)
def test_what_does_not_go_together_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MobileNetV2Error, match=message):
        choose_job("photos", **({"weights": "x"} | options))


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "photso"}, "photso: no such folder"),
        ({"device": "gpu"}, "gpu"),
        ({"changes": {"optimizer.name": "sdg"}}, "expected one of 'sgd'"),
        ({"edition": "jaxx"}, "jaxx"),
        ({"output": "."}, "exists already; choose another output"),
    ],
)
def test_a_mistake_is_said_before_weights_are_fetched_and_leaves_nothing(
    options: dict[str, Any], message: str, photos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if "output" in options:
        Path("mine").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MobileNetV2Error, match=message):
        mn.train(**({"data": photos} | options))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("no_weights")
def test_a_framework_that_is_not_there_is_said_before_weights_are_fetched(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(edition: str) -> None:
        raise MissingExtra(f"{edition} is not installed")

    monkeypatch.setattr(room, "find_steps", missing)
    with pytest.raises(MissingExtra, match="jax is not installed"):
        mn.train(photos, edition="jax")


def test_without_weights_the_published_default_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choices, "locate", lambda name: tmp_path / name)
    assert locate_weights(choose_job("photos")) == tmp_path / "timm-100"
    assert "starting from timm-100, published ImageNet weights" in capsys.readouterr().err
    assert locate_weights(choose_job("photos", weights="mine")) == tmp_path / "mine"
    assert locate_weights(choose_job("photos", weights=None)) is None
    assert capsys.readouterr().err == ""


def test_offline_it_says_how_to_give_a_file_and_the_claimed_folder_goes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETV2_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as caught:
        mn.train(photos)
    message = str(caught.value)
    assert (
        "no weights were given, and the default is not available: no internet connection" in message
    )
    assert "weights import FILE imagenet" in message
    assert "weights='embedded' and recipe='head-only'" in message
    assert message.endswith("or train from scratch with weights='none'")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"epochs": 0}, "epochs"), ({"seed": 0}, "seed"),
        ({"changes": ["a=1"]}, "changes"),
        ({"recipe": "scratch"}, "recipe"), ({"weights": None}, "weights"),
        ({"weights": "none"}, "weights"), ({"edition": "torch"}, "edition"),
        ({"find_rate": True}, "find_rate"), ({"minutes": 1.0}, "minutes"),
    ],
)  # fmt: skip
def test_resuming_takes_no_other_recipe_or_weights(
    change: dict[str, Any], name: str, unfinished: Path
) -> None:
    with pytest.raises(RunError, match=f"recipe, weights and edition; leave out {name}$"):
        choose_job("digits", unfinished, resume=True, **change)


def test_resuming_takes_recipe_weights_edition_and_privacy_from_the_run(unfinished: Path) -> None:
    job = choose_job("x", unfinished, resume=True, device="cuda")
    recipe = read_recipe(unfinished / "recipe.toml")
    assert job == Job("x", unfinished, None, recipe, "torch", "cuda", resume=True)
    assert choose_job("x", unfinished, resume=True, private=True).private
    start = unfinished / "start.json"
    start.write_text(start.read_text("utf-8").replace("{", '{"private": true,', 1), "utf-8")
    assert choose_job("x", unfinished, resume=True).private


def test_the_run_is_not_put_among_the_photos(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(photos, tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(RunError, match=r"would lie among the photos of \.; choose another output"):
        mn.train(".", weights=None)
    assert not Path("runs").exists()


def test_a_place_that_is_empty_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photos found"):
        mn.train(tmp_path, tmp_path / "run", weights=None)


def test_a_run_is_continued_from_its_best_and_a_network_is_to_be_saved_first(model: Path) -> None:
    run = SimpleNamespace(best=model)
    assert choose_job("photos", weights=run).weights == model
    with pytest.raises(WeightsError, match=r"save a network with mobilenetv2\.save\(network, FOLD"):
        choose_job("photos", weights=mn.load(model))  # type: ignore[arg-type]
