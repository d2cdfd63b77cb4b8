"""Pipes and devices where a file belongs: nothing waits for them, nothing replaces them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli.main import main

pytestmark = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="this system has no pipes by name"
)

Refused = Callable[..., str]
SECONDS = 60


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes pipes by name. A test that waits for one is ended, and so are its threads."""
    made: list[Path] = []

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        made.append(path)
        return path

    def end(*_: Any) -> None:
        for path in made:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # who waits for a writer goes on
        raise TimeoutError(f"something waited {SECONDS} seconds for {made}")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield make
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- photos


@pytest.mark.parametrize("verb", ["predict", "explain"])
@pytest.mark.parametrize("where", ["named", "in a folder"])
def test_a_pipe_named_as_a_photo_is_one_photo_that_cannot_be_read(
    verb: str, where: str, photos: Path, model: Path, tmp_path: Path,
    pipe: Callable[[str], Path], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fifo = pipe("album/x.jpg")
    shutil.copy(photos / "ball" / "00.png", tmp_path / "album")
    given = [fifo.parent] if where == "in a folder" else [fifo, tmp_path / "album" / "00.png"]
    options = ["--output", tmp_path / "out"] if verb == "explain" else []
    command = [verb, *given, "--model", model, "--json", *options]
    assert main([str(word) for word in command]) == 1
    rows = {row["image"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows[str(fifo)]["error"].startswith(f"{fifo}: cannot be opened (is a pipe")
    assert "error" not in rows[str(tmp_path / "album" / "00.png")]


def test_a_pipe_in_a_folder_of_photos_is_named_and_never_waited_for(
    photos: Path, model: Path, quick: tuple[str, ...], tmp_path: Path,
    pipe: Callable[[str], Path], refused: Refused, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    fifo = pipe("data/box/x.jpg")
    for command in (
        ["train", data, "--output", tmp_path / "run", *quick],
        ["evaluate", data, "--model", model],
        ["benchmark", model, "--data", data],
    ):
        assert f"{fifo}: cannot be opened (is a pipe" in refused(*command)
    assert main(["audit", str(data), "--json"]) == 0
    assert str(fifo.relative_to(data)) in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_pipe_named_as_an_archive(
    suffix: str, model: Path, quick: tuple[str, ...], tmp_path: Path,
    pipe: Callable[[str], Path], refused: Refused,
) -> None:  # fmt: skip
    fifo = pipe(f"photos{suffix}")
    for command in (
        ["train", fifo, "--output", tmp_path / "run", *quick],
        ["evaluate", fifo, "--model", model],
        ["audit", fifo],
        ["quantize", model, tmp_path / "x.onnx", "--data", fifo],
        ["benchmark", model, "--data", fifo],
    ):
        assert refused(*command).startswith(f"{fifo}: is a pipe, not a regular file; save")


@pytest.mark.parametrize("verb", ["export", "parity"])
def test_a_pipe_among_the_photos_that_a_comparison_takes(
    verb: str, model: Path, tmp_path: Path, pipe: Callable[[str], Path], refused: Refused
) -> None:
    fifo = pipe("x.jpg")
    more: dict[str, list[Any]] = {
        "export": [tmp_path / "x.onnx", "--format", "onnx"],
        "parity": ["--editions", "numpy,torch"],
    }
    message = refused(verb, model, *more[verb], "--photos", fifo)
    assert message.startswith(f"{fifo}: cannot be opened (is a pipe")


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    "suffix", [".onnx", ".tflite", ".xml", ".keras", ".mnn", ".param", ".pte", ".pt2", ".h5", ""]
)
def test_a_pipe_named_as_a_model(
    suffix: str, photos: Path, quick: tuple[str, ...], tmp_path: Path,
    pipe: Callable[[str], Path], refused: Refused,
) -> None:  # fmt: skip
    fifo, photo = pipe(f"model{suffix}"), photos / "ball" / "00.png"
    commands: list[list[Any]] = [["predict", photo, "--model", fifo]]
    if suffix == ".onnx":
        commands += [
            ["explain", photo, "--model", fifo, "--output", tmp_path / "out"],
            ["evaluate", photos, "--model", fifo],
            ["audit", photos, "--model", fifo],
            ["train", photos, "--weights", fifo, "--output", tmp_path / "run"],
            ["export", fifo, tmp_path / "x.onnx"],
            ["quantize", fifo, tmp_path / "x.onnx", "--data", photos],
            ["benchmark", fifo, "--data", photos],
            ["parity", fifo],
            ["weights", "export", fifo, tmp_path / "x.pth", "--dialect", "timm"],
        ]
    for command in commands:
        message = refused(*command)
        assert message.startswith(f"{fifo}: "), command
        assert "is a pipe" in message, command


@pytest.mark.parametrize("suffix", [".pth", ".h5", ".keras", ".safetensors", ".tgz", ".onnx",
                                    ".tflite", ""])  # fmt: skip
@pytest.mark.parametrize("dialect", ["auto", "onnx", "timm"])
def test_a_pipe_named_as_weights_to_import(
    suffix: str, dialect: str, tmp_path: Path, pipe: Callable[[str], Path], refused: Refused
) -> None:
    fifo = pipe(f"weights{suffix}")
    message = refused("weights", "import", fifo, tmp_path / "out", "--dialect", dialect)
    assert message.startswith(f"{fifo}: ")
    assert "is a pipe" in message or "in the dialect" in message


def test_pipes_beside_what_is_read(
    model: Path, photos: Path, tmp_path: Path, pipe: Callable[[str], Path], refused: Refused
) -> None:
    """A list of labels, a recipe, a spec, a config, and the files of a hub's repository."""
    fifo, weights = pipe("words.txt"), tmp_path / "weights.safetensors"
    shutil.copy(model / "model.safetensors", weights)
    out = tmp_path / "out"
    message = refused("weights", "import", weights, out, "--labels", fifo)
    assert message.startswith(f"{fifo}: is a pipe")
    assert str(fifo) in refused("weights", "import", weights, out, "--spec", fifo)
    assert str(fifo) in refused(
        "train", photos, "--weights", "none", "--recipe", fifo, "--output", out
    )
    for name in ("config.json", "model.safetensors"):
        fifo = pipe(f"{name}-beside/{name}")
        assert refused("weights", "import", fifo.parent, out).startswith(str(fifo.parent))
        assert refused("predict", photos, "--model", fifo.parent).startswith(str(fifo.parent))
    fifo = pipe("weights.safetensors.json")
    assert refused("weights", "import", weights, out).startswith(f"{weights}: ")


# ---------------------------------------------------------------- results


def test_a_result_is_written_into_a_pipe_that_stays_one(
    photos: Path, model: Path, pipe: Callable[[str], Path]
) -> None:
    fifo = pipe("answers.csv")
    with ThreadPoolExecutor(1) as readers:
        answers = readers.submit(fifo.read_text)
        photo = str(photos / "ball" / "00.png")
        assert main(["predict", photo, "--model", str(model), "--csv", str(fifo)]) == 0
        assert answers.result().startswith("image,rank,index,label,probability,error\n")
    assert fifo.is_fifo()


def test_a_result_is_written_into_a_device(photos: Path, model: Path) -> None:
    before = Path(os.devnull).stat()
    photo = str(photos / "ball" / "00.png")
    assert main(["predict", photo, "--model", str(model), "--csv", os.devnull]) == 0
    assert Path(os.devnull).stat().st_rdev == before.st_rdev
    assert Path(os.devnull).stat().st_mode == before.st_mode


@pytest.mark.parametrize("verb", ["explain", "export", "weights export"])
def test_other_results_are_written_into_a_pipe_too(
    verb: str, photos: Path, model: Path, tmp_path: Path, pipe: Callable[[str], Path]
) -> None:
    suffix, begins = {
        "explain": (".png", b"\x89PNG"),
        "export": (".onnx", b"\x08"),
        "weights export": (".onnx", b"\x08"),
    }[verb]
    fifo = pipe(f"out{suffix}")
    command = {
        "explain": [photos / "ball" / "00.png", "--model", model, "--output", fifo],
        "export": [model, fifo, "--format", "onnx"],
        "weights export": [model, fifo, "--dialect", "onnx"],
    }[verb]
    with ThreadPoolExecutor(1) as readers:
        answers = readers.submit(fifo.read_bytes)
        assert main([*verb.split(), *map(str, command), "--overwrite"]) == 0
        assert answers.result().startswith(begins)
    assert fifo.is_fifo()


def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "deep").mkdir()
    file, link = tmp_path / "deep" / "answers.csv", tmp_path / "link.csv"
    file.write_text("old")
    link.symlink_to("deep/answers.csv")
    photo = str(photos / "ball" / "00.png")
    assert main(["predict", photo, "--model", str(model), "--csv", str(link)]) == 0
    assert link.is_symlink()
    assert file.read_text().startswith("image,rank")


@pytest.mark.parametrize("mode", ["w", "a"])
def test_the_output_that_is_open_already_is_written_into(
    mode: str, photos: Path, model: Path, tmp_path: Path
) -> None:
    """``--csv /dev/stdout``, where a shell sends it to a file."""
    if not Path("/dev/stdout").exists():
        pytest.skip("this system has no /dev/stdout")
    log, photo = tmp_path / "log", photos / "ball" / "00.png"
    log.write_text("before\n")
    number = log.stat().st_ino
    command = ["predict", str(photo), "--model", str(model), "--csv", "/dev/stdout"]
    with log.open(mode) as file:
        subprocess.run([sys.executable, "-m", "mobilenetv2", *command], stdout=file, check=True)
    assert log.stat().st_ino == number
    lines = log.read_text().splitlines()
    assert lines.pop(0) == "before" if mode == "a" else True
    assert lines[0] == "image,rank,index,label,probability,error"
