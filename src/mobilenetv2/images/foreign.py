"""Files that are not read as photos, by their first bytes or their name: what each of them is."""

from pathlib import PurePath

from PIL import Image

RAW_SUFFIXES = frozenset(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .pef .srw .x3f .3fr .iiq .kdc "
    ".dcr .erf .mef .mos .mrw .rwl .raw".split()
)
"""Suffixes of cameras' RAW files."""
UNREAD_SUFFIXES = RAW_SUFFIXES | {".jxl", ".psd", ".psb"}
"""Suffixes of photos that cannot be read.

Such a file in a folder is an error rather than skipped in silence.
"""
HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)

_CONVERT = "convert it to JPEG or PNG first"
_DEVELOP = "a camera's RAW file, which has to be developed; save it as JPEG or PNG first"
_VIDEO = "a video; take single frames of it as JPEG or PNG first"
_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "this is a PDF, not a picture; save its pages as JPEG or PNG first"),
    (0, b"8BPS", f"a Photoshop file is not read; {_CONVERT}"),
    (0, b"\xff\x0a", f"JPEG XL is not read; {_CONVERT}"),
    (4, b"JXL ", f"JPEG XL is not read; {_CONVERT}"),
    (0, b"II\xbc", f"JPEG XR is not read; {_CONVERT}"),
    (4, b"ftypcrx", _DEVELOP),
    (0, b"FUJIFILMCCD-RAW", _DEVELOP),
    (0, b"IIRO", _DEVELOP),
    (0, b"IIRS", _DEVELOP),
    (0, b"MMOR", _DEVELOP),
    (0, b"IIU\0", _DEVELOP),
    (0, b"FOVb", _DEVELOP),
    (8, b"AVI ", _VIDEO),
    (0, b"\x1aE\xdf\xa3", _VIDEO),
    (4, b"ftypavi", "an AVIF file that is damaged; copy it again, or convert it to JPEG or PNG"),
    (4, b"ftyp", _VIDEO),
    (4, b"moov", _VIDEO),
    (4, b"mdat", _VIDEO),
    (0, b"\0\0\1\xba", _VIDEO),
    (0, b"FLV\1", _VIDEO),
    (0, b"\0\0\1\0", f"an icon is not read; {_CONVERT}"),
    (128, b"DICM", "a DICOM file is not read; save its picture as PNG with 16 bits first"),
    (0, b"SIMPLE  =", "a FITS file is not read; save its picture as PNG with 16 bits first"),
    (0, b"v/1\1", f"OpenEXR is not read; {_CONVERT}"),
    (0, b"#?RADIANCE", f"Radiance HDR is not read; {_CONVERT}"),
    (0, b"%!PS", f"a PostScript drawing is not read; {_CONVERT}"),
    (0, b"AT&TFORM", "a DjVu document, not a picture; save its pages as JPEG or PNG first"),
    (0, b"\x93NUMPY", "a NumPy array, not a picture; in Python, load it and give the array"),
    (0, b"PK\3\4", "an archive or a document (zip), not a picture; unpack it first"),
    (0, b"Rar!", "an archive (RAR), not a picture; unpack it first"),
    (0, b"7z\xbc\xaf", "an archive (7z), not a picture; unpack it first"),
    (257, b"ustar", "an archive (tar), not a picture; unpack it first"),
    (0, b"\x1f\x8b", "a compressed file (gzip), not a picture; unpack it first"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the photo; fetch it: git lfs pull"),
)
"""Offset, bytes there, and what to say; the first that fits is said."""


_READ_MARKS = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51",
)  # fmt: skip
"""First bytes of the formats that are read, but for those of :func:`may_be_photo`."""
_TGA_END = b"TRUEVISION-XFILE.\0"


def may_be_photo(data: bytes) -> bool:
    """Return True if the first bytes are those of a format that is read, or TGA's last ones."""
    if data.startswith(_READ_MARKS) or data.endswith(_TGA_END) or is_heic(data):
        return True
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return True
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return True
    return data[:1] == b"P" and data[1:2] in b"123456fFy" and data[2:3].isspace()


def is_heic(data: bytes) -> bool:
    """Return whether the bytes are those of a HEIC or HEIF file, phones' photos."""
    return data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS


def is_raw(image: Image.Image, data: bytes, name: str) -> bool:
    """Return whether an opened image is only the preview in a camera's RAW file, which is a TIFF.

    Args:
        image: as Pillow opened it.
        data: the whole file.
        name: name of the file.
    """
    tags = getattr(image, "tag_v2", None)  # of a TIFF
    if tags is None:
        return False
    dng = 50706 in tags  # the version that every DNG has
    return dng or data[8:10] == b"CR" or suffix(name) in RAW_SUFFIXES


def suffix(name: str) -> str:
    """Return a name's suffix in lower case."""
    return PurePath(name).suffix.lower()


def why_unread(data: bytes, name: str, read: str) -> str:
    """Return a sentence that says what a file is that is not read, and what to do.

    Args:
        data: the whole file.
        name: name of the file.
        read: names of the formats that are read.
    """
    for offset, mark, sentence in _KINDS:
        if data[offset : offset + len(mark)] == mark:
            return sentence
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return f"an SVG drawing is not read; {_CONVERT}"
    if head.startswith((b"<!doctype html", b"<html")):
        return "a saved web page, not the photo; download the photo itself"
    if suffix(name) in RAW_SUFFIXES:
        return _DEVELOP
    if suffix(name) == ".txt":
        return f"a text, not a picture; if it lists photos, give it as @{name}"
    return f"not a picture, or a format that is not read ({read} are)"


RAW = _DEVELOP
"""Sentence on a camera's RAW file."""
