"""What a run says of photos: only where the model lies in one, and of its own photos only."""

import shutil
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.evaluation.run_record import TrainedOn, trained_on
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.hub.models import locate

PARTS = {"a/1.jpg": "train", "a/2.jpg": "train", "a/3.jpg": "selection", "a/4.jpg": "validation"}


def split(name: str, *numbers: int) -> Split:
    photos = tuple(Photo(f"a/{number}.jpg", 0) for number in numbers)
    return Split(name, MemorySource("m", {}), ("a",), photos)


@pytest.fixture
def known(tmp_path: Path) -> TrainedOn:
    return TrainedOn(Path("split.csv"), PARTS, str(tmp_path / "photos"))


def test_photos_trained_on_and_chosen_by_are_counted_apart(
    known: TrainedOn, tmp_path: Path
) -> None:
    def said(given: Split) -> str | None:
        return known.caution(given, str(tmp_path / "photos"))

    end = "so the figures are too optimistic; for new photos only, use split='test'"
    assert said(split("all", 1, 2, 3, 4, 5)) == (
        f"the model was trained on 2 and selected with 1 of these 5 photos, {end}"
    )
    assert said(split("all", 1, 4)) == f"the model was trained on 1 of these 2 photos, {end}"
    assert said(split("validation", 3)) == (
        "the model was selected with 1 of these 1 photos, so the figures are too optimistic"
    )
    assert said(split("all", 4, 5)) is None and said(split("test", 4)) is None


def test_photos_elsewhere_have_the_same_names(known: TrainedOn, tmp_path: Path) -> None:
    assert known.caution(split("all", 1, 3, 4), str(tmp_path / "other")) == (
        "the model was trained on 1 and selected with 1 photos with the same names as these 3; "
        "if they are the same photos, the figures are too optimistic; for new photos only, "
        "use split='test'"
    )


@pytest.mark.parametrize("name", ["train", "selection"])
def test_a_split_to_train_on_is_doubted_where_no_run_is_known(name: str) -> None:
    said = TrainedOn().caution(split(name, 1), "photos")
    assert said == (
        f"these are photos of the split {name}; if the model was trained on them, the figures are "
        "too optimistic"
    )


def test_the_place_may_be_written_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TrainedOn(None, {}, "photos").here(str(tmp_path / "x" / ".." / "photos"))
    assert TrainedOn(None, {}, "digits").here("digits")
    assert not TrainedOn(None, {}, "photos").here("other")
    assert not TrainedOn(None, {}, None).here("photos")
    assert not TrainedOn(None, {}, "ph\0tos").here("photos")


def test_a_model_in_its_run_knows_its_photos(trained: Path, photos: Path, tmp_path: Path) -> None:
    found = trained_on(trained / "best")
    assert found.table == trained / "split.csv" and len(found.parts) == 36
    assert found.here(str(photos)) and not found.here(str(tmp_path))
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "start.json").write_text("[")
    assert trained_on(run / "best").data is None
    (run / "recipe.toml").unlink()
    assert trained_on(run / "best") == TrainedOn()


def test_a_table_in_the_current_folder_is_nobodys(
    photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A model that is named and not pointed at lies elsewhere."""
    for name in ("split.csv", "recipe.toml"):
        shutil.copy(trained / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert trained_on(locate(EMBEDDED)) == TrainedOn()
    shutil.copytree(trained / "best", tmp_path / "alone" / "best")
    words = ["evaluate", str(photos), "--model", "alone/best", "--split", "validation"]
    assert main(words) == 2
    assert "has no splits, and no run around the model names photos of" in capsys.readouterr().err
