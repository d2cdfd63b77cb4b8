"""Photos as a program gives them: one, a folder, a list, an iterator."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.data.photos import collect, is_several
from mobilenetv2.errors import DataError
from mobilenetv2.images.photo import Photo

PIXELS = np.zeros((8, 8, 3), np.uint8)


def test_a_name_is_a_photo_or_a_folder_of_some(photos: Path) -> None:
    ball = sorted((photos / "ball").iterdir())
    assert [*collect(photos / "ball")] == [*collect(str(photos / "ball"))] == ball
    assert [*collect(ball[3])] == [ball[3]]


@pytest.mark.parametrize("photo", [b"bytes", Image.fromarray(PIXELS), PIXELS])
def test_one_photo_in_memory_is_one(photo: Photo) -> None:
    (found,) = collect(photo)
    assert found is photo


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_of_several_each_may_be_anything(photos: Path, kind: Any) -> None:
    ball = sorted((photos / "ball").iterdir())
    found = list(collect(kind([PIXELS, photos / "ball", b"bytes", str(ball[0])])))
    assert found[0] is PIXELS
    assert found[1:] == [*ball, b"bytes", ball[0]]
    assert list(collect(kind([]))) == []


def test_a_lists_names_are_looked_up_at_once_an_iterators_in_their_turn(photos: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jpg and y\.jpg: no such photo or folder"):
        collect(["x.jpg", PIXELS, photos, "y.jpg"])

    def come() -> Iterator[Photo]:
        yield PIXELS
        taken.append("once")
        yield "x.jpg"

    taken: list[str] = []
    found = collect(come())
    assert next(iter(found)) is PIXELS and taken == []
    assert list(found) == [Path("x.jpg")]  # the error of its reader is the answer


@pytest.mark.parametrize("photos", [5, None, 1.5])
def test_what_is_neither_a_photo_nor_several(photos: Any) -> None:
    with pytest.raises(DataError, match="is neither a photo nor a list of photos; give a path"):
        collect(photos)


def test_names_of_several_photos(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file\na.jpg\n")
    for name in (photos, str(photos), "@list.txt", "@-", tmp_path / "t.csv"):
        assert is_several(name)
    for one in ("a.jpg", photos / "ball" / "00.png", b"bytes", PIXELS, "gone.csv", "@"):
        assert not is_several(one)
