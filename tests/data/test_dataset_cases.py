"""Folders as people have them: which photos are in which class of which split, and what is said."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


# ---------------------------------------------------------------- the shared script's own folders

TEN, SEVEN, THREE = (dict.fromkeys(("hat", "pants", "shoes"), n) for n in (10, 7, 3))
MADE: dict[str, tuple[dict[str, dict[str, int]], str]] = {
    "training_set": ({"train": SEVEN, "test": THREE}, "test_set"),
    "seg_twice": ({"train": SEVEN, "test": THREE}, "seg_test"),
    "twice": ({"train": SEVEN, "validation": THREE}, ""),
    "dev": ({"train": SEVEN, "validation": THREE}, "dev"),
    "deep": ({"train": SEVEN, "test": THREE}, ""),
    "by_class": ({"all": SEVEN}, ""),
    "by_class_split": ({"train": SEVEN, "test": THREE}, "class folders"),
    "flat_test": ({"train": SEVEN}, "left out: 9 photos in test/"),
    "numbers": ({"all": {"0": 10, "1": 10, "3": 10}}, ""),
    "synology": ({"all": TEN}, "@eaDir"),
    "odd_names": ({"all": SEVEN | {"hat": 8}}, ""),
    **{name: ({"all": TEN}, "") for name in ("ppm", "pgm", "jp2", "grey8in16", "grey12in16")},
    "backslash.zip": ({"all": TEN}, ""),
    "utf8_unflagged.zip": ({"all": {"帽子": 10, "裤子": 10, "鞋": 10}}, ""),
    "labels.csv": ({"all": TEN}, ""),
}
"""Photos by split and class, and a part of the notes, for what the shared script makes."""


@pytest.mark.slow
def test_the_folders_of_the_shared_script_are_read_right(
    shared_case: Callable[[str], Path], public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source, script = public_folder("clothing") / "train", shared_case("folders.py")
    subprocess.run([sys.executable, str(script), str(source), str(tmp_path)], check=True)
    shoes = len([*(source / "shoes").iterdir()])
    linked = ({"all": SEVEN | {"shoes": shoes}}, "out of the folder")
    expected = MADE | {"linked": linked}
    assert {path.name for path in tmp_path.iterdir()} == expected.keys()
    for name, (counts, told) in expected.items():
        found = open_dataset(tmp_path / name)
        splits = {
            split: dict(zip(one.classes, one.counts(), strict=True))
            for split, one in found.splits.items()
        }
        assert splits == counts, name
        assert told in " ".join(found.notes), name
    for depth in (8, 12):  # as a person would see them
        grey = open_dataset(tmp_path / f"grey{depth}in16").splits["all"]
        for photo in grey.photos:
            seen = np.asarray(grey.image(photo).convert("L"), np.int16)
            (file,) = source.glob(f"{photo.name.removesuffix('.png')}.*")
            with Image.open(file) as original:
                levels = np.asarray(original.convert("L").resize((160, 160)), np.int16)
            if levels.max() >= 128:
                assert np.abs(seen - levels).max() <= (0 if depth == 8 else 1), photo.name
