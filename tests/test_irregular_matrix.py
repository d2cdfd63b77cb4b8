"""Every kind of what is no file, named as everything that is read, on every verb."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli.main import main

pytestmark = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="this system has no pipes by name"
)

KINDS = (
    "pipe", "zero", "folder",
    *(
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in ("socket", "full", "terminal", "dangling", "loop")
    ),
)  # fmt: skip
SECONDS = 10

Make = Callable[[Path], Path]
Command = list[object]
Fails = Callable[..., None]


@pytest.fixture(params=KINDS)
def irregular(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes something that is no file at a path. Whoever waits for a pipe is ended."""
    kind, pipes, ends = request.param, list[Path](), list[int]()

    def make(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
            pipes.append(path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as one, pytest.MonkeyPatch.context() as patch:
                patch.chdir(path.parent)  # the length of its path is limited
                one.bind(path.name)
        elif kind == "folder":
            path.mkdir()
        else:
            if kind == "terminal":
                ends.extend(os.openpty())
            to = {"dangling": "nowhere", "loop": path.name, "zero": "/dev/zero",
                  "full": "/dev/full"}  # fmt: skip
            path.symlink_to(to.get(kind) or os.ttyname(ends[-1]))
        return path

    yield make
    for end in ends:
        os.close(end)


def within_seconds(command: Command) -> int:
    """Exit status of a command, which must not take :data:`SECONDS` of waiting."""

    def end(*_: Any) -> None:
        raise TimeoutError(f"{command} waited")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS * 6)  # a busy machine is not a defect
    try:
        return main([str(word) for word in command])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Checks that a command ends with a sentence that has a path, or with a row about a photo."""

    def check(path: Path, *command: object) -> None:
        status = within_seconds(list(command))
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("mobilenetv2: error: ")]
        assert "Traceback" not in err, command
        assert status in (1, 2), (command, out, err)
        assert str(path) in out + err, (command, out, err)
        assert len(lines) == (1 if status == 2 else 0), (command, err)

    return check


def verbs_with_photos(photo: Path, model: Path, out: Path) -> list[Command]:
    return [
        ["predict", photo, "--model", model],
        ["explain", photo, "--model", model, "--output", out],
        ["export", model, out / "x.onnx", "--photos", photo],
        ["parity", model, "--editions", "numpy,torch", "--photos", photo],
    ]


def verbs_with_data(data: Path, model: Path, out: Path, quick: tuple[str, ...]) -> list[Command]:
    return [
        ["train", data, "--output", out / "run", *quick],
        ["evaluate", data, "--model", model],
        ["audit", data],
        ["quantize", model, out / "x.onnx", "--data", data],
        ["benchmark", model, "--data", data],
    ]


def verbs_with_a_model(model: Path, photos: Path, out: Path) -> list[Command]:
    photo = photos / "ball" / "00.png"
    return [
        ["predict", photo, "--model", model],
        ["explain", photo, "--model", model, "--output", out],
        ["evaluate", photos, "--model", model],
        ["audit", photos, "--model", model],
        ["train", photos, "--weights", model, "--output", out / "run"],
        ["export", model, out / "x.onnx"],
        ["quantize", model, out / "x.onnx", "--data", photos],
        ["benchmark", model, "--data", photos],
        ["parity", model],
        ["weights", "import", model, out / "model"],
        ["weights", "export", model, out / "x.pth", "--dialect", "timm"],
    ]


def test_as_a_photo(irregular: Make, fails: Fails, model: Path, tmp_path: Path) -> None:
    path = irregular(tmp_path / "x.jpg")
    for command in verbs_with_photos(path, model, tmp_path / "out"):
        fails(path, *command)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.csv", "x.jsonl", "x.tsv", "x"])
def test_as_data(
    name: str, irregular: Make, fails: Fails, model: Path, quick: tuple[str, ...], tmp_path: Path
) -> None:
    path = irregular(tmp_path / "data" / name)
    for command in verbs_with_data(path, model, tmp_path / "out", quick):
        fails(path, *command)
    if name in ("x.csv", "x.jsonl"):
        fails(path, "predict", path, "--model", model)


@pytest.mark.parametrize(
    "suffix",
    [
        ".onnx",
        ".tflite",
        ".keras",
        ".xml",
        ".mnn",
        ".param",
        ".pth",
        ".h5",
        ".safetensors",
        ".pt2",
        ".pte",
        ".pb",
        "",
    ],
)
def test_as_a_model(
    suffix: str, irregular: Make, fails: Fails, photos: Path, tmp_path: Path
) -> None:
    path = irregular(tmp_path / f"model{suffix}")
    for command in verbs_with_a_model(path, photos, tmp_path / "out"):
        fails(path, *command)


def test_as_an_option(
    irregular: Make, fails: Fails, model: Path, photos: Path, tmp_path: Path
) -> None:
    path, out = irregular(tmp_path / "x.txt"), tmp_path / "out"
    weights = tmp_path / "weights.safetensors"
    shutil.copy(model / "model.safetensors", weights)
    exported = tmp_path / "net.onnx"
    assert main(["export", str(model), str(exported), "--format", "onnx"]) == 0
    imports = ["weights", "import", weights, out]
    for command in (
        [*imports, "--labels", path],
        [*imports, "--spec", path],
        [*imports, "--preprocessing", path],
        ["train", photos, "--weights", "none", "--recipe", path, "--output", out],
        ["predict", f"@{path}", "--model", model],
        ["describe", "--spec", path],
    ):
        fails(path, *command)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_in_a_model_folder(
    name: str, irregular: Make, fails: Fails, model: Path, photos: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    (folder / name).unlink()
    irregular(folder / name)
    if name != "README.md":
        for command in verbs_with_a_model(folder, photos, tmp_path / "out"):
            fails(folder, *command)
    else:
        assert main(["predict", str(photos / "ball" / "00.png"), "--model", str(folder)]) == 0


@pytest.mark.parametrize(
    "name", ["recipe.toml", "start.json", "split.csv", "checkpoint.safetensors"]
)
def test_in_a_run_folder(
    name: str, irregular: Make, fails: Fails, trained: Path, photos: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "summary.md").unlink()
    (run / name).unlink()
    irregular(run / name)
    fails(run, "train", photos, "--output", run, "--resume")
    within_seconds(["evaluate", photos, "--model", run])
    within_seconds(["audit", photos, "--model", run])


BESIDE = (
    "net.onnx.json", "net.txt", "labels.txt", "classes.txt", "metadata.json", "net.labels",
    "net.bin", "net.param", "net.xml", "net.ncnn.bin", "net.ncnn.param.json", "net.comparison.json",
    "net.onnx.comparison.json", "config.json", "checkpoint", "net.index", "net.data-00000-of-00001",
)  # fmt: skip
"""Names that a reader looks for beside a network's file."""


@pytest.mark.slow
@pytest.mark.parametrize("irregular", ["pipe", "zero"], indirect=True)
@pytest.mark.parametrize("name", BESIDE)
def test_beside_a_network(
    name: str, irregular: Make, foreign: Path, photos: Path, tmp_path: Path
) -> None:
    """It is no file of the network, and as if it were not there."""
    shutil.copytree(foreign, tmp_path / "net")
    path, photo = tmp_path / "net" / "net.onnx", photos / "ball" / "00.png"
    irregular(path.with_name(name))
    assert within_seconds(["predict", photo, "--model", path]) == 0
    within_seconds(["weights", "import", path, tmp_path / "out"])


@pytest.fixture(scope="session")
def foreign(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx of another program."""
    onnx = pytest.importorskip("onnx")

    folder = tmp_path_factory.mktemp("foreign")
    out = folder / "net.onnx"
    assert main(["export", str(model), str(out), "--format", "onnx"]) == 0
    network = onnx.load(out)
    del network.metadata_props[:]
    out.write_bytes(network.SerializeToString())
    for other in folder.iterdir():
        if other != out:
            other.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (("net.xml",), "net.bin"),
        (("net.ncnn.param",), "net.ncnn.bin"),
        (("net.ncnn.param", "net.ncnn.bin"), "net.ncnn.param.json"),
        (("model.json",), "group1-shard1of1.bin"),
        (("net.onnx",), "weights.data"),
    ],
)
def test_as_a_part_of_a_network(
    files: tuple[str, ...], missing: str, irregular: Make, fails: Fails, photos: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / "net"
    irregular(folder / missing)
    for name in files:
        (folder / name).write_bytes(PARTS.get(name, b"7767517\n"))
    first = folder / files[0]
    fails(first, "weights", "import", first, tmp_path / "out")
    fails(first, "predict", photos / "ball" / "00.png", "--model", first)


@pytest.mark.slow
@pytest.mark.parametrize("irregular", ["pipe"], indirect=True)
@pytest.mark.parametrize(
    ("first", "missing"),
    [
        ("saved_model.pb", "variables/variables.index"),
        ("net.index", "net.data-00000-of-00001"),
        ("net.index", "net.index"),
    ],
)
def test_as_a_part_of_tensorflows(
    first: str, missing: str, irregular: Make, fails: Fails, tmp_path: Path
) -> None:
    irregular(tmp_path / missing)
    if first != missing:
        (tmp_path / first).write_bytes(b"\x0a\x00")
    fails(tmp_path / first, "weights", "import", tmp_path / first, tmp_path / "out")


PARTS = {
    "net.xml": b'<net name="x" version="11"></net>',
    "model.json": json.dumps(
        {
            "format": "layers-model",
            "modelTopology": {"model_config": {"class_name": "Sequential", "config": []}},
            "weightsManifest": [
                {
                    "paths": ["group1-shard1of1.bin"],
                    "weights": [{"name": "a", "shape": [1], "dtype": "float32"}],
                }
            ],
        }
    ).encode(),
}
"""Smallest files that lead a reader to another one."""


def test_in_the_cache(
    irregular: Make, fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The record of a first download, and the part of a file that was cut off."""
    from mobilenetv2.hub.cache import VARIABLE
    from mobilenetv2.hub.fetching import FIRST_SEEN
    from mobilenetv2.spec.catalogue import catalogue

    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    name = next(one.name for one in catalogue().values() if not one.where.startswith("hf://"))
    irregular(tmp_path / "cache" / FIRST_SEEN / f"{name}.json")
    irregular(tmp_path / "cache" / name / f"{catalogue()[name].file}.partial.json")
    within_seconds(["weights", "fetch", name])
    within_seconds(["weights", "list", "--json"])
