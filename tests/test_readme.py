"""The README's commands, run as they stand there, on a small folder of photos."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"

QUICK = {
    "train": ["--epochs", "1", "--set", "train_scale=0.3", "--set", "selection=0.3"],
    # An epoch's answers are close calls, and a dozen photos judge them.
    "quantize": ["--force"],
    "benchmark": ["--runtime", "onnxruntime,litert", "--seconds", "0.1"],
}
"""Appended to a verb's commands: they stay what they are, only shorter."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mobilenetv2 ")]


def test_the_readme_shows_every_step_of_the_job() -> None:
    verbs = {command[1] for command in commands()}
    assert verbs == {"weights", "train", "evaluate", "predict", "describe", "parity",
                     "export", "quantize", "benchmark"}  # fmt: skip


def test_every_verb_and_option_of_the_readme_exists() -> None:
    from mobilenetv2.cli.parser import make_parser

    for command in commands():
        assert make_parser().parse_args(command[1:]).verb == command[1]


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_the_readme_runs(
    tmp_path: Path, photo_folder: Callable[[Path, int], Path], public_folder: Callable[[str], Path]
) -> None:
    (tmp_path / PUBLISHED).write_bytes((public_folder("published") / PUBLISHED).read_bytes())
    photos = photo_folder(tmp_path / "photos", 12)
    photo = next(path for path in photos.rglob("*") if path.is_file())
    (tmp_path / "new.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "one.jpg").write_bytes(photo.read_bytes())
    for command in commands():
        extra = QUICK.get(command[1], [])
        if command[1] == "export" and "--precision" in command:
            # A dozen photos' network has logits of 900, of which half precision keeps 97%.
            extra = ["--precision", "float32"]
        run = subprocess.run(
            [sys.executable, "-m", *command, *extra], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{' '.join(command)}\n{run.stderr}"
        assert "--csv" in command or run.stdout, command
    assert (tmp_path / "holiday.csv").read_text("utf-8").startswith("image,rank")
    assert "never saw" in (tmp_path / "runs" / "photos" / "summary.md").read_text("utf-8")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import mobilenetv2 as mn

    monkeypatch.chdir(tmp_path)
    mn.save(mn.build(mn.NetworkSpec(width=0.1, classes=3, size=(32, 32))), "runs/photos/best")
    Image.new("RGB", (40, 40), "red").save("new.jpg")
    scope = {"x": torch.zeros(1, 3, 32, 32)}
    exec(blocks("python")[0], scope)
    assert mn.load("shoes").spec.classes == 5
