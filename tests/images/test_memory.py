"""Memory of photos: bounded for each by its kind, and for all threads together."""

import io
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

import mobilenetv2
from mobilenetv2.data.opening import open_source
from mobilenetv2.errors import ImageError
from mobilenetv2.images import memory
from mobilenetv2.images.decode import Limits, convert, decode
from mobilenetv2.images.memory import LARGE_FILE, Shared, needed


def opened(image: Image.Image, kind: str, **options: Any) -> tuple[Image.Image, bytes]:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue())), file.getvalue()


def test_threads_wait_until_the_others_have_left_enough() -> None:
    shared, lock = Shared(100), threading.Lock()
    now, most = 0, 0

    def work(size: int) -> None:
        nonlocal now, most
        with shared.work():
            shared.claim(size)
            with lock:
                now += size
                most = max(most, now)
            time.sleep(0.002)
            with lock:
                now -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [30, 60, 100, 10, 1000, 50] * 8))
    assert now == 0
    assert most > 50
    with shared.work():
        shared.claim(100)  # everything is free again


def test_a_thread_never_waits_for_itself() -> None:
    shared = Shared(100)
    with shared.work():
        shared.claim(80)
        with shared.work():
            shared.claim(90)  # instead of the 80
        done = threading.Event()

        def claim() -> None:
            shared.claim(20)
            done.set()

        other = threading.Thread(target=claim)
        other.start()
        assert not done.wait(0.05)  # the inner block gave nothing back
    assert done.wait(10)
    other.join()


def test_an_error_gives_everything_back() -> None:
    shared = Shared(100)
    with pytest.raises(KeyError), shared.work():
        shared.claim(100)
        raise KeyError
    with ThreadPoolExecutor(1) as pool:
        pool.submit(shared.claim, 100).result(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_process_has_all_its_memory() -> None:
    with memory.SHARED.work():
        memory.SHARED.claim(memory.MOST)
        child = os.fork()
        if child == 0:
            worker = threading.Thread(target=memory.SHARED.claim, args=(memory.MOST,), daemon=True)
            worker.start()
            worker.join(10)
            os._exit(int(worker.is_alive()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_picture_counts_by_its_kind() -> None:
    image = Image.new("RGB", (2000, 1500))

    def width(kind: str, mode: str = "RGB", turned: bool = False, **options: Any) -> int:
        found, data = opened(image.convert(mode), kind, **options)
        converted = 20 * 10**6 if mode != "RGB" else 0
        total = needed(found, b"" if kind != "JPEG" else data, turned)
        return (total - converted - 2048 * 2000) // (2000 * 1500)

    assert width("PNG") == width("JPEG") == width("BMP") == width("TIFF") == 4
    assert width("PNG", turned=True) == width("JPEG", turned=True) == 8
    assert width("PNG", "RGBA") == width("JPEG", "CMYK") == 8
    assert width("JPEG", progressive=True) == 10
    assert width("TIFF", compression="tiff_deflate") == 8
    assert width("WEBP") == 16


def test_a_photo_that_needs_more_is_refused_with_its_size_and_a_way_out() -> None:
    image = Image.new("RGBA", (9000, 9000))
    _, data = opened(image, "PNG", compress_level=1)
    with pytest.raises(ImageError) as caught:
        decode(data, "huge.png")
    for part in ("huge.png: 9,000 x 9,000", "MB", "limit of 537", "smaller"):
        assert part in str(caught.value)


@pytest.mark.parametrize("orientation", [None, 6])
@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA"]
)
def test_a_photo_that_is_refused_is_not_decoded(
    kind: str, orientation: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if orientation and kind in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF"):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    _, data = opened(Image.new("RGB", (400, 300), "red"), kind, **options)

    loads: list[str] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: loads.append(image.format))
    with pytest.raises(ImageError, match=r"huge\.tga: \d+ x \d+ .* limit of 0 MB"):
        decode(data, "huge.tga", Limits(memory=1000))
    assert loads == []


def test_a_tiffs_tile_counts_even_if_its_picture_is_small() -> None:
    found, data = opened(Image.new("RGB", (64, 64)), "TIFF", compression="tiff_deflate")
    before = needed(found, data)
    found.tag_v2[322], found.tag_v2[323] = 60_000, 60_000  # type: ignore[attr-defined]
    assert needed(found, data) - before == 60_000**2 * 4


def test_passes_over_a_jpeg_are_counted() -> None:
    found, data = opened(Image.new("RGB", (64, 48)), "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    assert scans > 5
    assert memory.passes(found, data) == scans * 64 * 48


def test_a_jpeg_of_endless_passes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, data = opened(Image.new("RGB", (64, 48)), "JPEG", progressive=True)
    monkeypatch.setattr(memory, "PASSES", 64 * 48 * 5)
    with pytest.raises(ImageError, match=r"passes\.jpg: .*passes"):
        decode(data, "passes.jpg")


@pytest.mark.parametrize(
    ("megapixels", "mode", "chroma", "bits"),
    [(48.8, "RGB", 420, 8), (48.8, "RGB", 420, 10), (24.5, "RGBA", 420, 8), (48.8, "L", None, 8)],
)
def test_a_phones_heic_has_room(
    megapixels: float, mode: str, chroma: int | None, bits: int
) -> None:
    side = round((megapixels * 1e6) ** 0.5)
    picture = Image.new(mode, (8, 8))
    picture.format, picture._size = "HEIF", (side, side)
    picture.info.update({"bit_depth": bits} | ({"chroma": chroma} if chroma else {}))
    assert side**2 * 7 <= needed(picture, bytes(6 * 10**6)) <= memory.MOST or mode == "L"
    picture.info.update({"bit_depth": 10, "chroma": 444})
    assert needed(picture) > memory.MOST or mode == "L"


def test_a_picture_of_the_callers_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenetv2.images.decode.LARGE", 10)
    picture = Image.new("RGB", (6, 8))
    picture.putpixel((0, 0), (255, 255, 255))
    before = picture.tobytes()
    for orientation in range(1, 9):
        picture.getexif()[274] = orientation
        convert(picture, "photo")
        assert picture.tobytes() == before


def test_a_photo_that_its_exif_turns_is_refused_with_its_own_way_out() -> None:
    picture = Image.new("RGB", (9_400, 9_400))
    exif = Image.Exif()
    exif[274] = 6
    _, data = opened(picture, "JPEG", exif=exif)
    with pytest.raises(ImageError) as caught:
        decode(data, "portrait.jpg")
    for part in ("portrait.jpg", "limit of 537 MB", "upright", "EXIF"):
        assert part in str(caught.value)


def test_a_heics_tile_counts_even_if_its_picture_is_small() -> None:
    picture = Image.new("RGB", (64, 64))
    picture.format = "HEIF"
    part = b"\0\0\0\x14ispe\0\0\0\0" + (30_000).to_bytes(4, "big") * 2
    assert needed(picture, part) > 30_000**2 * 8 > needed(picture)


MEASURED = """if True:
    import sys
    from pathlib import Path
    from mobilenetv2.errors import ImageError
    from mobilenetv2.images.decode import read_photo

    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    for path in map(Path, sys.argv[1:]):
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        try:
            read_photo(path)
            said = "read"
        except ImageError as error:
            said = "refused"
        print(memory("VmHWM") - before, said)
"""


def write_png(path: Path, side: int, colour: int, interlaced: bool = False, text: int = 0) -> None:
    """Write an empty PNG, with chunks of text that are 256 MiB each when unpacked."""

    def zeros(size: int) -> bytes:
        packer = zlib.compressobj(9 if size == 2**28 else 1)
        parts = [packer.compress(bytes(min(2**20, size - at))) for at in range(0, size, 2**20)]
        return b"".join(parts) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    channels = 4 if colour == 6 else 3
    grid = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    passes = [*grid, (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    size = sum(
        -(-(side - top) // down) * (-(-(side - left) // across) * channels + 1)
        for left, top, across, down in passes
    )
    header = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, interlaced)
    bomb = chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(2**28)) if text else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + bomb * text
        + chunk(b"IDAT", zeros(size)) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_the_worst_pictures_stay_within_the_bound(tmp_path: Path) -> None:
    expected = {"transparent.png": "read", "interlaced.png": "read", "text.png": "refused"}
    write_png(tmp_path / "transparent.png", 7_700, 6)
    write_png(tmp_path / "interlaced.png", 7_700, 6, interlaced=True)
    write_png(tmp_path / "text.png", 64, 2, text=8)
    for name, said, mode, side, options in (
        ("progressive.jpg", "read", "RGB", 7_000, {"progressive": True}),
        ("turned.jpg", "read", "RGB", 8_000, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3"
                                              b"\0\0\0\1\0\6\0\0\0\0\0\0"}),
        ("16-megapixels.jp2", "read", "RGBA", 4_000, {}),
        ("large.webp", "read", "RGBA", 4_900, {"lossless": True, "quality": 0, "method": 0}),
    ):  # fmt: skip
        Image.new(mode, (side, side)).save(tmp_path / name, **options)
        expected[name] = said
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *(str(tmp_path / name) for name in expected)],
        env=os.environ | {"PYTHONPATH": str(Path(mobilenetv2.__file__).parents[1])},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    for name, line in zip(expected, done.stdout.splitlines(), strict=True):
        peak, said = line.split()
        assert said == expected[name], name
        assert int(peak) <= memory.MOST, f"{name}: {int(peak):,}"


def test_marks_behind_the_end_of_a_jpeg_are_no_passes() -> None:
    found, data = opened(Image.new("RGB", (64, 48)), "JPEG", progressive=True)
    film = b"\xff\xda\0\x08" * 100_000
    assert memory.passes(found, data + film) == memory.passes(found, data)
    assert memory.passes(*opened(Image.new("RGB", (64, 48)), "JPEG")) == 64 * 48


def test_a_phones_photo_with_a_film_behind_it_is_read() -> None:
    _, data = opened(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    film = np.random.default_rng(0).bytes(12 * 1024**2)
    assert film.count(b"\xff\xda") > 100
    assert decode(data + film, "PXL.MP.jpg").size == (4000, 3000)


def test_marks_in_the_metadata_are_no_passes_and_no_end() -> None:
    found, data = opened(Image.new("RGB", (64, 48)), "JPEG", progressive=True)
    inside = b"\xff\xda\xff\xd9" * 10
    comment = b"\xff\xfe" + (len(inside) + 2).to_bytes(2, "big") + inside
    assert memory.passes(found, data[:2] + comment + data[2:]) == memory.passes(found, data)
    between = data.rfind(b"\xff\xda")  # passes behind a comment count as well
    assert memory.passes(found, data[:between] + comment + data[between:]) == memory.passes(
        found, data
    )


def test_the_rest_of_a_claim_is_given_back() -> None:
    shared, done = Shared(100), threading.Event()
    with shared.work():
        shared.claim(100)
        shared.claim(30)

        def claim() -> None:
            with shared.work():
                shared.claim(70)
                done.set()

        other = threading.Thread(target=claim)
        other.start()
        assert done.wait(10)
    other.join()


def test_large_files_are_read_one_at_a_time_and_decoded_together() -> None:
    shared, lock = Shared(12 * LARGE_FILE), threading.Lock()
    reading, most_reading, decoding = 0, 0, threading.Barrier(4, timeout=10)

    def work(_: int) -> None:
        nonlocal reading, most_reading
        with shared.work():
            shared.claim_file(LARGE_FILE + 1)
            with lock:
                reading += 1
                most_reading = max(most_reading, reading)
            time.sleep(0.01)
            with lock:
                reading -= 1
            shared.claim(3 * LARGE_FILE)
            decoding.wait()  # all four have what they need at once

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most_reading == 1


def test_large_files_never_wait_for_one_another() -> None:
    shared = Shared(4 * LARGE_FILE)

    def work(size: int) -> None:
        with shared.work():
            shared.claim_file(2 * LARGE_FILE)
            shared.claim(size)
            shared.claim_file(3 * LARGE_FILE)  # another photo of the same job
            if size % 3:
                raise KeyError

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, 4 * LARGE_FILE - size) for size in range(200)]:
            assert type(done.exception(10)) in (KeyError, type(None))
    with shared.work():
        shared.claim(4 * LARGE_FILE)  # everything is free again


def test_a_file_read_outside_of_any_work_claims_nothing() -> None:
    shared = Shared(LARGE_FILE)
    shared.claim_file(2 * LARGE_FILE)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(shared.claim, LARGE_FILE).result(10)


def test_a_png_whose_orientation_lies_behind_its_pixels_is_claimed_as_turned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _, data = opened(Image.new("RGB", (4000, 3000), "red"), "PNG", exif=exif)
    at = data.index(b"eXIf") - 4
    chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4], "big")]
    end = data[-12:]
    late = data.replace(chunk, b"").replace(end, chunk + end)
    claims: list[int] = []
    claim = memory.SHARED.claim

    def noted(size: int) -> None:
        claims.append(size)
        claim(size)

    monkeypatch.setattr(memory.SHARED, "claim", noted)
    assert decode(late, "late.png").size == (3000, 4000)
    upright, _ = opened(Image.new("RGB", (4000, 3000)), "PNG")
    least = needed(upright, late, turned=True)
    assert max(claims) == least > needed(upright, late)
    with pytest.raises(ImageError, match=r"late\.png: .*upright"):
        decode(late, "late.png", Limits(memory=least - 1))


@pytest.mark.parametrize("way", ["folder", "zip", "tar"])
def test_every_source_waits_before_it_reads_a_large_file(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.bmp").write_bytes(bytes(2000))
    place = tmp_path / "photos"
    if way != "folder":
        place = Path(shutil.make_archive(str(tmp_path / "photos"), way, tmp_path / "photos"))
    claims: list[int] = []
    source = open_source(place)
    monkeypatch.setattr(memory.SHARED, "claim_file", claims.append)
    assert source.read("a/1.bmp") == bytes(2000)
    assert claims == [2000]
