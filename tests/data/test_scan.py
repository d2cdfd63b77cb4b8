"""The scan: every photo once, and the checks before training."""

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.data.dataset import Dataset, Photo, Split, find_splits
from mobilenetv2.data.scan import (
    check_classes,
    check_dataset,
    readable_photos,
    scan_photo,
    scan_photos,
)
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import DataError, ImageError
from mobilenetv2.images.decode import Decoded

Png = Callable[[int], bytes]


class Counting(MemorySource):
    """Files in memory that count how often each is read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("place", files)
        self.reads: list[str] = []

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        if name.endswith("gone.png"):
            raise ImageError(f"place/{name}: cannot be opened (No such file or directory)")
        return super().read(name)


def size(name: str, decoded: Decoded) -> tuple[str, str, int, int]:
    return name, decoded.stored.mode, *decoded.image.size


def test_every_photo_is_read_once_in_order_whatever_is_wrong_with_it(png: Png) -> None:
    files = {f"{s}/{c}/{i}.png": png(i) for s in ("train", "test") for c in "ab" for i in range(3)}
    files |= {"train/a/bad.png": b"bad", "test/b/gone.png": b""}
    source = Counting(files)
    splits = list(find_splits(source).splits.values())
    looks = list(scan_photos(splits, size))
    assert sorted(source.reads) == sorted(files)
    assert [one.photo for one in looks] == [p for split in splits for p in split.photos]
    assert [one.split for one in looks] == [s.name for s in splits for _ in s.photos]
    for one in looks:
        data = files[one.photo.name]
        if one.photo.name == "test/b/gone.png":
            assert (one.digest, one.seen) == (one.photo.name, None)
            assert (
                one.problem == "place/test/b/gone.png: cannot be opened (No such file or directory)"
            )
        elif data == b"bad":
            assert one.digest == hashlib.sha256(data).hexdigest() and one.seen is None
            assert one.problem.startswith("place/train/a/bad.png: not a picture")
        else:
            assert one.digest == hashlib.sha256(data).hexdigest()
            assert (one.problem, one.seen) == ("", (f"place/{one.photo.name}", "RGB", 5, 6))


def test_a_photo_that_cannot_be_used_is_one_with_a_problem(png: Png) -> None:
    def refuse(name: str, decoded: Decoded) -> None:
        raise ImageError(f"{name}: too long")

    split = Split("all", MemorySource("place", {"a/1.png": png(1)}), ("a",), ())
    one = scan_photo(split, Photo("a/1.png", 0), refuse)
    assert (one.problem, one.seen) == ("place/a/1.png: too long", None)


BROKEN = b"\xff\xd8\xff\xe0 not much of a JPEG"


def dataset_of(files: dict[str, bytes]) -> Dataset:
    return find_splits(MemorySource("place", files))


def names(split: Split) -> list[str]:
    return [photo.name for photo in split.photos]


@pytest.fixture
def good(png: Png) -> dict[str, bytes]:
    """200 different photos of two classes."""
    return {f"{'ab'[i % 2]}/{i:03}.png": png(i) for i in range(200)}


def test_a_sound_dataset_passes_unchanged_with_a_digest_for_every_photo(
    good: dict[str, bytes],
) -> None:
    dataset = dataset_of(good)
    checked = check_dataset(dataset)
    assert (checked.dataset, checked.notes) == (dataset, [])
    assert checked.digests.keys() == good.keys()
    assert len(set(checked.digests.values())) == 200


def test_one_class_is_not_enough(png: Png) -> None:
    with pytest.raises(DataError, match=r"^place: only one class \('a'\); .* at least two"):
        check_dataset(dataset_of({"a/1.png": png(1), "a/2.png": png(2)}))


@pytest.mark.parametrize(("name", "where"), [("all", ""), ("train", " in train")])
def test_an_empty_class_is_named(png: Png, name: str, where: str) -> None:
    classes = ("a", "empty", "z")
    source = MemorySource("place", {"a": png(1), "z": png(2)})
    split = Split(name, source, classes, (Photo("a", 0), Photo("z", 2)))
    message = rf"^place: no readable photos of class 'empty'{where}; a network learns"
    for check_it in (check_dataset, check_classes):
        with pytest.raises(DataError, match=message):
            check_it(Dataset("place", classes, {name: split}, ()))


def test_splits_whose_classes_differ_are_an_error_that_names_class_and_split(png: Png) -> None:
    files = ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png", "test/c/5.png")
    dataset = dataset_of({name: png(i) for i, name in enumerate(files)})
    with pytest.raises(DataError, match=r"of class 'c' in train \(test has some\)"):
        check_classes(dataset)


def test_classes_that_another_split_lacks_are_named_and_training_goes_on(png: Png) -> None:
    files = {f"train/{i:02}/1.png": png(i) for i in range(9)} | {"test/00/1.png": png(99)}
    (note,) = check_dataset(dataset_of(files)).notes
    assert note.startswith("test has no photos of 8 classes: '01', '02', '03', '04', '05' ...; ")
    files |= {"validation/00/2.png": png(98), "validation/08/3.png": png(97)}
    notes = check_dataset(dataset_of(files)).notes
    assert [note.partition(" class")[0] for note in notes] == [
        "validation has no photos of 7", "test has no photos of 8",
    ]  # fmt: skip


def test_without_a_split_to_learn_from_every_split_needs_every_class(png: Png) -> None:
    files = ("validation/a/1.png", "validation/b/2.png", "test/a/3.png", "test/c/5.png")
    dataset = dataset_of({name: png(i) for i, name in enumerate(files)})
    with pytest.raises(DataError, match=r"class 'c' in validation \(test .* nor of class 'b' in"):
        check_classes(dataset)


def test_a_few_unreadable_photos_are_left_out_and_named(good: dict[str, bytes]) -> None:
    good |= {"a/000.png": BROKEN, "b/001.png": b""}
    checked = check_dataset(dataset_of(good))
    assert names(checked.dataset.splits["all"]) == sorted(good.keys() - {"a/000.png", "b/001.png"})
    assert len(checked.notes) == 2
    for note, start in zip(checked.notes, ("place/a/000.png: ", "place/b/001.png: "), strict=True):
        assert note.startswith(f"left out, unreadable: {start}")


def test_unreadable_photos_beyond_the_limit_are_an_error_that_names_some(
    good: dict[str, bytes],
) -> None:
    good |= {f"a/{i:03}.png": BROKEN for i in range(0, 20, 2)}
    with pytest.raises(DataError, match=r"^place: 10 of 200 photos cannot be read, more") as error:
        check_dataset(dataset_of(good))
    message = str(error.value)
    assert message.count("place/a/") == 5 and message.endswith(" and 5 more")
    assert len(check_dataset(dataset_of(good), most_unreadable=0.05).notes) == 10
    with pytest.raises(DataError, match="more than 4%"):
        check_dataset(dataset_of(good), most_unreadable=0.04)


def test_a_class_whose_every_photo_is_unreadable_is_an_error(png: Png) -> None:
    files = {f"a/{i}.png": png(i) for i in range(3)} | {"b/1.png": BROKEN}
    with pytest.raises(DataError, match="no readable photos of class 'b'"):
        check_dataset(dataset_of(files), most_unreadable=0.5)


def test_a_picture_in_two_splits_is_left_out_of_training_and_reported(png: Png) -> None:
    files = {
        f"{split}/{'ab'[i % 2]}/{i}.png": png(i + 10 * number)
        for number, split in enumerate(("train", "validation", "test"))
        for i in range(6)
    }
    files["train/a/copy of test.png"] = files["test/a/0.png"]
    files["train/b/copy of validation.png"] = files["validation/b/1.png"]
    files["validation/b/copy of test.png"] = files["test/b/3.png"]
    checked = check_dataset(dataset_of(files))
    left_out = {name for name in files if "copy" in name}
    kept = [name for split in checked.dataset.splits.values() for name in names(split)]
    assert sorted(kept) == sorted(files.keys() - left_out)
    assert checked.notes == [
        "left out of validation: 1 picture also in a held-out split "
        "(first: validation/b/copy of test.png is test/b/3.png)",
        "left out of train: 2 pictures also in a held-out split "
        "(first: train/a/copy of test.png is test/a/0.png)",
    ]


def test_a_picture_in_two_classes_is_reported_and_one_twice_in_a_class_is_not(png: Png) -> None:
    files = {"a/1.png": png(1), "a/again.png": png(1), "a/2.png": png(2), "b/2.png": png(2)}
    checked = check_dataset(dataset_of(files))
    assert checked.notes == ["all: 1 picture in more than one class"]
    assert len(checked.dataset.splits["all"]) == 4
    assert checked.digests["a/1.png"] == checked.digests["a/again.png"]


def test_one_split_is_looked_through_by_itself(good: dict[str, bytes]) -> None:
    good["a/000.png"] = BROKEN
    split, notes = readable_photos(dataset_of(good).splits["all"])
    assert names(split) == sorted(good)[1:]
    assert len(notes) == 1 and notes[0].startswith("left out, unreadable: place/a/000.png: ")
    good |= {"a/002.png": BROKEN, "a/004.png": BROKEN}
    with pytest.raises(DataError, match="3 of 200 photos cannot be read"):
        readable_photos(dataset_of(good).splits["all"])


def test_a_split_of_which_nothing_is_left_is_an_error() -> None:
    split = dataset_of({"a/1.png": BROKEN}).splits["all"]
    for nothing in (split, split.with_photos(())):
        with pytest.raises(DataError, match=r"^place: no readable photos; add some$"):
            readable_photos(nothing, most_unreadable=1)
    with pytest.raises(DataError, match=r"^place: no readable photos in test;"):
        readable_photos(split.with_photos((), "test"))


def test_photos_that_had_to_be_interpreted_are_noted(png: Png) -> None:
    files = {f"{c}/{i}.png": png(i + 100 * ord(c)) for c in "ab" for i in range(9)}
    cut, deep = io.BytesIO(), io.BytesIO()
    Image.open(io.BytesIO(png(3))).resize((64, 48)).save(cut, "JPEG")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(deep, "PNG")
    files |= {"a/cut.jpg": cut.getvalue()[:-2], "b/deep.png": deep.getvalue()}
    checked = check_dataset(find_splits(MemorySource("place", files)))
    assert len(checked.dataset.splits["all"]) == 20
    first, second = checked.notes
    assert "1 photo ends early" in first and "(a/cut.jpg, only the end mark is missing)" in first
    assert "(b/deep.png, 12 of 16 bits)" in second
    _, notes = readable_photos(checked.dataset.splits["all"])
    assert notes == [first, second]
