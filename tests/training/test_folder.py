"""The run folder: what it takes to make, refuse, replace and go on with one."""

import csv
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mobilenetv2 import files
from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import InUse, RunError
from mobilenetv2.evaluation.run_record import read_split
from mobilenetv2.files import PREVIOUS, TEMPORARY
from mobilenetv2.locks import INSIDE
from mobilenetv2.training import folder
from mobilenetv2.training.checkpoint import COLUMNS, Row
from mobilenetv2.training.folder import (
    RunFolder,
    Start,
    find_run,
    new_run,
    open_run,
)
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import read_recipe

CLASSES = ("cat, tabby", 'a "dog"')
PNG = b"\x89PNG\r\n\x1a\n"


def split(name: str, *photos: tuple[str, int]) -> Split:
    source = MemorySource("memory", {})
    return Split(name, source, CLASSES, tuple(Photo(*photo) for photo in photos))


PARTS = (
    split("train", ("cat, tabby/größe, 1.png", 0), ('a "dog"/new\nline.png', 1)),
    split("selection", ("cat, tabby/2.png", 0)),
    split("validation", ('a "dog"/3.png', 1)),
)


def begin(path: Path, weights: Path | None = None) -> RunFolder:
    run = find_run(path)
    run.begin(Recipe().changed(epochs=3), PARTS, "photos", weights, "torch", None)
    return run


def test_a_begun_run_holds_its_recipe_its_start_and_where_every_photo_went(tmp_path: Path) -> None:
    run = begin(tmp_path / "deep" / "run")
    assert sorted(p.name for p in run.path.iterdir()) == ["recipe.toml", "split.csv", "start.json"]
    assert read_recipe(str(run.recipe)) == Recipe().changed(epochs=3)
    with run.split.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    photos = [[p.name, part.classes[photo.label], photo.name] for part, p in
              ((s, s) for s in PARTS) for photo in part.photos]  # fmt: skip
    assert rows == [["split", "class", "photo"], *photos]
    names = {photo.name: part.name for part in PARTS for photo in part.photos}
    assert read_split(run.split) == names


def test_the_start_says_which_weights_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert begin(tmp_path / "a", Path("imagenet")).read_start() == Start(
        tmp_path / "imagenet", "torch", False
    )
    assert begin(tmp_path / "b").read_start() == Start(None, "torch", False)


def test_the_start_says_how_the_data_was_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(Recipe(), PARTS, "photos", None, "torch", None, False, ["raw*", "x"], "gbk")
    assert run.read_start()[3:] == (("raw*", "x"), "gbk", False, "")


def test_the_start_says_that_one_thread_computes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(Recipe(), PARTS, "photos", None, "torch", None, deterministic=True)
    assert run.read_start().deterministic and not begin(tmp_path / "b").read_start().deterministic


def test_the_start_says_where_the_photos_are_from_anywhere_and_what_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()  # what is built in goes first
    for data, expected in (("holiday", str(tmp_path / "holiday")), ("digits", "digits")):
        run = find_run(tmp_path / f"run-{data}")
        run.begin(Recipe(), PARTS, data, None, "torch", "bfloat16 on cpu")
        started = json.loads(run.start.read_text("utf-8"))
        assert (started["data"], started["computes"]) == (expected, "bfloat16 on cpu")


def test_finding_writes_nothing_and_opening_leaves_nothing(tmp_path: Path) -> None:
    find_run(tmp_path / "new", overwrite=True)
    assert list(tmp_path.iterdir()) == []
    with open_run(tmp_path / "deep" / "new") as run:
        assert [path.name for path in run.path.iterdir()] == [INSIDE]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_and_one_with_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    for name in ((), (INSIDE,)):
        for each in name:
            (tmp_path / each).touch()
        with open_run(tmp_path) as run:
            run.begin(Recipe(), PARTS, "photos", None, "torch", None)
            assert (tmp_path / INSIDE).is_file()
            run.clear()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_run_that_another_process_has_is_refused_and_stays(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    path = begin(tmp_path / "run").path if options else tmp_path / "run"
    code = "import sys; from pathlib import Path; from mobilenetv2.locks import hold\n"
    code += "with hold(Path(sys.argv[1]), inside=True): print('held', flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        if options:  # else the folder is not empty
            (path / f"{TEMPORARY}other").touch()
        with pytest.raises(InUse, match=r"run: in use, .*choose another"):
            open_run(path, **options).__enter__()
        assert (path / f"{TEMPORARY}other").is_file() == bool(options)
        other.kill()
    (path / f"{TEMPORARY}other").unlink(missing_ok=True)
    with open_run(path, **options):  # a kill leaves nothing in the way
        pass
    assert not (path / INSIDE).exists()


def test_an_existing_run_is_an_error_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (run.path / "old").write_text("")
    with pytest.raises(
        RunError, match="run: exists already; choose another output, or give resume=True"
    ):
        find_run(run.path)
    find_run(run.path, overwrite=True)
    assert (run.path / "old").exists()
    run.begin(Recipe().changed(epochs=9), PARTS, "photos", None, "torch", None)
    assert not (run.path / "old").exists()
    assert read_recipe(str(run.recipe)).epochs == 9


def test_what_is_not_a_run_is_never_overwritten(tmp_path: Path) -> None:
    folder, file = tmp_path / "photos", tmp_path / "file"
    folder.mkdir()
    for path in (folder / "mine.txt", file):
        path.write_text("mine")
    for path in (folder, file):
        with pytest.raises(RunError, match=r"not a run folder \(it has no recipe.toml\), so not"):
            find_run(path, overwrite=True)
        with pytest.raises(RunError, match="exists already; choose another output"):
            find_run(path)
    assert (folder / "mine.txt").read_text() == file.read_text() == "mine"


def test_a_folder_that_nobody_named_is_claimed_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shoes.zip").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    runs = Path("runs")
    with new_run("shoes.zip") as first, new_run("shoes.zip") as second:
        assert (first.path, second.path) == (runs / "shoes", runs / "shoes-2")
        first.recipe.write_text("")
        with new_run("digits") as built_in, pytest.raises(RunError, match="among the photos of"):
            assert built_in.path == runs / "digits"
            new_run("link").__enter__()
    assert capsys.readouterr().err.splitlines()[1] == f"the run folder is {second.path}"
    assert [path.name for path in runs.iterdir()] == ["shoes"]
    with pytest.raises(KeyError), new_run("photos/"):
        raise KeyError
    assert [path.name for path in runs.iterdir()] == ["shoes"]


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run to resume, it has no recipe.toml"):
        find_run(tmp_path, resume=True)


def test_resuming_mends_what_a_kill_left(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    for name in (f"{TEMPORARY}last-1", f"{PREVIOUS}best", f"{PREVIOUS}last", "last"):
        (run.path / name).mkdir()
        (run.path / name / "from").write_text(name)
    (run.path / f"{TEMPORARY}metrics.csv-2").write_text("half")
    with open_run(run.path, resume=True) as opened:
        assert opened.path == run.path
    assert (run.best / "from").read_text() == f"{PREVIOUS}best"
    assert (run.last / "from").read_text() == "last"
    names = {path.name for path in run.path.iterdir()}
    assert names == {"recipe.toml", "split.csv", "start.json", "best", "last"}


def test_a_beginning_that_was_killed_can_be_overwritten(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    run.split.unlink()
    run.start.unlink()  # only the recipe had been written
    with pytest.raises(
        RunError, match=r"does not record the start .* start the run again with overwrite"
    ):
        run.read_start()
    assert find_run(run.path, overwrite=True).path == run.path


def test_emptying_a_run_that_is_killed_leaves_one_that_may_be_overwritten_but_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path / "run")
    left, real = [], Path.unlink

    def seen(path: Path, missing_ok: bool = False) -> None:
        real(path, missing_ok)
        left.append({entry.name for entry in run.path.iterdir()})

    monkeypatch.setattr(Path, "unlink", seen)
    run.clear()
    assert left == [{"recipe.toml", "split.csv"}, {"recipe.toml"}, set()]


def test_a_beginning_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.write_atomically

    def full(path: Path, content: str) -> None:
        if path.name == "split.csv":
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(folder, "write_atomically", full)
    with pytest.raises(OSError, match="No space"), open_run(tmp_path / "run") as run:
        run.begin(Recipe(), PARTS, "photos", None, "torch", None)
    assert list(tmp_path.iterdir()) == []


UNKNOWN = '{"weights": null, "edition": "mxnet"}'


@pytest.mark.parametrize("text", ["{", "[]", '{"data": "x"}', UNKNOWN])
def test_a_damaged_start_is_named(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path)
    run.start.write_text(text)
    with pytest.raises(RunError, match=r"start.json: does not record"):
        run.read_start()


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe"])
def test_a_table_that_is_no_split_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"split.csv: not a table of split, class and photo"):
        read_split(tmp_path / "split.csv")


def test_metrics_are_a_table_with_a_row_for_each_epoch_and_curves(tmp_path: Path) -> None:
    rows = [dict.fromkeys(COLUMNS, 1 / 3) | {"epoch": epoch} for epoch in (1, 2)]
    RunFolder(tmp_path).write_metrics(rows)
    header, first, second = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert first == "1" + ",0.333333" * (len(COLUMNS) - 1)
    assert second.startswith("2,")
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


def test_start_json_is_readable_by_others(tmp_path: Path) -> None:
    assert json.loads(begin(tmp_path / "r").start.read_text()) == {
        "data": str(Path("photos").absolute()),
        "weights": None,
        "edition": "torch",
        "computes": None,
    }


def row(epoch: float, loss: float) -> Row:
    return {"epoch": epoch, "learning_rate": 0.5, "train_loss": loss, "selection_loss": loss + 1}


@pytest.mark.slow
@pytest.mark.skipif(
    not find_spec("tensorboard"), reason="tensorboard is not installed (extra: tensorboard)"
)
def test_its_reader_finds_every_epoch_and_what_was_done_again_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epoch, loss in ((1, 4.0), (2, 3.0), (2, 2.5), (3, 2.0)):  # the second was done again
        RunFolder(tmp_path).log_tensorboard(row(epoch, loss))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 4
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == ["loss/selection", "loss/train", "run/learning_rate"]
    shown = [(event.step, event.value) for event in found.Scalars("loss/train")]
    assert shown == [(1, 4.0), (2, 2.5), (3, 2.0)]
    assert [event.value for event in found.Scalars("loss/selection")] == [5.0, 3.5, 3.0]
