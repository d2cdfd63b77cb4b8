"""The layout of photos by their names: splits, classes, what is left out, what is ambiguous."""

import random
import re
import time
from collections import Counter

import pytest

from mobilenetv2.data.layout import Layout, find_layout, split_of
from mobilenetv2.errors import DataError


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAINING training_set trainset TrainSet seg_train train2017 "
                  "01_train train-images data_train trainval train_val train.split train_data"),
        ("validation", "val valid validation dev val2017 devset validation_set seg-val ValidSet"),
        ("test", "test testing Test_Set testset seg_test eval evaluation holdout hold-out hold_out "
                 "heldout test1 TestImages test_photos"),
    ],
)  # fmt: skip
def test_many_names_are_names_of_splits(split: str, names: str) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    "name",
    "hat trains test_tube crash_test bullet_train attest evaluate_me invalid images data 0 帽子 "
    "test_train validation_test pretest latest greatest contest trainer validity ... set".split(),
)
def test_other_names_are_none(name: str) -> None:
    assert split_of(name) is None


def found(text: str, folders: str = "") -> Layout:
    """The layout of photos, named as 'train/a/1 train/b/2' without their suffix."""
    return find_layout("place", [f"{name}.jpg" for name in text.split()], folders.split())


def shown(layout: Layout) -> dict[str, dict[str, str]]:
    """Split -> class -> last part of the photos' names."""
    return {
        split: {
            name: "".join(sorted(re.sub(r".*/(.*)\.jpg", r"\1", photo) for photo in photos))
            for name, photos in classes.items()
        }
        for split, classes in layout.splits.items()
    }


TWO = {"train": {"a": "1", "b": "2"}, "test": {"a": "3", "b": "4"}}


@pytest.mark.parametrize(
    "text",
    [
        "train/a/1 train/b/2 test/a/3 test/b/4",
        "training_set/a/1 training_set/b/2 test_set/a/3 test_set/b/4",
        "seg_train/seg_train/a/1 seg_train/seg_train/b/2 seg_test/a/3 seg_test/b/4",
        "D/train/a/1 D/train/b/2 D/test/a/3 D/test/b/4",
        "D/E/train/a/1 D/E/train/b/2 D/E/test/a/3 D/E/test/b/4",
        "train/images/a/1 train/images/b/2 test/images/a/3 test/images/b/4",
        "train/train/a/1 train/train/b/2 train/test/a/3 train/test/b/4",
        "x_train/a/1 x_train/b/2 x_test/a/3 x_test/b/4",
        "a/train/1 b/train/2 a/test/3 b/test/4",
        "D/a/train/1 D/b/train/2 D/a/test/3 D/b/test/4",
        "a/images/train/1 b/images/train/2 a/images/test/3 b/images/test/4",
        "train/a/x/1 train/b/2 test/a/3 test/b/4",
        "train/a/1 train2/b/2 test/a/3 testing/b/4",
    ],
)
def test_splits_are_found_wherever_they_are(text: str) -> None:
    layout = found(text)
    assert shown(layout) == TWO and not layout.left_out


def test_splits_beside_folders_without_photos() -> None:
    assert shown(found("D/train/a/1 D/train/b/2 D/test/a/3 D/test/b/4", "docs/ docs/x/")) == TWO


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("a/1 b/2", {"a": "1", "b": "2"}),
        ("D/a/1 D/b/2", {"a": "1", "b": "2"}),
        ("D/E/a/1 D/E/b/2", {"a": "1", "b": "2"}),
        ("a/images/1 b/images/2", {"a": "1", "b": "2"}),
        ("a/x/1 a/y/z/2 b/3", {"a": "12", "b": "3"}),
        ("a/x/1 a/y/2 b/x/3 b/z/4", {"a": "12", "b": "34"}),
        ("vehicles/train/1 vehicles/car/2 animals/3", {"vehicles": "12", "animals": "3"}),
        ("a/1 a/x/2 a/y/3 b/4 b/x/5 b/y/6", {"a": "123", "b": "456"}),
    ],
)
def test_else_folders_are_classes(text: str, classes: dict[str, str]) -> None:
    layout = found(text)
    assert shown(layout) == {"all": classes} and not layout.left_out


def test_folders_in_classes_are_said_to_be_no_classes() -> None:
    (note,) = found("a/x/1 a/y/2 b/z/3 b/w/4 b/v/5").notes
    assert note.startswith("the classes are 'a' and 'b'; the 5 folders inside them")
    assert found("a/x/1 a/y/2 b/z/3 b/w/4 b/5").notes == []


def test_a_class_may_have_the_name_of_a_split_if_every_split_has_it_and_a_note_says_so() -> None:
    layout = found("train/bus/1 train/train/2 test/bus/3 test/train/4")
    assert shown(layout) == {
        "train": {"bus": "1", "train": "2"}, "test": {"bus": "3", "train": "4"},
    }  # fmt: skip
    (note,) = layout.notes
    assert note.startswith("'train' is taken for a class")


@pytest.mark.parametrize("text", ["a/1 b/2 unlabeled/3", "train/a/1 train/b/2 train/unlabeled/3"])
def test_a_class_whose_name_says_that_it_is_none_has_a_note(text: str) -> None:
    layout = found(text)
    assert "unlabeled" in layout.classes()
    (note,) = layout.notes
    assert note.startswith("'unlabeled' is taken for a class") and "ignore='unlabeled'" in note


@pytest.mark.parametrize("text", ["a/1 a/val/2 b/3", "train/a/1 train/a/val/2 train/b/3"])
def test_the_only_folder_in_a_class_with_the_name_of_a_split_has_a_note(text: str) -> None:
    (note,) = found(text).notes
    assert re.match(r"'(train/)?a/val' is taken for a part of a class", note) and "ignore=" in note
    assert found(text.replace("a/val", "a/red")).notes == []


def test_a_folder_of_other_files_alone_is_no_class_but_an_empty_one_is() -> None:
    photos, folders = ["D/a/1.jpg", "D/b/2.jpg"], "docs/ docs/x/ D/ D/a/ D/b/ D/c/ D/b/xml/".split()
    layout = find_layout("place", photos, folders, ["docs/x/readme.txt", "D/b/xml/2.xml"])
    assert shown(layout) == {"all": {"a": "1", "b": "2", "c": ""}}
    assert layout.notes == ["no classes, since they hold other files alone: 'docs'"]
    layout = find_layout("place", photos, [*folders, "D/xml/"], ["D/xml/1.xml", "readme.txt"])
    assert layout.classes() == ("D", "docs")  # docs is empty here
    layout = find_layout("place", photos, [*folders[2:], "D/xml/"], ["D/xml/1.xml", "readme.txt"])
    assert layout.classes() == ("a", "b", "c") and "'D/xml'" in layout.notes[0]
    layout = find_layout("place", ["train/a/1.jpg", "train/b/2.jpg"], ["train/val/"])
    assert layout.classes() == ("a", "b") and layout.notes == [
        "left out: train/val/, which has no photos"
    ]


def test_many_classes_with_splits_are_searched_in_linear_time() -> None:
    names = [f"{c:05}/{s}/x/{n}.jpg" for c in range(8000) for s in ("train", "val") for n in (1, 2)]
    start = time.process_time()
    layout = find_layout("place", names)
    assert len(layout.classes()) == 8000 and time.process_time() - start < 5


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("test/3 test/4", "test"),
        ("test/images/3 test/images/4", "test"),
        ("test/test/3 test/test/4", "test"),
        ("seg_pred/seg_pred/3 seg_pred/seg_pred/4", "seg_pred"),
        ("unlabeled/3 unlabeled/x/4", "unlabeled"),
    ],
)
def test_folders_without_classes_beside_a_training_split_are_left_out_aloud(
    text: str, left: str
) -> None:
    layout = found(f"train/a/1 train/b/2 {text}")
    assert shown(layout) == {"train": TWO["train"]}
    assert list(layout.left_out) == [left] and len(layout.left_out[left]) == 2
    assert any(f"2 photos in {left}/" in note for note in layout.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x/a/1 x/b/2 y/a/3 y/b/4", "'x' and 'y' hold folders of the same names ('a', 'b')"),
        ("x/images/a/1 x/images/b/2 y/images/a/3 y/images/b/4", "of the same names"),
        ("x/train/a/1 x/train/b/2 y/train/a/3 y/train/b/4", "of the same names"),
        ("train/x/a/1 train/x/b/2 train/y/a/3 train/y/b/4", "'train/x' and 'train/y' hold"),
        ("train/1 test/2", "2 photos lie outside the class folders ('test/2.jpg', 'train/1.jpg')"),
        ("test1/1 test2/2", "'test1' and 'test2', by the names, are splits and not classes"),
        ("train/1 test/a/2 test/b/3", "1 photo lies outside the class folders ('train/1.jpg')"),
        ("a/1 b/2 train/3 test/4", "'test' and 'train' hold photos but no class folders, and 'a'"),
        ("a/1 b/2 seg_test/3", "'seg_test' holds photos but no class folders"),
        *(
            (f"a/1 b/2 {split}/3", f"'{split}' holds photos but no class folders")
            for split in ("test", "val", "valid", "train", "dev", "Test")
        ),
        ("train/a/1 train/b/2 train/val/a/3 train/val/b/4", "train/ holds 'val', as splits"),
        ("train/a/1 train/b/2 train/val/3", "train/ holds 'val', as splits"),
        ("train/a/1 train/b/2 train/val/3", "ignore='train/val'"),
        ("train/a/1 train/b/2 train/val/3 test/a/4", "train/ holds 'val', as splits"),
        ("train/val/a/1 train/val/b/2 test/a/3 test/b/4", "train/ holds 'val', as splits"),
        ("D/train/images/a/1 D/train/images/val/a/3 D/test/a/4", "images/ holds 'val', as splits"),
        ("train/a/1 train/b/2 test/a/3 test/test/x/4", "test/ holds 'test', as splits"),
        ("a/1 a/val/2 b/3 b/val/4 c/5", "'a/val' and 'b/val' look like splits inside of classes"),
        ("train/a/1 train/a/x/val/2 train/b/3 train/b/test/4", "look like splits inside of"),
        ("a/train/1 a/train/val/2 b/train/3 b/train/val/4", "'a/train/val' and 'b/train/val' look"),
        ("a/1 test/2", "'test' holds photos but no class folders, and 'a' beside it"),
        ("a/train/1 a/test/2 b/3", "a/ holds what looks like splits ('test' and 'train'), but 'b'"),
        ("D/train/a/1 D/train/b/2 D/test/a/3 E/4", "D/ holds what looks like splits"),
        ("a/x/train/1 a/x/test/2 a/y/3 b/z/4", "a/x/ holds what looks like splits"),
        ("train/a/x/train/1 train/a/x/test/2 train/b/3", "train/a/x/ holds what looks like splits"),
        ("train/a/1 train/b/2 extra/a/3", "1 photo lies outside the class folders ('extra/a/3.jpg"),
        ("train/a/1 train/b/2 test/a/3 4", "1 photo lies outside the class folders ('4.jpg')"),
        ("a_train/1 a_test/2 b_train/3 b_test/4", "'a_test' and 'a_train' look like splits of one"),
        ("train/train/1 train/val/2 test/x/3", "train/ holds 'train' and 'val', as splits"),
    ],
)
def test_an_ambiguous_layout_is_an_error_that_says_what_was_seen(text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        found(" ".join(sorted(text.split())))
    assert str(caught.value).startswith("place: ") and says in str(caught.value)


def test_a_letter_with_an_accent_is_the_same_in_both_spellings() -> None:
    layout = found("train/caf\u00e9/1 train/b/2 test/cafe\u0301/3 test/b/4")
    assert [sorted(classes) for classes in layout.splits.values()] == [["b", "café"]] * 2


def test_what_is_taken_for_which_split_is_said_unless_it_is_plain() -> None:
    assert found("train/a/1 val/b/2").notes == []
    (note,) = found("training_set/a/1 training_set/b/2 dev/a/3 dev/b/4").notes
    assert note == "folders are taken for splits: 'training_set' as train and 'dev' as validation"
    (note,) = found("a/train/1 b/train/2").notes
    assert note == "the class folders hold the split train, which is used"


WORDS = ("a", "b", "hat", "images", "train", "test", "val", "training_set", "seg_test", "dev", "D",
         "pred", "x_train", "x_test", "1", "images2", "unlabeled")  # fmt: skip


def random_names(seed: int) -> tuple[list[str], list[str]]:
    """Names of photos in a random tree, and of folders, some of them empty.

    Folders of a level come from few names, so that all kinds of layouts occur.
    """
    chosen = random.Random(seed)
    levels = [chosen.sample(WORDS, chosen.randint(1, 4)) for _ in range(chosen.randint(1, 4))]
    photos = set()
    for number in range(chosen.randint(1, 30)):
        depth = len(levels) if chosen.random() < 0.9 else chosen.randint(0, len(levels))
        photos.add("/".join([*(chosen.choice(level) for level in levels[:depth]), f"{number}.jpg"]))
    folders = {"/".join(chosen.choice(level) for level in levels) for _ in range(3)}
    return sorted(photos), sorted(folders) if chosen.random() < 0.3 else []


def check_layout(photos: list[str], layout: Layout) -> None:
    """Every photo is in one class of one split, or left out with a note; no split is a class."""
    used = [p for classes in layout.splits.values() for found in classes.values() for p in found]
    left = [photo for found in layout.left_out.values() for photo in found]
    assert Counter(used + left) == Counter(photos)
    for folder in layout.left_out:
        assert any(f" in {folder}/" in note for note in layout.notes)
    for split, classes in layout.splits.items():
        odd = {name for name in classes if split_of(name)}
        if split == "all":
            assert not odd
        for name in odd:  # flat, and in every split
            assert len(layout.splits) > 1
            assert all(inside.get(name) for inside in layout.splits.values())
            assert all(photo.split("/")[-2] == name for photo in classes[name])
            assert any(note.startswith(f"{name!r} is taken for a class") for note in layout.notes)
        for name, inside in classes.items():
            assert all(name in photo.split("/")[:-1] for photo in inside)
            for photo in inside if split != "all" else []:
                kinds = {split_of(part) or part for part in photo.split("/")[:-1]}
                assert split in kinds or any(split in kind for kind in kinds)
        if len(classes) > 1:
            assert not all(map(split_of, classes))


@pytest.mark.parametrize(
    "first, count", [(0, 300), pytest.param(300, 20_000, marks=pytest.mark.slow)]
)
def test_every_photo_of_a_random_tree_is_accounted_for(first: int, count: int) -> None:
    outcomes = Counter[str]()
    for seed in range(first, first + count):
        photos, folders = random_names(seed)
        try:
            layout = find_layout("place", photos, folders)
        except DataError as error:
            assert str(error).startswith("place: ")
            outcomes["error"] += 1
            continue
        check_layout(photos, layout)
        outcomes[",".join(sorted(layout.splits))] += 1
        again = find_layout("place", photos[::-1], folders[::-1])
        assert {s: {c: sorted(p) for c, p in f.items()} for s, f in again.splits.items()} == {
            s: {c: sorted(p) for c, p in f.items()} for s, f in layout.splits.items()
        }
    assert outcomes["error"] and outcomes["all"] and outcomes["train"] and outcomes["test,train"]
