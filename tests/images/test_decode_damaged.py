"""Other files, and damaged ones."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import Limits, decode, read_photo


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refusal(data: bytes) -> str:
    """The message without the name that it must begin with."""
    with pytest.raises(ImageError) as caught:
        decode(data, "a name")
    name, _, message = str(caught.value).partition(": ")
    assert name == "a name"
    return message


NOISE = np.random.default_rng(7).integers(0, 256, (20, 30, 3), np.uint8)
PICTURE = Image.fromarray(NOISE)
GREY = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
EXIF = Image.Exif()
EXIF[0x0112] = 6
FILES = {kind: encode(PICTURE, kind) for kind in ("BMP", "GIF")} | {
    kind: encode(PICTURE, kind, exif=EXIF) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
}
FILES["progressive"] = encode(PICTURE, "JPEG", progressive=True)
FILES["compressed TIFF"] = encode(PICTURE, "TIFF", compression="tiff_lzw")
FILES["palette"] = encode(PICTURE.quantize(16), "PNG", transparency=3)
FILES |= {kind: encode(PICTURE, kind) for kind in ("PPM", "JPEG2000")}
FILES["16-bit"] = encode(GREY, "TIFF")
FILES["two frames"] = encode(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"Dear diary, today", "not a picture"),
        (b"%PDF-1.7\n%...", "this is a PDF, not a picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL is not read; convert it to JPEG"),
        (b"8BPS\0\1" + bytes(40), "a Photoshop file is not read; convert it to JPEG"),
    ],
)
def test_what_is_no_picture_is_named_with_what_to_do(
    tmp_path: Path, data: bytes, words: str
) -> None:
    assert words in refusal(data)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match="^" + str(path)):
        read_photo(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_anywhere_is_a_picture_or_refused_by_name(kind: str) -> None:
    data = FILES[kind]
    assert decode(data, "whole").mode == "RGB"
    for end in range(1, len(data) - 1, max(1, len(data) // 150)):
        if end < 0.6 * len(data):
            assert refusal(data[:end]) != ""
        else:  # a missing trailer need not hurt
            picture_or_refusal(data[:end])


edits = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 4))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.lists(edits, min_size=1, max_size=6), st.booleans())
def test_a_damaged_file_is_a_picture_or_refused_by_name(
    kind: str, changes: list[tuple[float, bytes, int]], in_header: bool
) -> None:
    data = FILES[kind]
    for where, new, gone in changes:
        start = int(where * min(len(data), 64 if in_header else len(data)))
        data = data[:start] + new + data[start + gone :]
    picture_or_refusal(data)


def picture_or_refusal(data: bytes) -> None:
    # Any other exception ends the test, and so does a warning: pyproject makes them errors.
    try:
        image = decode(data, "a name", Limits(pixels=100_000))
    except ImageError as error:
        assert str(error).startswith("a name: ")
    else:
        assert np.asarray(image).shape == (image.height, image.width, 3)
