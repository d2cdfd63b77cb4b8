"""Folders as people have them: which photos are in which class of which split, and what is said."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.errors import DataError, WeightsError
from mobilenetv2.text import unescaped
from mobilenetv2.training.run import train

Pack = Callable[[str, Mapping[str, bytes]], Path]
CLASSES = ("hat", "pants", "shoes")


def of(place: str, count: int, start: int = 0) -> dict[str, bytes]:
    """Photos of every class: place/CLASS/N.jpg."""
    return {f"{place}/{c}/{start + n}.jpg": b"" for c in CLASSES for n in range(count)}


def counts(dataset: Dataset) -> dict[str, int]:
    assert dataset.classes == CLASSES
    return {name: len(split) for name, split in dataset.splits.items()}


CASES = {
    "training_set": (
        of("training_set", 7) | of("test_set", 3), {"train": 21, "test": 9}, "'test_set' as test",
    ),
    "seg_twice": (
        of("seg_train/seg_train", 7) | of("seg_test/seg_test", 3) | {"seg_pred/x/1.jpg": b""},
        {"train": 21, "test": 9}, "1 photo in seg_pred/",
    ),
    "twice": (
        of("training/training", 7) | of("validation/validation", 3), {"train": 21, "validation": 9},
        "",
    ),
    "dev": (of("train", 7) | of("dev", 3), {"train": 21, "validation": 9}, "'dev' as validation"),
    "deep": (of("Dataset/train", 7) | of("Dataset/test", 3), {"train": 21, "test": 9}, ""),
    "deeper": (of("a/b/train", 7) | of("a/b/val", 3), {"train": 21, "validation": 9}, ""),
    "by_class": (
        {f"{c}/{s}/{n}.jpg": b"" for c in CLASSES for s, most in (("train", 7), ("test", 3))
         for n in range(most)},
        {"train": 21, "test": 9}, "the class folders hold the splits",
    ),
    "flat_test": (
        of("train", 7) | {f"test/{n}.jpg": b"" for n in range(9)}, {"train": 21},
        "left out: 9 photos in test/",
    ),
    "synology": (
        of(".", 10) | {f"hat/{junk}/1.jpg/T.jpg": b"" for junk in ("@eaDir", "#recycle",
         "lost+found", "$RECYCLE.BIN", ".ipynb_checkpoints", "System Volume Information")},
        {"all": 30}, "passed over, hidden or made by a system: 6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("case", CASES)
def test_a_case_is_right_as_a_folder_and_as_an_archive(pack: Pack, case: str, kind: str) -> None:
    files, expected, said = CASES[case]
    names = {name.removeprefix("./"): data for name, data in files.items()}
    dataset = open_dataset(pack(kind, names))
    assert counts(dataset) == expected
    assert said in "\n".join(dataset.notes)
    assert bool(dataset.notes) == bool(said)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_class_behind_a_link_is_a_class(pack: Pack) -> None:
    place, pool = pack("folder", of(".", 5)), pack("folder", of(".", 5))
    shutil.rmtree(place / "shoes")
    (place / "shoes").symlink_to(pool / "shoes", target_is_directory=True)
    dataset = open_dataset(place)
    assert counts(dataset) == {"all": 15}
    assert dataset.notes == ("1 link that leads out of the folder followed (first: shoes)",)


def test_the_data_is_looked_at_before_weights_are_fetched(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*given: object) -> Path:
        raise WeightsError("the weights were fetched")

    monkeypatch.setattr("mobilenetv2.training.choices.locate", fetched)
    for bad, said in (({"a/1.jpg": b""}, "only one class"), ({"x": b""}, "no photos")):
        with pytest.raises(DataError, match=said):
            train(pack("folder", bad), tmp_path / "run")
    with pytest.raises(WeightsError, match="were fetched"):
        train(pack("folder", of(".", 3)), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_photos_with_odd_names_train_and_every_file_has_the_names_in_one_escape(
    tmp_path: Path, photos: Path, quick: tuple[str, ...]
) -> None:
    place = tmp_path / os.fsdecode(b"odd\xff") / "photos"
    shutil.copytree(photos, place)
    for path in sorted(place.rglob("*.*")):
        path.rename(path.with_name(os.fsdecode(b"\xe9") + path.name))
    (place / "ball" / "raw").mkdir()
    shutil.copy(photos / "ball" / "01.jpg", place / "ball" / "raw" / "1.jpg")
    run = tmp_path / "run"
    words = ["--ignore", "raw", "--output", str(run), "--epochs", "1", *quick]
    assert main(["train", str(place), *words]) == 0
    table = (run / "split.csv").read_text("utf-8")
    assert table.count(r"\xe9") == 36 and "raw" not in table
    first = table.splitlines()[1].rpartition(",")[2]
    assert (place / unescaped(first)).is_file()
    report = tmp_path / "report"
    assert (
        main(["evaluate", str(place), "--model", str(run / "best"), "--report", str(report)]) == 0
    )
    assert main(["audit", str(place), "--output", str(tmp_path / "audit")]) == 0
    written = [p for place in (run, report, tmp_path / "audit") for p in place.rglob("*")]
    texts = [p for p in written if p.suffix in (".csv", ".json", ".html", ".md", ".toml")]
    assert len(texts) > 10
    for path in texts:
        text = path.read_text("utf-8")
        assert r"\udc" not in text and "\ufffd" not in text, path
    assert r"odd\\xff" in (run / "start.json").read_text("utf-8")
    assert '"ignore": [\n    "raw"\n  ]' in (run / "start.json").read_text("utf-8")


def test_notes_of_what_was_found_are_said_in_training(pack: Pack, photos: Path) -> None:
    files = {f"train/{p.parent.name}/{p.name}": p.read_bytes() for p in photos.rglob("*.*")}
    checked = check_dataset(open_dataset(pack("zip", files | {"test/1.jpg": b"", "a.txt": b""})))
    assert "left out: 1 photo in test/, which has no class folders" in checked.notes
    assert "skipped: 1 file of other kinds than photos (first: a.txt)" in checked.notes
