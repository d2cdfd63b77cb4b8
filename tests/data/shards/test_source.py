"""Photos in shards: the same as in their folder, and an error where bytes are other ones."""

import gc
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.data.dataset import find_splits, open_dataset
from mobilenetv2.data.opening import open_source
from mobilenetv2.data.shards import source as module
from mobilenetv2.data.shards.source import LocalFiles, ShardSource, open_shards, shards_at
from mobilenetv2.errors import DataError, ImageError


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Shards of the photos, of some 40 photos each."""
    folder = tmp_path_factory.mktemp("sharded") / "shards"
    mn.shard(photos, folder, megabytes=1)
    return folder


def opened(folder: Path) -> ShardSource:
    source = open_source(folder)
    assert isinstance(source, ShardSource)
    return source


def test_every_photo_is_that_of_the_folder(photos: Path, shards: Path) -> None:
    folder, sharded = open_dataset(photos), open_dataset(shards)
    assert sharded.classes == folder.classes
    assert {n: s.photos for n, s in sharded.splits.items()} == {
        name: split.photos for name, split in folder.splits.items()
    }
    for split in folder.splits.values():
        for photo in split.photos:
            source = sharded.splits[split.name].source
            assert source.read(photo.name) == split.source.read(photo.name)
            assert source.size(photo.name) == split.source.size(photo.name)


def test_the_folder_and_the_index_are_both_names_of_the_data(shards: Path) -> None:
    assert shards_at(shards) == shards_at(shards / "index.json") == shards
    assert shards_at(shards / "train-000000.tar") is None
    assert shards_at(shards.parent) is None
    found = [open_dataset(place) for place in (shards, shards / "index.json")]
    assert found[0].place == found[1].place == str(shards)


def test_the_stored_order_is_that_of_the_bytes(shards: Path) -> None:
    source = opened(shards)
    names = [name for name in source.names() if not name.endswith("/")]
    order = source.stored(names)
    places = [source._part(names[at])[:2] for at in order]
    assert places == sorted(places) and sorted(order) == list(range(len(names)))
    assert source.stored([]).shape == (0,)


def test_patterns_pass_photos_over(shards: Path) -> None:
    dataset = open_dataset(shards, ignore="ball")
    assert dataset.classes == ("box", "triangle")
    assert any("as a pattern says" in note for note in dataset.notes)
    with pytest.raises(DataError, match="passes over all its photos"):
        open_dataset(shards, ignore="*")
    assert any("nothing has a name" in note for note in open_dataset(shards, ignore="x").notes)


def damaged(shards: Path, tmp_path: Path, change: Callable[[Path], object]) -> ShardSource:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    for file in copy.glob("*.tar"):
        change(file)
    return opened(copy)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(0, len(data), 400):
        data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Path.unlink, "No such file"),
        (lambda path: path.write_bytes(b""), "is truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "is truncated|other bytes"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "other bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    ],
)
def test_a_damaged_shard_is_an_error_of_each_photo(
    shards: Path, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    source = damaged(shards, tmp_path, change)
    names = source.names()
    with pytest.raises(ImageError, match=said) as caught:
        source.read([name for name in names if not name.endswith("/")][-1])
    assert str(caught.value).startswith(f"{source.place}/")


def test_no_changed_photo_is_read_in_silence(shards: Path, tmp_path: Path) -> None:
    whole, source = opened(shards), damaged(shards, tmp_path, flip)
    for name in [name for name in whole.names() if not name.endswith("/")]:
        with pytest.raises(ImageError, match="other bytes"):
            source.read(name)


def test_a_size_that_no_photo_has_is_refused_before_it_is_read(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(shards)
    monkeypatch.setattr(source.files, "part", lambda *_: pytest.fail("it was read"))
    source.index.shards[0].sizes[0] = 2**30
    with pytest.raises(ImageError, match="larger than"):
        source.read(source.index.shards[0].names[0])


def test_more_shards_than_are_kept_open_are_read(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 0)
    source, other = opened(shards), open_dataset(shards)
    for split in other.splits.values():
        for photo in split.photos:
            assert source.read(photo.name)


def test_without_positioned_reads_a_shard_is_read_too(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_dataset(shards).splits["all"]
    expected = [first.source.read(photo.name) for photo in first.photos]
    monkeypatch.delattr(os, "pread", raising=False)
    source = opened(shards)
    assert [source.read(photo.name) for photo in first.photos] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd is Linux's")
def test_open_shards_are_closed_with_their_source(shards: Path) -> None:
    def count() -> int:
        gc.collect()
        return len([*Path("/proc/self/fd").iterdir()])

    before = count()
    source = opened(shards)
    source.read(source.index.shards[0].names[0])
    assert count() == before + 1
    del source
    assert count() == before


def test_a_place_in_memory_is_read_by_the_same_code(shards: Path) -> None:
    source = open_shards(LocalFiles(shards))
    split = find_splits(source).splits["all"]
    assert np.array_equal(split.counts(), open_dataset(shards).splits["all"].counts())


def test_prediction_takes_shards_as_it_takes_their_folder(
    photos: Path, shards: Path, model: Path
) -> None:
    def answers(place: Path) -> dict[str, tuple[int, float]]:
        found = {}
        for answer in mn.predict(place, model):
            assert not answer.error and answer.photo is not None
            found[answer.photo.relative_to(place).as_posix()] = (answer.index, answer.probability)
        return found

    assert answers(shards) == answers(photos)


def test_evaluation_and_audit_give_the_figures_of_the_folder(
    photos: Path, shards: Path, model: Path
) -> None:
    one, other = (mn.evaluate(model, place) for place in (photos, shards))
    assert np.array_equal(one.confusion, other.confusion)
    assert (one.top1, one.metrics.loss) == (other.top1, other.metrics.loss)
    first, second = (mn.audit(place).to_dict() for place in (photos, shards))
    assert first.pop("data") != second.pop("data")
    assert {**first, "notes": 0} == {**second, "notes": 0}


def test_a_file_of_answers_goes_on_from_shards(shards: Path, model: Path, tmp_path: Path) -> None:
    answers = mn.predict(shards, model, output=tmp_path / "answers.csv")
    next(answers)
    answers.close()
    again = mn.predict(shards, model, output=tmp_path / "answers.csv", resume=True)
    count = sum(1 for _ in again)
    assert count < again.count == len(open_dataset(shards).splits["all"])
