"""Photos that vanish, or become something else, between two readings: a named error, no loss."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.data.sources import FolderSource
from mobilenetv2.training.checkpoint import Checkpoint
from mobilenetv2.training.loop import Loop

MODELS = ("best/model.safetensors", "last/model.safetensors", "best/config.json")


def damage(photo: Path, how: str) -> None:
    """Remove a photo, or put something else in its place."""
    photo.unlink()
    if how == "garbage":
        photo.write_bytes(b"no photo")


@pytest.fixture(scope="module")
def options(quick: tuple[str, ...]) -> list[str]:
    """The second epoch has larger pictures, for which every photo is read again."""
    return [*quick, "--epochs", "2", "--set", "phases=[0.5,1.0]"]


@pytest.fixture(scope="module")
def undisturbed(
    photos: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", str(photos), "--output", str(run), *options]) == 0
    return [(run / name).read_bytes() for name in MODELS]


def after_the_first_epoch(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    real = Loop.finish_epoch

    def finish(loop: Loop) -> None:
        real(loop)
        if loop.epoch == 1:
            do()

    monkeypatch.setattr(Loop, "finish_epoch", finish)


def split_of(run: Path, split: str) -> str:
    """The name of the first photo of a split."""
    rows = (run / "split.csv").read_text().splitlines()
    return next(row.rpartition(",")[2] for row in rows if row.startswith(f"{split},"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "how"),
    [("train", "gone"), ("train", "garbage"), ("validation", "gone")],
)
def test_a_photo_that_vanishes_in_training_is_named_and_once_it_is_back_the_run_goes_on(
    split: str, how: str, photos: Path, options: list[str], undisturbed: list[bytes],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data, run = Path(shutil.copytree(photos, tmp_path / "shapes")), tmp_path / "run"
    names: list[str] = []

    def spoil() -> None:
        names.append(split_of(run, split))
        damage(data / names[0], how)

    with monkeypatch.context() as patch:
        after_the_first_epoch(patch, spoil)
        assert main(["train", str(data), "--output", str(run), *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"mobilenetv2: error: {data}/{names[0]}: ")
    assert f"continue with --output {run} and --resume" in last
    assert Checkpoint.load(run / "checkpoint.safetensors").epoch >= 1
    resume = ["train", str(data), "--output", str(run), "--resume"]
    assert main(resume) == 2  # it is not there yet
    last = capsys.readouterr().err.splitlines()[-1]
    assert names[0] in last
    assert "restore" in last or "mend" in last
    shutil.copyfile(photos / names[0], data / names[0])
    assert main(resume) == 0
    assert [(run / name).read_bytes() for name in MODELS] == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_an_archive_that_vanishes_in_training_is_named_or_still_open(
    how: str, photos: Path, options: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    archive = Path(shutil.make_archive(str(tmp_path / "shapes"), "zip", photos))
    whole, run = archive.read_bytes(), tmp_path / "run"

    def spoil() -> None:
        if how == "gone":
            archive.unlink()
        else:
            archive.write_bytes(whole[: len(whole) // 2])

    with monkeypatch.context() as patch:
        after_the_first_epoch(patch, spoil)
        status = main(["train", str(archive), "--output", str(run), *options])
    if how == "gone" and status == 0:
        return  # the file is removed from its folder, but open
    assert status == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"mobilenetv2: error: {archive}")
    assert "--resume" in last
    archive.write_bytes(whole)
    assert main(["train", str(archive), "--output", str(run), "--resume"]) == 0


@pytest.mark.parametrize("how", ["gone", "garbage"])
@pytest.mark.parametrize("verb", ["quantize", "benchmark"])  # 'evaluate' reads a photo once
def test_a_photo_that_vanishes_between_its_check_and_its_use_is_named(
    verb: str, how: str, photos: Path, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = Path(shutil.copytree(photos, tmp_path / "shapes"))
    real, spoiled = FolderSource.read, list[str]()
    read: set[str] = set()

    def once(source: FolderSource, name: str) -> bytes:
        if name in read and not spoiled:
            spoiled.append(name)
            damage(source.path(name), how)
        read.add(name)
        return real(source, name)

    monkeypatch.setattr(FolderSource, "read", once)
    words = {
        "quantize": [verb, str(model), str(tmp_path / "int8.onnx"), "--data", str(data)],
        "benchmark": [verb, str(model), "--data", str(data), "--runtime", "onnxruntime"],
    }[verb]
    assert main(words) == 2
    assert len(spoiled) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("mobilenetv2: error: ")
    assert spoiled[0] in last
    assert not (tmp_path / "int8.onnx").exists()
