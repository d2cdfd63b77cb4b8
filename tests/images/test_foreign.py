"""Files that are not photos that can be read are called what they are."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode, read_photo

BOX = b"\0\0\0\x18"
FILES = {
    "film.mp4": (BOX + b"ftypisom" + bytes(40), "a video"),
    "film.mov": (BOX + b"ftypqt  " + bytes(40), "a video"),
    "photo.avif": (BOX + b"ftypavif" + bytes(40), "damaged"),
    "film.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(40), "a video"),
    "film.mkv": (b"\x1aE\xdf\xa3" + bytes(40), "a video"),
    "IMG_1.CR3": (BOX + b"ftypcrx " + bytes(40), "RAW"),
    "DSC.RAF": (b"FUJIFILMCCD-RAW 0201" + bytes(40), "RAW"),
    "P1.ORF": (b"IIRO\x08\0" + bytes(40), "RAW"),
    "unknown.arw": (bytes(range(60)), "RAW"),
    "logo.psd": (b"8BPS\0\1" + bytes(40), "Photoshop"),
    "logo.svg": (b'<?xml version="1.0"?>\n<svg width="1">', "SVG"),
    "page.pdf": (b"%PDF-1.7\n%...", "PDF"),
    "page.jpg": (b"\n<!DOCTYPE html><html>", "a saved web page"),
    "photo.jxl": (b"\xff\x0a" + bytes(40), "JPEG XL"),
    "photo.png": (b"version https://git-lfs and so on", "git lfs pull"),
    "photos.zip": (b"PK\3\4" + bytes(40), "unpack it first"),
    "scan.dcm": (bytes(128) + b"DICM" + bytes(40), "DICOM"),
    "array.npy": (b"\x93NUMPY\1\0" + bytes(40), "NumPy array"),
    "letter.jpg": (b"Dear diary, today", "not a picture, or a format that is not read (JPEG,"),
}


@pytest.mark.parametrize("name", FILES)
def test_each_is_named_as_what_it_is(name: str, tmp_path: Path) -> None:
    data, words = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_photo(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and words in str(caught.value)


def tiff(**tags: object) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[int(tag[1:])] = value
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def test_the_small_preview_in_a_raw_file_is_not_taken_for_the_photo() -> None:
    assert decode(tiff(), "a.tif").size == (16, 12)
    for data, name in (
        (tiff(_50706=b"\1\4\0\0"), "bytes"),  # DNG says so itself
        (tiff(), "a.NEF"),
        (b"II*\0" + struct.pack("<I", 8) + b"CR\2\0" + tiff()[12:], "a.jpg"),
    ):
        with pytest.raises(ImageError, match=f"^{name}: .*"):
            decode(data, name)
