from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.errors import DataError

Pack = Callable[[str, Mapping[str, bytes]], Path]
Fill = Callable[[Path, int], Path]

LAYOUTS = {
    "class folders": (("a/1.jpg", "b/2.jpg"), {"all": "12"}),
    "wrapped": (("w/a/1.jpg", "w/b/2.jpg"), {"all": "12"}),
    "train alone": (("train/a/1.jpg", "train/b/2.jpg"), {"train": "12"}),
    "train alone, wrapped": (("cifar/train/a/1.jpg", "cifar/train/b/2.jpg"), {"train": "12"}),
    "train and val": (
        ("val/a/3.jpg", "val/b/4.jpg", "train/a/1.jpg", "train/b/2.jpg"),
        {"train": "12", "validation": "34"},
    ),
    "all three": (
        ("train/a/1.jpg", "train/b/2.jpg", "validation/b/3.jpg", "test/a/4.jpg"),
        {"train": "12", "validation": "3", "test": "4"},
    ),
    "all three, wrapped": (
        ("w/testing/a/4.jpg", "w/training/a/1.jpg", "w/training/b/2.jpg", "w/valid/b/3.jpg"),
        {"train": "12", "validation": "3", "test": "4"},
    ),
    "folders inside a class": (("a/x/1.jpg", "a/y/z/2.jpg", "b/3.jpg"), {"all": "123"}),
    "folders inside a class of a split": (("train/a/x/1.jpg", "train/b/2.jpg"), {"train": "12"}),
    "something beside the splits": (
        ("train/a/1.jpg", "train/b/2.jpg", "docs/figures/notes.txt"), {"train": "12"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_every_layout_is_understood(pack: Pack, layout: str, kind: str) -> None:
    names, expected = LAYOUTS[layout]
    dataset = open_dataset(pack(kind, dict.fromkeys(names, b"")))
    assert dataset.classes == ("a", "b")
    assert list(dataset.splits) == list(expected)  # train, validation, test: in this order
    for name, numbers in expected.items():
        photos = dataset.splits[name].photos
        assert [photo.name.rpartition("/")[2][0] for photo in photos] == list(numbers)
        for photo in photos:
            assert dataset.classes[photo.label] in photo.name.split("/")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("above", ["", "train/", "w/", "w/train/"])
def test_an_empty_class_folder_is_a_class_without_photos(pack: Pack, kind: str, above: str) -> None:
    files = {f"{above}{name}": b"" for name in ("a/1.jpg", "empty/", "z/2.jpg")}
    (split,) = open_dataset(pack(kind, files)).splits.values()
    assert (split.classes, split.counts()) == (("a", "empty", "z"), [1, 0, 1])


def contents(dataset: Dataset) -> dict[str, list[tuple[str, str]]]:
    """Split -> (class, last part of the name) of every photo."""
    return {
        name: [(dataset.classes[p.label], p.name.rpartition("/")[2]) for p in split.photos]
        for name, split in dataset.splits.items()
    }


# Letters that no split is named by, capitals and signs that sort on either side of '/'.
words = st.text("aZé-._0 ", min_size=1, max_size=3).filter(
    lambda word: word.strip(" .") == word and not word.startswith(".")
)
trees = st.dictionaries(
    words,
    st.lists(st.tuples(st.lists(words, max_size=2), words), min_size=1, max_size=4),
    min_size=2, max_size=4,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(trees)
def test_a_tree_of_class_folders_is_the_same_as_a_folder_an_archive_or_wrapped(
    pack: Pack, tree: dict[str, list[tuple[list[str], str]]]
) -> None:
    names = {
        "/".join((kind, *(f"{folder} of {kind}" for folder in inside), f"{word}.jpg"))
        for kind, photos in tree.items()
        for inside, word in photos
    }
    files = dict.fromkeys(sorted(names, reverse=True), b"")
    plain = contents(open_dataset(pack("folder", files)))
    assert sorted(plain["all"]) == sorted((n.split("/")[0], n.split("/")[-1]) for n in names)
    for kind in ("folder", "zip", "tar"):
        assert contents(open_dataset(pack(kind, files))) == plain
        wrapped = {f"my photos/{name}": data for name, data in files.items()}
        assert contents(open_dataset(pack(kind, wrapped))) == plain


def test_split_folders_are_known_in_any_case(tmp_path: Path, photo_folder: Fill) -> None:
    photo_folder(tmp_path / "Train", 2)
    photo_folder(tmp_path / "VAL", 1)
    dataset = open_dataset(tmp_path)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 6, "validation": 3,
    }  # fmt: skip


def test_a_flat_folder_with_the_name_of_a_split_is_no_class(
    tmp_path: Path, photo_folder: Fill
) -> None:
    photo_folder(tmp_path, 2)
    (tmp_path / "box").rename(tmp_path / "train")
    with pytest.raises(DataError, match=r"'train' holds photos .* ignore='train', or rename it"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, "train").classes == ("ball", "triangle")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_folders_of_other_files_are_no_classes(pack: Pack, kind: str) -> None:
    files = ("w/a/1.jpg", "w/b/2.jpg", "docs/readme.txt", "w/__pycache__/x.pyc", "w/notes/1.xml")
    dataset = open_dataset(pack(kind, dict.fromkeys(files, b"")))
    assert dataset.classes == ("a", "b")
    assert "no classes, since they hold other files alone: 'docs', 'w/notes'" in dataset.notes
    assert any("w/__pycache__/" in note for note in dataset.notes)


def test_a_class_behind_a_link_is_a_class_and_a_broken_link_is_named(
    tmp_path: Path, photo_folder: Fill
) -> None:
    photo_folder(tmp_path / "elsewhere", 2)
    photo_folder(tmp_path / "here", 2)
    (tmp_path / "here" / "more").symlink_to(tmp_path / "elsewhere" / "ball")
    (tmp_path / "here" / "twice").symlink_to(tmp_path / "here" / "box")
    (tmp_path / "here" / "box" / "link.png").symlink_to(tmp_path / "nowhere.png")
    dataset = open_dataset(tmp_path / "here")
    assert dataset.classes == ("ball", "box", "more", "triangle")
    assert (dataset.links, dataset.splits["all"].counts()) == (2, [2, 2, 2, 2])
    notes = check_dataset(dataset).notes
    assert "passed over, links that lead nowhere: 1 (first: box/link.png)" in notes
    assert "1 link that leads out of the folder followed (first: more)" in notes
    only = tmp_path / "only"
    only.mkdir()
    (only / "ball").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no photos found; .*links that lead nowhere: 1 \("):
        open_dataset(only)
