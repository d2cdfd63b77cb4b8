"""JPEG files that end early: read with a note, or refused if much is missing."""

import io
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode_noted

COARSE = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
PICTURE = Image.fromarray(COARSE).resize((160, 120), Image.Resampling.BICUBIC)
KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:2:2": {"subsampling": 1},
    "4:4:4": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
}


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    PICTURE.convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def read(data: bytes) -> tuple[NDArray, list[str]]:
    """(the pixels, the texts of the notes)."""
    decoded = decode_noted(data, "it")
    return np.asarray(decoded.image).astype(int), [note.text for note in decoded.notes]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_without_its_end_mark_it_is_the_same_picture(mode: str, progressive: bool) -> None:
    data = jpeg(mode, progressive=progressive)
    whole, none = read(data)
    for end in (data[:-1], data[:-2]):
        found, notes = read(end)
        assert np.array_equal(found, whole) and none == []
        assert notes == ["only the end mark is missing"], len(end)
    found, notes = read(data[:-2] + bytes(512))
    assert np.array_equal(found, whole)
    assert notes == ["the end mark, and at most a part of the last block, are missing"]


def test_zeros_may_stand_for_a_part_of_the_last_block() -> None:
    whole, _ = read(jpeg())
    found, (note,) = read(jpeg()[:-8] + bytes(512))
    assert not np.array_equal(found, whole) and "a part of the last block" in note
    assert np.array_equal(found[:96], whole[:96])


def test_just_too_much_is_said_to_be_more_than_the_limit() -> None:
    data, refused = jpeg(), []
    for cut in range(40, len(data) // 10, 4):
        try:
            read(data[:-cut])
        except ImageError as error:
            refused.append(str(error))
    share = float(re.findall(r"\(([0-9.]+)% of the picture is missing", refused[0])[0])
    assert 5 < share < 7


@pytest.mark.parametrize("extra", [b"\0" * 600, b"\n", b"SEFT" + bytes(20)], ids=repr)
def test_bytes_after_the_end_are_no_news(extra: bytes) -> None:
    whole, _ = read(jpeg())
    found, notes = read(jpeg() + extra)
    assert np.array_equal(found, whole) and notes == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [0, 4096])
def test_a_few_missing_blocks_are_noted_and_more_than_a_twentieth_refused(
    kind: str, padding: int
) -> None:
    data = jpeg(**KINDS[kind])
    whole, _ = read(data)
    missing = []
    for percent in (1, 3, 5, 8, 25):
        cut = data[: len(data) * (100 - percent) // 100] + bytes(padding)
        try:
            found, notes = read(cut)
        except ImageError as error:
            assert "damaged or truncated picture" in str(error) and "missing" in str(error)
            missing.append(1.0)
            continue
        (note,) = notes
        share = float(note.partition("%")[0]) / 100
        assert 0 < share <= 0.05
        # The rows above are the very pixels; of those below, about the said share is filled.
        rows = int(120 * (1 - share)) - 17
        assert np.array_equal(found[:rows], whole[:rows])
        differ = (np.abs(found - whole).max(2) > 8).mean()
        assert differ <= share + 0.012
        missing.append(share)
    assert missing == sorted(missing) and missing[0] < 1 and missing[-1] == 1


def test_of_a_small_picture_one_block_may_be_missing() -> None:
    small = io.BytesIO()
    Image.fromarray(COARSE).resize((64, 48)).save(small, "JPEG")  # twelve blocks
    found, notes = read(small.getvalue()[:-20])
    assert notes == ["8.3% of it is missing"] and found.shape == (48, 64, 3)
    tiny = io.BytesIO()
    Image.fromarray(COARSE[:8, :8]).save(tiny, "JPEG", subsampling=0)  # a single one
    with pytest.raises(ImageError, match=r"100\.0% of the picture is missing"):
        read(tiny.getvalue()[:-12])


def test_a_progressive_file_needs_all_its_passes() -> None:
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    whole, _ = read(data)
    found, notes = read(data[: last + (len(data) - last) // 2])
    assert notes == ["the last pass over its details is not complete"]
    assert np.abs(found - whole).mean() < 3
    tables = data.rindex(b"\xff\xc4", 0, last)  # the last pass has its own tables before it
    with pytest.raises(ImageError, match=r"damaged or truncated picture \(whole passes are"):
        read(data[:tables])
    for end in (tables + 9, tables // 2):
        with pytest.raises(ImageError, match="damaged or truncated picture"):
            read(data[:end])


def test_a_cut_photo_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole, _ = read(jpeg(exif=exif))
    found, notes = read(jpeg(exif=exif)[:-2])
    assert np.array_equal(found, whole) and found.shape == (160, 120, 3) and len(notes) == 1


def test_a_file_that_ends_in_its_header_is_refused() -> None:
    data = jpeg()
    for end in (30, 200, data.index(b"\xff\xda") + 4, data.index(b"\xff\xda") + 40):
        with pytest.raises(ImageError, match=r"^it: "):
            read(data[:end])
