"""Record of the photos that are done."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.photo import PackedPhoto
from mobilenetv2.runtime.output.journal import ENTRY, Identity, Journal, identity

SETTINGS = {"model": ["abc"], "top": None}


def photos(*names: int) -> list[Identity]:
    return [Identity(name, 10 * name) for name in names]


def written(path: Path, ends: dict[int, int]) -> None:
    journal = Journal(path, SETTINGS, resume=False)
    journal.add([(Identity(name, 10 * name), end, False) for name, end in ends.items()])
    journal.close()


def test_what_is_done_is_known_once_for_each_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, SETTINGS, resume=False)
    assert not journal.is_done(Identity(1, 10))
    journal.add(
        [(one, end, end == 20) for one, end in zip(photos(1, 2, 1), (10, 20, 30), strict=True)]
    )
    journal.close()
    again = Journal(path, SETTINGS, resume=True)
    assert again.cut(30) == 30 and len(again) == 3 and again.failed == 1
    assert [again.is_done(one) for one in photos(1, 1, 1, 2, 3)] == [True, True, False, True, False]
    again.close()


def test_entries_without_their_rows_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, {1: 10, 2: 25, 3: 40})
    with path.open("ab") as file:
        file.write(b"half of an entry")
    again = Journal(path, SETTINGS, resume=True)
    assert again.cut(39) == 25 and len(again) == 2
    again.add([(Identity(4, 40), 31, False)])
    again.close()
    third = Journal(path, SETTINGS, resume=True)
    assert third.cut(10**6) == 31
    assert [third.is_done(one) for one in photos(1, 2, 3, 4)] == [True, True, False, True]
    third.close()


def test_a_photo_that_changed_is_not_done_and_its_rows_are_obsolete(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, {1: 10, 2: 25, 3: 40})
    again = Journal(path, SETTINGS, resume=True)
    again.cut(40)
    assert not again.is_done(Identity(2, 999))
    assert again.obsolete(5) == [(10, 25)]
    assert not again.is_done(Identity(1, 998))
    assert again.obsolete(5) == [(5, 10), (10, 25)]
    again.close()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, {1: 10})
    with pytest.raises(MobileNetV2Error, match=r"other settings \(top\); give the same, or"):
        Journal(path, {**SETTINGS, "top": 3}, resume=True)


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(MobileNetV2Error, match="journal"):
        Journal(path, SETTINGS, resume=True)


def test_an_identity_is_a_name_with_the_state_of_a_file(tmp_path: Path) -> None:
    path, archive = tmp_path / "a.jpg", tmp_path / "a.zip"
    gone = identity(path)
    path.write_bytes(b"1")
    first = identity(path)
    assert gone.name == first.name and gone.state != first.state
    os.utime(path, ns=(0, 5))
    assert identity(path).state not in (first.state, gone.state)
    archive.write_bytes(b"1")
    os.utime(archive, ns=(0, 5))
    packed = identity(PackedPhoto(archive / "a.jpg", lambda: b"1", archive))
    assert packed.state == identity(path).state and packed.name != first.name


def test_photos_in_memory_are_known_by_their_place_and_contents() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    first, second = identity(b"1"), identity(b"1", 1)
    assert first.name != second.name and first.state == second.state
    assert identity(b"2").state != first.state
    assert identity(picture) == identity(picture.copy()) != identity(picture + 1)
    grey = Image.fromarray(picture[:, :, 0])
    assert identity(grey) != identity(grey.convert("P")) and identity(grey) == identity(grey.copy())
    assert identity(picture[:2].reshape(2, 4, 3)).state != identity(picture[:, :2]).state


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30), st.integers(0, 40),
    st.integers(0, 60),
)  # fmt: skip
def test_any_cut_keeps_whole_entries_from_the_start(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[int, int]], bytes_lost: int,
    size: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal(path, SETTINGS, resume=False)
    ends = [2 * (at + 1) for at in range(len(done))]
    journal.add(
        [(Identity(name, state), end, False) for (name, state), end in zip(done, ends, strict=True)]
    )
    journal.close()
    data = path.read_bytes()
    header = len(data) - ENTRY.itemsize * len(done)
    path.write_bytes(data[: max(header, len(data) - bytes_lost)])
    again = Journal(path, SETTINGS, resume=True)
    end = again.cut(size)
    kept = min(max(0, (len(data) - header - bytes_lost) // ENTRY.itemsize), size // 2)
    assert len(again) == min(kept, len(done)) and end == 2 * len(again)
    again.close()
