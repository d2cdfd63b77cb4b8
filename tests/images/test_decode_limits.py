"""Everything is bounded before memory is taken."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

import mobilenetv2
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import Limits, decode, read_photo


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


PHOTO = png(30, 20)


def refusal(data: bytes, limits: Limits) -> str:
    """The message without the name that it must begin with."""
    with pytest.raises(ImageError) as caught:
        decode(data, "a name", limits)
    name, _, message = str(caught.value).partition(": ")
    assert name == "a name"
    return message


def png_header(width: int, height: int) -> bytes:
    """A whole PNG file that claims a size and holds one row of it."""
    body = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(1 + 3 * width))
    for kind, content in ((b"IHDR", header), (b"IDAT", row), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + content))
        body += struct.pack(">I", len(content)) + kind + content + check
    return body


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("side", [20_000, 13_000])  # above, and below, Pillow's own bound
def test_a_claimed_size_is_refused_before_memory_is_taken(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    assert path.stat().st_size < 1000
    script = """if True:
        import resource, sys
        from pathlib import Path
        from mobilenetv2.images.decode import *
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + 64 * 1024**2
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        Image.MAX_IMAGE_PIXELS = None if sys.argv[2] == "allowed" else Image.MAX_IMAGE_PIXELS
        limits = Limits(pixels=10**9, memory=10**10) if sys.argv[2] == "allowed" else Limits()
        try:
            read_photo(Path(sys.argv[1]), limits)
        except ImageError as error:
            print(error)
    """
    said = {}
    for case in ("refused", "allowed"):
        environment = os.environ | {"PYTHONPATH": str(Path(mobilenetv2.__file__).parents[1])}
        command = [sys.executable, "-c", script, str(path), case]
        said[case] = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout
    assert "more" in said["refused"] and "than the limit of 150,000,000" in said["refused"]
    assert "MemoryError" in said["allowed"]  # so the bound on memory does bite


def test_a_bound_of_pillows_that_is_lower_is_the_one_named() -> None:
    bound = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    assert f"limit of {bound:,}" in refusal(png_header(20_000, 20_000), Limits(pixels=10**9))


def test_a_picture_that_pillow_only_warns_of_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(PHOTO)).close()
    assert decode(PHOTO, "it").size == (30, 20)  # a warning would be an error here


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3)])
def test_a_picture_too_small_to_classify_is_refused_unless_allowed(size: tuple[int, int]) -> None:
    data = png(*size)
    assert refusal(data, Limits()).startswith(f"{size[0]} x {size[1]} pixels are too few")
    assert decode(data, "it", Limits(side=1)).size == size


def test_pixels_are_counted_to_the_last() -> None:
    assert decode(PHOTO, "it", Limits(pixels=600)).size == (30, 20)
    assert "30 x 20 pixels are more than the limit of 599" in refusal(PHOTO, Limits(pixels=599))


def test_too_many_bytes_are_refused_without_reading_them(tmp_path: Path) -> None:
    data = PHOTO
    assert decode(data, "it", Limits(bytes=len(data))).mode == "RGB"
    assert "bytes are more than the limit" in refusal(data, Limits(bytes=len(data) - 1))
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(100 * 1024**2 + 1)  # sparse: takes no disk
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"huge\.png: 104,857,601 bytes are more than"):
            read_photo(path)
        assert tracemalloc.get_traced_memory()[1] < 1024**2
    finally:
        tracemalloc.stop()


def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    circle = tmp_path / "circle.jpg"
    circle.symlink_to(circle)
    for path, reason in (
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path, "Is a directory"),
        (circle, "symbolic links"),
        (tmp_path / "a\0b.jpg", "null"),
        (tmp_path / "a\ud800.jpg", "surrogates"),
    ):
        with pytest.raises(ImageError) as caught:
            read_photo(path)
        assert str(caught.value).startswith(str(ImageError(f"{path}: cannot be opened")))
        assert reason in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads any file")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PHOTO)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"secret\.png: cannot be opened \(Permission denied\)"):
        read_photo(path)
