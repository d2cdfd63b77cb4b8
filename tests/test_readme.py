"""The README's commands and the last lines of the demo, run as they stand there."""

import os
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
FIRST, _, REST = README.partition("\n## Install\n")
INSTALL, _, USE = REST.partition("\n## What it does\n")
FETCHED = "litert-tf2-1.0-224"
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
"""What ``weights import`` of that name fetches: the cache is filled with it."""

NEW_SHELL = os.defpath
TRAIN = "--epochs 1 --set train_scale=0.3 --set selection=0.3"
QUICK = {
    # No test reaches the published default: some other weights are named.
    "train photos/ --output": f"--weights embedded {TRAIN}",
    "train photos/ --weights": TRAIN,
    # An epoch's answers are close calls, and a dozen photos judge them.
    "quantize": "--force",
    "benchmark": "--runtime onnxruntime,litert --seconds 0.1",
    # A dozen photos' network has logits of 900, of which half precision keeps 97%.
    "export runs/photos/best app/": "--precision float32",
}
"""Appended to commands that begin so: they stay what they are, only shorter."""


def blocks(text: str, language: str = "sh") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    """The lines that a person types, without comments."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    return [re.sub(r"\s*#.*", "", line) for line in lines if re.sub(r"\s*#.*", "", line)]


def last_lines(printed: str) -> list[str]:
    """The commands that the demo ends with."""
    end = printed[printed.index("\nDone in ") :]
    return [line.strip() for line in end.splitlines() if line.startswith("  ")]


def typed(line: str, folder: Path, cache: Path, **environment: str) -> str:
    """Type a line in a shell there, with this environment's commands; what it prints."""
    for start, extra in QUICK.items():
        line += f" {extra}" if f"mobilenetv2 {start}" in line else ""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "MOBILENETV2_CACHE": str(cache), **environment}
    run = subprocess.run(
        line, shell=True, cwd=folder, env=variables, capture_output=True, text=True
    )
    assert run.returncode == 0, f"{line}\n{run.stdout}\n{run.stderr}"
    return run.stdout


def put_own_photos(folder: Path, photo_folder: Callable[[Path, int], Path]) -> None:
    """What the README calls the reader's own: photos/, new.jpg, holiday/."""
    photos = photo_folder(folder / "photos", 12)
    photo = next(path for path in photos.rglob("*.jpg"))
    (folder / "holiday").mkdir()
    for copy in (folder / "new.jpg", folder / "holiday" / "one.jpg"):
        copy.write_bytes(photo.read_bytes())


def test_the_readme_shows_every_step_of_the_job() -> None:
    verbs = {line.split()[1] for line in commands(FIRST + USE) if line.startswith("mobilenetv2 ")}
    assert verbs == {"weights", "train", "evaluate", "predict", "describe", "parity",
                     "export", "quantize", "benchmark"}  # fmt: skip


def test_every_verb_and_option_of_the_readme_exists() -> None:
    from mobilenetv2.cli.parser import make_parser

    for line in commands(FIRST + USE):
        if not line.startswith(". "):
            program, *arguments = shlex.split(line)
            assert program == "mobilenetv2"
            assert make_parser().parse_args(arguments).verb == arguments[0]


def test_every_key_of_a_recipe_that_the_readme_sets_exists() -> None:
    from mobilenetv2.training.recipe_file import read_recipe

    changes = re.findall(r"--set\s+'?([\w.]+=[^\s`']+)", README)
    assert changes
    for change in changes:
        read_recipe("finetune", [change])


def test_the_first_screen_names_the_commands_that_do_everything() -> None:
    screen = "\n".join(README.splitlines()[:20])
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo", "test"):
        assert f"`make {target}`" in screen
        assert f"\n{target}:" in makefile


def test_the_install_is_that_of_the_tested_versions() -> None:
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    (tested,) = re.findall(r"\(([\d.]+) is what we test\)", README)
    assert f"torch=={tested}" in constraints


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which ``make demo`` ran, only shorter, and what it printed.

    As from make, no environment is activated: :data:`NEW_SHELL` finds none of its commands.
    """
    folder = tmp_path_factory.mktemp("clone")
    script = ROOT / "examples" / "demo.py"
    line = shlex.join([sys.executable, str(script), "--epochs", "1"])
    return folder, typed(line, folder, folder / "cache", PATH=NEW_SHELL)


@pytest.mark.slow
def test_what_the_demo_prints_last_runs_as_it_stands(
    demo: tuple[Path, str], photo_folder: Callable[[Path, int], Path]
) -> None:
    folder, printed = demo
    put_own_photos(folder, photo_folder)
    lines = last_lines(printed)
    assert len(lines) == 4
    for line in lines:
        assert typed(line, folder, folder / "cache", PATH=NEW_SHELL)
    assert (folder / "demo" / "run" / "summary.md").is_file()


@pytest.mark.slow
def test_the_first_lines_run_on_what_the_demo_made(
    demo: tuple[Path, str], tmp_path: Path, photo_folder: Callable[[Path, int], Path]
) -> None:
    folder, _ = demo
    (tmp_path / "demo").symlink_to(folder / "demo")
    put_own_photos(tmp_path, photo_folder)
    activated, *lines = commands(FIRST)
    assert activated == ". .venv/bin/activate"  # done: these commands are this environment's
    for line in lines:
        assert typed(line, tmp_path, tmp_path / "cache")
    assert "neither training nor selection" in (
        tmp_path / "runs" / "digits" / "summary.md"
    ).read_text("utf-8")


@pytest.mark.slow
def test_every_further_line_runs(
    tmp_path: Path, photo_folder: Callable[[Path, int], Path], public_folder: Callable[[str], Path]
) -> None:
    cache = tmp_path / "cache"
    (cache / FETCHED).mkdir(parents=True)
    (cache / FETCHED / PUBLISHED).write_bytes((public_folder("published") / PUBLISHED).read_bytes())
    put_own_photos(tmp_path, photo_folder)
    typed(f"mobilenetv2 train photos/ --weights {FETCHED} --output runs/photos", tmp_path, cache)
    for line in commands(USE):
        printed = typed(line, tmp_path, cache)
        assert "--csv" in line or printed, line
    assert (tmp_path / "holiday.csv").read_text("utf-8").startswith("image,rank")


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import mobilenetv2 as mn

    monkeypatch.chdir(tmp_path)
    mn.save(mn.build(mn.NetworkSpec(width=0.1, classes=3, size=(32, 32))), "runs/photos/best")
    Image.new("RGB", (40, 40), "red").save("new.jpg")
    scope = {"x": torch.zeros(1, 3, 32, 32)}
    exec(blocks(README, "python")[0], scope)
    assert mn.load("shoes").spec.classes == 5
