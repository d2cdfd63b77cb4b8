"""Run folders that someone changed: refused in one sentence, and kept as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mobilenetv2.cli.main import main
from mobilenetv2.training.checkpoint import read_parts, sealed
from mobilenetv2.training.loop import Loop

Refused = Callable[..., str]
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, photos: Path, quick: tuple[str, ...]) -> Path:
    """A run of two epochs that was stopped after the first. Only to be read."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    changes = ("--epochs", "2", "--set", "averaging.decay=0.9")
    finish = Loop.finish_epoch

    def finish_one(loop: Loop) -> None:
        finish(loop)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "finish_epoch", finish_one)
        assert main(["train", str(photos), "--output", str(run), *quick, *changes]) == 130
    return run


def checkpoint(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Change:
    """Change what the checkpoint holds, with a checksum that fits again."""

    def tamper(run: Path) -> None:
        path = run / "checkpoint.safetensors"
        facts, tensors = read_parts(path)
        del facts["sha256"]
        change(facts, tensors)
        path.write_bytes(sealed(facts, tensors))

    return tamper


def text(name: str, old: str, new: str) -> Change:
    """Replace a part of a text file; all of it for an empty ``old``."""

    def tamper(run: Path) -> None:
        path = run / name
        content = path.read_text("utf-8")
        assert old in content
        path.write_text(content.replace(old, new, 1) if old else new, "utf-8")

    return tamper


def start(**changes: object) -> Change:
    def tamper(run: Path) -> None:
        path = run / "start.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return tamper


def model(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    def tamper(run: Path) -> None:
        path = run / name / "model.safetensors"
        arrays = load_file(path)
        change(arrays)
        save_file(arrays, path, {"format_version": "1"})

    return tamper


def relabelled(run: Path) -> None:
    path = run / "best" / "config.json"
    path.write_text(path.read_text("utf-8").replace("ball", "cube"))


def a_folder(name: str) -> Change:
    def tamper(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return tamper


STEM = "trainer/network/stem.conv.weight"
MOMENTUM = "trainer/optimizer/0/momentum_buffer"
AGAIN, NEW = "start the run again with --overwrite", "start a new run"
CHECKPOINT = "checkpoint.safetensors: cannot be resumed from"
KINDS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "tensor missing": (checkpoint(lambda f, t: t.pop(STEM)), (CHECKPOINT, "stem.conv", AGAIN)),
    "momentum missing": (
        checkpoint(lambda f, t: t.pop(MOMENTUM)), (CHECKPOINT, "lacks 'optimizer/0/", AGAIN),
    ),
    "tensor reshaped": (
        checkpoint(lambda f, t: t.update({STEM: t[STEM].ravel()})), (CHECKPOINT, "shape", AGAIN),
    ),
    "tensor of another type": (
        checkpoint(lambda f, t: t.update({STEM: t[STEM].astype("f8")})), (CHECKPOINT, "float64"),
    ),
    "momentum reshaped": (
        checkpoint(lambda f, t: t.update({MOMENTUM: t[MOMENTUM].ravel()})), (CHECKPOINT, AGAIN),
    ),
    "momentum of nothing": (
        checkpoint(lambda f, t: t.update({"trainer/optimizer/999/momentum_buffer": t[MOMENTUM]})),
        (CHECKPOINT, "999", AGAIN),
    ),
    "tensor not finite": (
        checkpoint(lambda f, t: t.update({STEM: t[STEM] * np.nan})), (CHECKPOINT, "not finite"),
    ),
    "random state cut": (
        checkpoint(lambda f, t: t.update({"trainer/random": t["trainer/random"][:9]})),
        (CHECKPOINT, "random"),
    ),
    "random state of zeros": (
        checkpoint(lambda f, t: t.update({"trainer/random": t["trainer/random"] * 0})),
        (CHECKPOINT, AGAIN),
    ),
    "unknown tensor": (
        checkpoint(lambda f, t: t.update({"trainer/extra": t[STEM]})), (CHECKPOINT, "extra"),
    ),
    "unknown part": (
        checkpoint(lambda f, t: t.update({"other/x": t[STEM]})), (CHECKPOINT, "'other/x'"),
    ),
    "epoch below 0": (checkpoint(lambda f, t: f.update(epoch=-5)), (CHECKPOINT, "epoch -5", AGAIN)),
    "epoch beyond": (checkpoint(lambda f, t: f.update(epoch=10**9)), (CHECKPOINT, "1000000000")),
    "step beyond": (
        checkpoint(lambda f, t: f.update(step=10**9, sums=[0, 0, 4e9])), (CHECKPOINT, "step "),
    ),
    "sums": (checkpoint(lambda f, t: f.update(sums=[1])), (CHECKPOINT, "sums [1]")),
    "rows": (checkpoint(lambda f, t: f.update(rows=["a"])), (CHECKPOINT, "no row of metrics")),
    "averaged steps": (
        checkpoint(lambda f, t: f.update(averaged_steps=7777)),
        (CHECKPOINT, "averaged_steps 7,777"),
    ),
    "network of another size": (
        checkpoint(lambda f, t: f["config"]["spec"].update(stem_channels=64)), (CHECKPOINT, AGAIN),
    ),
    "other classes": (
        checkpoint(lambda f, t: f["config"]["labels"].update(names=["a", "b", "c"])),
        ("checkpoint.safetensors: belongs to a run on 'a', 'b', 'c'", "'ball'", NEW),
    ),
    "checkpoint cut off": (
        lambda run: (run / "checkpoint.safetensors").write_bytes(
            (run / "checkpoint.safetensors").read_bytes()[:-100]
        ),
        (CHECKPOINT, AGAIN),
    ),
    "recipe of another run": (
        text("recipe.toml", "epochs = 2", "epochs = 3"), ("belongs to another recipe", NEW),
    ),
    "checkpoint pickled": (
        lambda run: (run / "checkpoint.safetensors").write_bytes(b"\x80\x04cos\nsystem\n."),
        (CHECKPOINT, AGAIN),
    ),
    "recipe no TOML": (text("recipe.toml", "", "= ["), ("recipe.toml: not a valid TOML file",)),
    "recipe deep": (text("recipe.toml", "", "a = " + "[" * 9999), ("recipe.toml: ", "deep")),
    "recipe of unknown keys": (text("recipe.toml", "", "epoks = 2"), ("recipe.toml", "'epochs'")),
    "recipe not UTF-8": (
        lambda run: (run / "recipe.toml").write_bytes(b"\xff\xfe"), ("recipe.toml: not a valid",),
    ),
    "start no JSON": (text("start.json", "", "{"), ("start.json: does not record", AGAIN)),
    "start a list": (text("start.json", "", "[1]"), ("start.json: does not record", AGAIN)),
    "start deep": (text("start.json", "", "[" * 99_999), ("start.json: does not record", AGAIN)),
    "start unknown edition": (start(edition="mxnet"), ("start.json: ", "'mxnet'", AGAIN)),
    "start edition a list": (start(edition=["torch"]), ("start.json: ", AGAIN)),
    "start weights a number": (start(weights=3), ("start.json: ", AGAIN)),
    "start private a text": (start(private="no"), ("start.json: ", AGAIN)),
    "start ignore a text": (start(ignore=[3]), ("start.json: ", AGAIN)),
    "split of other columns": (
        text("split.csv", "split,class", "a,b"), ("split.csv: not a table",),
    ),
    "split without a photo": (
        text("split.csv", "ball/00.png", "ball/99.png"), ("photos are", "restore", NEW),
    ),
    "split of absolute paths": (
        text("split.csv", "ball/00.png", "/etc/passwd"), ("photos are", NEW),
    ),
    "split out of the folder": (
        text("split.csv", "ball/00.png", "../../secret.png"), ("photos are", NEW),
    ),
    "split that is another": (
        text("split.csv", "selection", "train"), ("1 photos have changed", NEW),
    ),
    "split with a photo twice": (
        text("split.csv", "\n", "\ntest,ball,ball/00.png\n"), ("'ball/00.png' is in two splits",),
    ),
    "split half written": (text("split.csv", ",class,photo", ""), ("split.csv: not a table",)),
    "split a folder": (a_folder("split.csv"), ("split.csv: ", "directory")),
    "best missing": (
        lambda run: shutil.rmtree(run / "best"), (CHECKPOINT, "best: no such model folder", AGAIN),
    ),
    "best without weights": (
        lambda run: (run / "best" / "model.safetensors").unlink(),
        (CHECKPOINT, "is missing", AGAIN),
    ),
    "best not finite": (
        model("best", lambda a: a.update({"stem.bn.shift": a["stem.bn.shift"] * np.nan})),
        (CHECKPOINT, "not finite", AGAIN),
    ),
    "best of other classes": (relabelled, (CHECKPOINT, "other classes", AGAIN)),
    "last reshaped": (
        model("last", lambda a: a.update({"classifier.bias": np.zeros(4, np.float32)})),
        (CHECKPOINT, "classifier.bias", AGAIN),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "parts"), KINDS.values(), ids=KINDS)
def test_resume_refuses_it_and_leaves_everything_as_it_was(
    change: Change, parts: tuple[str, ...], stopped: Path, photos: Path, tmp_path: Path,
    refused: Refused, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    change(run)
    message = refused("train", photos, "--output", run, "--resume")
    assert all(part in message for part in parts), message
    assert len(message) < 1000 and "\n" not in message


@pytest.mark.slow
def test_what_the_run_does_not_depend_on_may_be_damaged(
    stopped: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, run = (Path(shutil.copytree(stopped, tmp_path / name / "run")) for name in "ab")
    (run / "metrics.csv").write_bytes(b"\xff\xfe garbage")
    (run / "curves.png").write_bytes(b"")
    (run / "summary.md.part").write_text("# ha")
    shutil.rmtree(run / "last")
    for folder in (clean, run):
        assert main(["train", str(photos), "--output", str(folder), "--resume"]) == 0
    for name in ("best/model.safetensors", "last/model.safetensors"):
        assert (run / name).read_bytes() == (clean / name).read_bytes()
    (run / "metrics.csv").write_bytes(b"\xff\xfe garbage")
    (run / "start.json").write_text("[" * 99_999)
    capsys.readouterr()
    page = tmp_path / "out"
    assert main(["evaluate", str(photos), "--model", str(run / "best"), "--report", str(page)]) == 0
    err = capsys.readouterr().err
    assert "metrics.csv cannot be read" in err and "start.json cannot be read" in err
    assert (page / "report.html").is_file()
