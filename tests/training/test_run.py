"""The whole job: what is refused before anything is written, what it starts from and leaves."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.checkpoints.rebasing import rebase_on
from mobilenetv2.cli.main import main
from mobilenetv2.errors import ImageError, RecipeError, RunError
from mobilenetv2.model import store
from mobilenetv2.networks import folders as networks
from mobilenetv2.spec.network import HiddenSpec
from mobilenetv2.spec.records import Origin, Preprocessing
from mobilenetv2.training import run as room
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.job import Job
from mobilenetv2.training.recipe import Distillation, Recipe
from mobilenetv2.training.recipe_file import read_recipe
from mobilenetv2.training.run import carry_out

QUICK = Recipe().changed(
    epochs=1, batch_size=4, network="small", width=0.1, size=(32, 32), precision="float32"
)
Fill = Callable[[Path, int], Path]


@pytest.mark.slow
def test_a_folded_network_is_rebased_once_and_never_again(
    folded: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebased = Mock(side_effect=rebase_on)
    monkeypatch.setattr("mobilenetv2.training.initial_model.rebase_on", rebased)
    job = Job(str(photos), tmp_path / "run", folded, QUICK.changed(size=None))
    run = carry_out(job)
    origin, photographed = run.config.origin, run.splits.train
    assert origin is not None
    assert re.fullmatch(r"BatchNorm rebased on \d+ views of training photos.", origin.note)
    step = f"Fine-tuned from x on {len(photographed)} photos of shapes (3 classes)."
    assert origin == Origin(
        "trained here", note=origin.note, rebased_on="training photos", history=(step,)
    )
    (tmp_path / "run" / "summary.md").unlink()
    carry_out(replace(job, resume=True))
    carry_out(replace(job, weights=tmp_path / "run" / "best", output=tmp_path / "second"))
    assert rebased.call_count == 1


@pytest.mark.slow
def test_a_fitted_classifier_that_no_epoch_betters_is_what_is_kept(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    """It is right on every selection photo, and smoothed labels make the epochs' losses larger."""
    recipe = QUICK.changed(size=None, selection=0.3, epochs=2, calibrate=False)
    found = {
        part: carry_out(Job(str(photos), tmp_path / part, model, recipe.changed(trained=part)))
        for part in ("head", "all")
    }
    assert found["all"].epochs == 2
    arrays = [store.load(summary.best)[1] for summary in found.values()]
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    last = store.load(found["all"].files.last)[1]
    assert not np.array_equal(last["classifier.weight"], arrays[0]["classifier.weight"])
    with (tmp_path / "all" / "metrics.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    losses = [float(row["selection_loss"]) for row in rows]
    assert losses[0] == min(losses)
    shown = found["all"].figures["selection"]
    assert float(rows[0]["selection_top1"]) == pytest.approx(shown.top1)
    assert "Epoch 0 is the new classifier" in found["all"].report.read_text("utf-8")


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("largest", Preprocessing((48, 40), (48, 40), "cover", 1.0)),
        ("weights", Preprocessing((48, 40), (60, 50), "stretch", 0.9)),
    ],
)
def test_a_model_sees_the_largest_view_or_that_of_its_weights(
    view: Any, expected: Preprocessing, model: Path, photos: Path, tmp_path: Path
) -> None:
    config, arrays = store.load(model)
    seen = Preprocessing((32, 32), (40, 40), "stretch", 0.9)
    store.save(tmp_path / "model", replace(config, preprocessing=seen), arrays)
    recipe = Recipe().changed(trained="head", selection=0.3, size=(48, 40), view=view)
    found = carry_out(Job(str(photos), tmp_path / "run", tmp_path / "model", recipe)).config
    assert found.preprocessing == replace(expected, decode="reduced")  # as new models are trained


def test_a_head_only_run_leaves_everything_but_the_classifier(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    recipe = Recipe().changed(trained="head", selection=0.3)
    summary = carry_out(Job(str(photos), tmp_path / "run", model, recipe))
    config, arrays = store.load(tmp_path / "run" / "best")
    _, before = store.load(model)
    assert config.labels.names == ("ball", "box", "triangle")
    changed = {name for name in before if not np.array_equal(before[name], arrays[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert summary.figures["train"].top1 > 0.8
    assert summary.epochs == 0 and not (tmp_path / "run" / "curves.png").exists()


def test_an_existing_run_is_an_error_and_a_finished_one_is_not_resumed(
    trained: Path, photos: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    job = Job(str(photos), trained, None, QUICK)
    with pytest.raises(
        RunError, match="exists already; choose another output, or give resume=True"
    ):
        carry_out(job)
    with pytest.raises(RunError, match=r"this run is finished; its model is .*best"):
        carry_out(replace(job, resume=True))
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_overwriting_replaces_a_run_as_a_whole(trained: Path, photos: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(trained, tmp_path / "run")))
    (run.path / "mine").write_text("")
    carry_out(Job(str(photos), run.path, None, QUICK.changed(epochs=0), overwrite=True))
    assert not (run.path / "mine").exists() and not run.checkpoint.exists()
    assert run.summary.is_file()


def test_the_recorded_figures_are_what_evaluate_measures_afterwards(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(photos), "--model", str(trained / "best"), "--split", "validation"]
    recorded = json.loads((trained / "best" / "config.json").read_text())["metrics"]
    # On the same framework the same to the last digit; on another engine the same network.
    for engine, tolerance in (("torch", 0.0), ("onnxruntime", 1e-5)):
        assert main([*command, "--json", "--runtime", engine]) == 0
        measured = json.loads(capsys.readouterr().out)
        for name in ("top1", "top5", "loss", "images"):
            expected = recorded[f"validation.{name}"]
            assert measured[name] == pytest.approx(expected, rel=tolerance, abs=0), engine
    assert recorded["validation.images"] == 6


def test_an_unreadable_photo_is_left_out_and_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "box" / "bad.jpg").write_text("not a picture")
    carry_out(Job(str(data), tmp_path / "run", None, QUICK.changed(epochs=0, most_unreadable=0.1)))
    assert f"left out, unreadable: {data / 'box' / 'bad.jpg'}: not a pic" in capsys.readouterr().err
    assert "bad.jpg" not in (tmp_path / "run" / "split.csv").read_text()


def test_a_start_that_is_refused_leaves_nothing(
    folded: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebasing is the last thing before the first step that may fail."""
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(room, "rebased", Mock(side_effect=ImageError("a photo is gone")))
    with pytest.raises(ImageError):
        carry_out(Job(str(photos), tmp_path / "run", folded, QUICK.changed(size=None)))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_teacher_is_found_again_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is a link: a runtime goes by the suffix and by what lies beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big.onnx").symlink_to("blob")
    before, expected = (
        Recipe().changed(distillation=Distillation(str(folder / "big.onnx"), 0.7))
        for folder in (Path(), tmp_path)
    )
    assert room.found_again(before) == expected
    assert room.found_again(expected) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained": "head"}, "give weights, or train from scratch"),
        ({"trained": "later"}, "give weights, or train from scratch"),
        ({"frozen_blocks": 3}, "give weights, or set freezing.blocks=0"),
    ],
)
def test_what_builds_on_weights_needs_some(
    change: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        carry_out(Job(str(photos), tmp_path / "run", None, QUICK.changed(**change)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("distillation", "message"),
    [
        (Distillation(share=0.7), "distillation.share = 0.7 needs a teacher: set"),
        (Distillation("runs/big"), "distillation.teacher needs a share of its probabilities"),
    ],
)
def test_a_teacher_and_its_share_come_together(
    distillation: Distillation, message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        carry_out(
            Job(str(photos), tmp_path / "run", None, QUICK.changed(distillation=distillation))
        )
    assert list(tmp_path.iterdir()) == []


def test_hidden_layers_that_are_new_are_not_left_untrained_by_the_default(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    """Of so few photos it fits the last layer alone."""
    recipe = QUICK.changed({"classifier.hidden": (HiddenSpec(8),)}, size=None)
    with pytest.raises(RecipeError, match="hidden adds new layers"):
        carry_out(Job(str(photos), tmp_path / "run", model, recipe, kept=frozenset()))
    assert list(tmp_path.iterdir()) == []


def test_a_head_takes_no_steps_to_try_rates_with(photos: Path, model: Path, tmp_path: Path) -> None:
    recipe = QUICK.changed(trained="head")
    with pytest.raises(RecipeError, match=r"find_rate.* needs training steps"):
        carry_out(Job(str(photos), tmp_path / "run", model, recipe, find_rate=True))


@pytest.mark.parametrize("change", ["added", "removed", "moved"])
def test_resuming_with_other_photos_is_an_error(
    change: str, trained: Path, photos: Path, tmp_path: Path
) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(trained, run)
    shutil.copytree(photos, data)
    (run / "summary.md").unlink()
    photo = data / "ball" / "00.png"
    if change == "added":
        (data / "ball" / "new.png").write_bytes(photo.read_bytes() + b"other")
    else:
        photo.rename(data / "box" / "moved.png" if change == "moved" else tmp_path / "away.png")
    expected = {
        "added": r"data: 1 of the photos are new since .*run was started \(first: ball/new.png\)",
        "removed": r"1 of the photos are gone or unreadable since .* \(first: ball/00.png\)",
        "moved": r"1 of the photos are gone or unreadable since .* \(first: ball/00.png\)",
    }
    with pytest.raises(RunError, match=expected[change]):
        carry_out(Job(str(data), run, None, read_recipe(str(run / "recipe.toml")), resume=True))


CELL = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
import mobilenetv2 as mn
from mobilenetv2.errors import Stopped

signal.signal(signal.SIGINT, signal.default_int_handler)  # as a kernel does for a cell
options = dict(
    weights=None, epochs=200, changes={{"network.name": "small", "network.width": 0.1,
    "network.size": 32, "batch_size": 4}},
)

def interrupt():
    while not Path("run/metrics.csv").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

async def cell():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threading.Thread(target=interrupt).start()
    try:
        mn.train({data!r}, "run", **options)
    except Stopped as stopped:
        assert isinstance(stopped, KeyboardInterrupt) and stopped.folder == "run"
        print("\\n".join(stopped._render_traceback_()))
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

async def threaded():
    # No handler can be set there; the training goes on.
    options["epochs"] = 1
    run = await asyncio.to_thread(mn.train, {data!r}, "other", **options)
    print(run)

asyncio.run(cell())
assert not Path("run/summary.md").exists() and Path("run/checkpoint.safetensors").exists()
asyncio.run(threaded())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")
@pytest.mark.slow
def test_ctrl_c_stops_a_cell_as_it_stops_the_command(photos: Path, tmp_path: Path) -> None:
    code = CELL.format(data=str(photos))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert run.returncode == 0, run.stderr
    stopped, other = run.stdout.splitlines()
    assert stopped.startswith("Stopped: training was stopped and is saved; to continue, give the")
    assert re.fullmatch(
        r"<Run other: \d of 6 new photos were classified correctly, 1 epoch>", other
    )
    assert "stopping after this step" in run.stderr
    assert "outside the main thread, Ctrl-C does not stop" in run.stderr


def test_a_private_run_names_no_photo_and_no_place_where_it_is_shared(
    photos: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "class 4b"))
    run = mn.train(data, tmp_path / "run", weights=None, recipe=QUICK, epochs=1, private=True)
    assert json.loads((run.folder / "start.json").read_text("utf-8"))["private"] is True
    assert not (run.folder / "mistakes.png").exists()
    names = [path.name for path in data.rglob("*.*")]
    shared = [run.report, run.folder / "summary.md", *run.folder.glob("*.png")]
    assert len(shared) == 6
    for path in shared:
        content = path.read_bytes()
        for secret in (*names, "class 4b", str(tmp_path), tmp_path.name):
            assert secret.encode() not in content, (path, secret)
        assert b"data:image/jpeg" not in content and b"data:image/png" not in content
    assert str(data) in (run.folder / "start.json").read_text("utf-8")
    assert "report: " not in run.summary and "left out of this report" in run.summary


def test_a_run_is_loaded_as_a_classifier(photos: Path, tmp_path: Path) -> None:
    run = mn.train(photos, tmp_path / "run", weights=None, recipe=QUICK, epochs=0)
    (answer,) = run.classifier()(photos / "box" / "00.png").top(1)
    assert answer.label in ("ball", "box", "triangle")


@pytest.mark.slow
def test_origin_and_card_describe_the_model_that_they_lie_beside(
    photos: Path, tmp_path: Path
) -> None:
    """Trained, exported, imported, trained again, quantized: each says how it came about."""
    words = ["--recipe", "head-only", "--set", "selection=0.3"]

    def told(folder: Path) -> tuple[Origin, str]:
        config, card = store.load_config(folder), (folder / "README.md").read_text("utf-8")
        assert config.origin is not None and config.labels.names == ("ball", "box", "triangle")
        # Where it began is the earliest step, and nothing else that is true of that model is told.
        assert card.count("CIFAR") == 1 and "CIFAR" in config.origin.history[-1]
        assert "ten classes" not in card and "airplane" not in card
        assert all(f"- {step}" in card for step in config.origin.history)
        assert not config.metrics or config.metrics["validation.images"] < 20
        return config.origin, card

    def run(*words: str | Path) -> None:
        assert main([str(word) for word in words]) == 0

    run("train", photos, "--weights", "embedded", "--output", tmp_path / "one", *words)
    origin, card = told(tmp_path / "one" / "best")
    first, *_ = made = origin.history
    assert re.fullmatch(r"Fine-tuned from embedded on \d+ photos of shapes \(3 classes\)\.", first)
    assert (origin.source, origin.note, origin.licence) == ("trained here", "", "Apache-2.0")
    assert "Measured" in card
    run("export", tmp_path / "one" / "best", tmp_path / "one.onnx")
    run("weights", "import", tmp_path / "one.onnx", tmp_path / "back")
    origin, card = told(tmp_path / "back")
    assert (origin.source, origin.history) == ("one.onnx", made) and "Measured" in card
    run("weights", "import", tmp_path / "one.onnx", tmp_path / "fed", "--preprocessing", "0..1")
    assert "Measured" not in told(tmp_path / "fed")[1]  # it was not measured so
    run("train", photos, "--weights", tmp_path / "back", "--private", "--output",
        tmp_path / "two", *words)  # fmt: skip
    origin, _ = told(tmp_path / "two" / "best")
    assert origin.history[1:] == made
    assert re.fullmatch(
        r"Fine-tuned from one.onnx on \d+ photos \(3 classes\)\.", origin.history[0]
    )
    networks.save(networks.load(tmp_path / "two" / "best", "numpy"), tmp_path / "saved")
    assert told(tmp_path / "saved")[0] == origin
    run("quantize", tmp_path / "two" / "best", tmp_path / "int8.onnx", "--data", photos, "--force")
    run("weights", "import", tmp_path / "int8.onnx", tmp_path / "int8")
    found, card = told(tmp_path / "int8")
    assert found.history == ("Quantized to int8.", *origin.history) and "Measured" not in card
    network = networks.load("embedded", "numpy", classes=["hat", "shoes"])
    networks.save(network, tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text("utf-8")
    assert "ten classes" not in card and "Measured" not in card
    assert "- New classifier for 2 classes" in card


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc, where nobody can write")
def test_an_output_that_cannot_be_written_is_told_before_the_data_is_opened(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the data was opened first")

    monkeypatch.setattr("mobilenetv2.training.run.open_dataset", never)
    with pytest.raises(OSError, match="No such file") as caught:
        mn.train(photos, "/proc/runs/new", weights=None, recipe="scratch-small")
    assert caught.value.filename == "/proc/runs/new"


def test_the_run_folder_may_lie_among_the_photos(tmp_path: Path, photos: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "photos"))
    run = carry_out(Job(str(data), data / "new" / "run", None, QUICK))
    assert run.best.is_dir()
    assert len(run.config.labels.names) == 3
