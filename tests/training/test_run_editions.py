"""``train --edition`` from the command line: the whole job, stopped and resumed."""

import csv
import json
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training import steps as room

TIMES = ("seconds", "images_per_second")
FILES = {
    "best", "last", "checkpoint.safetensors", "classes.png", "confusion.png", "curves.png",
    "metrics.csv", "mistakes.png", "recipe.toml", "reliability.png", "report.html", "split.csv",
    "start.json", "summary.md",
}  # fmt: skip
OTHERS = [
    pytest.param(
        edition,
        marks=pytest.mark.skipif(not find_spec(package), reason=f"{package} is not installed"),
    )
    for edition, package in (("keras", "keras"), ("jax", "flax"))
]
SHALLOW = NetworkSpec(
    width=0.1, size=(32, 32), classes=5, head_channels=24, stages=PAPER_STAGES[:2]
)


def outcome(run: Path) -> dict[str, object]:
    """Weights, config and figures of a finished run, byte for byte, but for times."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    names = [f"{folder}/{file}" for folder in ("best", "last")
             for file in ("model.safetensors", "config.json")]  # fmt: skip
    return {"metrics": rows} | {name: (run / name).read_bytes() for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("edition", OTHERS)
def test_a_run_stopped_within_an_epoch_and_resumed_is_the_whole_run_bit_for_bit(
    edition: str, photos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    weights = tmp_path / "shallow"  # compiling is what takes long
    store.save(weights, ModelConfig.default(SHALLOW), random_arrays(SHALLOW))
    changes = ("batch_size=8", "dropout=0.3", "ema_decay=0.8", "ema_breadth=0.25",
               "reestimate=8", "head_first=false")  # fmt: skip
    options = ["--weights", str(weights), *(w for c in changes for w in ("--set", c))]
    command = ["train", str(photos), "--edition", edition, "--epochs", "2", *options]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*command, "--output", str(whole)]) == 0
    assert {path.name for path in whole.iterdir()} == FILES
    assert json.loads((whole / "start.json").read_text())["edition"] == edition
    store.load(whole / "best")  # any other edition takes it from here

    module: Any = room.find_steps(edition)
    kind = module.KerasTrainer if edition == "keras" else module.JaxTrainer
    step, steps = kind.step, []

    def stopping(*given: Any) -> Any:
        if (parts / "start.json").exists():  # not those that measure the time before
            steps.append(1)
        if len(steps) == 5:  # of three an epoch
            # As delivered, but not through the system: other tests' native libraries listen, too.
            handler: Any = signal.getsignal(signal.SIGINT)
            handler(signal.SIGINT, None)
        return step(*given)

    monkeypatch.setattr(kind, "step", stopping)
    assert main([*command, "--output", str(parts)]) == 130
    assert not (parts / "summary.md").exists()
    capsys.readouterr()
    assert main(["train", str(photos), "--output", str(parts), "--resume"]) == 0
    assert len(steps) == 6
    assert outcome(parts) == outcome(whole)


@pytest.mark.slow
@pytest.mark.parametrize("edition", OTHERS)
def test_a_network_that_an_edition_does_not_have_leaves_nothing_behind(
    edition: str, photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Any
) -> None:
    command = ["train", photos, "--output", tmp_path / "run", "--edition", edition, *quick]
    message = refused(*command, "--set", "network=mobilenet-v1")
    assert f"the {edition} edition does not have separable blocks" in message
