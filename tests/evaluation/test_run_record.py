"""Which epoch of a run is the best, and how many there were."""

import math
from pathlib import Path

import pytest

from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.evaluation.run_record import Row, RunRecord, best_epoch, epochs_of, read_run
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.recipe import Recipe

METRICS = (
    "epoch,learning_rate,train_loss,train_top1,selection_loss,selection_top1,seconds,"
    "images_per_second\n1,0.1,2.0,0.5,1.5,0.6,30,10\n2,0.05,1.0,0.7,1.2,0.8,31.5,10\n"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "shoes"
    (folder / "best").mkdir(parents=True)
    (folder / "recipe.toml").write_text(
        'epochs = 2\nema = 0.5\nname = "ä"\nsteps = [1, 2]\n[augmentation]\nflip = true\n'
    )
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "start.json").write_text('{"data": "photos", "weights": null, "edition": "torch"}')
    (folder / "split.csv").write_text(
        "split,class,photo\ntrain,a,1.jpg\ntrain,a,2.jpg\ntrain,b,3.jpg\nselection,b,4.jpg\n"
    )
    return folder


def test_all_of_a_run_is_read(run: Path) -> None:
    found = read_run(run / "best")
    assert found is not None
    assert found.name == "shoes"
    assert [row["selection_top1"] for row in found.rows] == [0.6, 0.8]
    assert found.seconds == 61.5
    assert found.recipe == {
        "epochs": "2", "ema": "0.5", "name": "ä", "steps": "1, 2", "augmentation.flip": "yes"
    }  # fmt: skip
    assert found.started == {"data": "photos", "edition": "torch"}
    assert found.parts == {"train": {"a": 2, "b": 1}, "selection": {"b": 1}}


def test_a_run_as_training_writes_it_is_read(trained: Path) -> None:
    found = read_run(trained / "best")
    assert found is not None and len(found.rows) == 1
    assert found.recipe["batch_size"] == "4"
    assert {name: sum(part.values()) for name, part in found.parts.items()} == {
        "train": 27, "selection": 3, "validation": 6
    }  # fmt: skip


def test_a_model_that_lies_in_no_run_has_none(tmp_path: Path, model: Path) -> None:
    assert read_run(tmp_path / "best") is None and read_run(model) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.csv", b"epoch,loss\n1,2\n"),
        ("metrics.csv", METRICS.replace("0.6", "much").encode()),
        ("metrics.csv", METRICS.replace("0.6", "nan").encode()),
        ("metrics.csv", METRICS.replace(",30,10", "").replace("0.6", "").encode()),
        ("metrics.csv", b"\xff\xfe\x00"),
        ("recipe.toml", b"epochs = = 2"),
        ("start.json", b"[1, 2]"),
        ("start.json", b"[" * 100_000),
        ("start.json", b'{"data": '),
        ("split.csv", b"photo,class\nx,y\n"),
        ("split.csv", b"split,class,photo\n" + b"x" * 200_000 + b"\n"),
    ],
)
def test_what_cannot_be_read_is_said_and_left_out(
    run: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = read_run(run / "best")
    (run / name).write_bytes(content)
    found = read_run(run / "best")
    assert whole is not None and found is not None
    assert f"note: {run / name} cannot be read and is not in the report" in capsys.readouterr().err
    fields = {"metrics.csv": "rows", "recipe.toml": "recipe", "start.json": "started"}
    broken = fields.get(name, "parts")
    assert not getattr(found, broken)
    for field in RunRecord.__slots__:
        if field != broken:
            assert getattr(found, field) == getattr(whole, field)


def test_a_run_of_which_only_the_recipe_is_left_is_one(run: Path) -> None:
    for name in ("metrics.csv", "start.json", "split.csv"):
        (run / name).unlink()
    found = read_run(run / "best")
    assert found is not None and found.rows == () and found.parts == {} and found.seconds == 0


def test_names_with_ends_of_lines_in_them_are_counted_as_training_wrote_them(run: Path) -> None:
    names = ("a\nb", "a\r\nb", "a\u2028b", "a\x0cb", 'a"b')
    photos = tuple(Photo(f"{name}/{name}.jpg", label) for label, name in enumerate(names))
    split = Split("train", MemorySource("m", {}), names, photos)
    RunFolder(run).begin(Recipe(), [split], "photos", None, "torch", None)
    found = read_run(run / "best")
    assert found is not None
    assert found.parts == {"train": dict.fromkeys(names, 1)}


FIGURES = [(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (1.0, 0.71)]
ROWS: list[Row] = [
    {"epoch": epoch, "selection_top1": top1, "selection_loss": loss}
    for epoch, (top1, loss) in enumerate(FIGURES, 1)
]


def test_the_best_epoch_is_by_loss_then_by_accuracy() -> None:
    assert best_epoch(ROWS) == 3
    assert best_epoch([ROWS[0], {**ROWS[0], "epoch": 9, "selection_top1": 0.6}]) == 9


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    assert best_epoch([{**ROWS[0], "selection_loss": math.nan}, ROWS[1]]) == 2


def test_a_fitted_classifier_is_epoch_0_and_none_that_was_gone_through() -> None:
    rows: list[Row] = [{"epoch": 0, "selection_top1": 1.0, "selection_loss": 0.1}, *ROWS]
    assert best_epoch(rows) == 0
    assert (epochs_of(rows), epochs_of(rows[:1]), epochs_of([])) == (5, 0, 0)
