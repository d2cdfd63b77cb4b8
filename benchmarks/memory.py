"""Memory and time of huge photos: beyond the idle model, for each way in which they are read.

Each figure is a process of its own. ``python benchmarks/memory.py --only rgba`` makes one picture.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

RUN = """if True:
    import sys, time, warnings
    from pathlib import Path
    import mobilenetv2 as mn
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.data.scan import scan_photos
    way, place = sys.argv[1], Path(sys.argv[2])
    classify = mn.Classifier()
    import numpy as np
    classify(np.zeros((32, 32, 3), np.uint8))

    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.monotonic()
    if way == "one":
        said = classify([next(place.rglob("*.*"))])[0].error
    elif way == "folder":
        said = [answer.error for answer in classify([place])][0]
    elif way == "audit":
        mn.audit(place)
        said = ""
    else:
        (split,) = open_dataset(place).splits.values()
        said = [one.problem for one in scan_photos([split], lambda *_: None)][0]
    seconds = time.monotonic() - start
    print(f"{memory('VmHWM') - before:.0f} {seconds:.1f} {'refused' if said else 'read'}")
"""
WAYS = ("one", "folder", "audit", "scan")


def picture(mode: str, side: int, kind: str, **options: object) -> Callable[[Path], None]:
    """Return a function that writes a picture of large even areas."""

    def write(path: Path) -> None:
        small = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
        image = Image.fromarray(small).resize((side, side), Image.Resampling.NEAREST)
        image = image if mode == "RGBA" else image.convert("RGB").convert(mode)
        image.save(path, kind, **options)

    return write


def turned_by(orientation: int) -> bytes:
    """Return EXIF metadata with an orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")


PICTURES = {
    "rgba.png": picture("RGBA", 12_200, "PNG"),
    "most-rgba.png": picture("RGBA", 7_700, "PNG"),
    "rgb.png": picture("RGB", 11_200, "PNG"),
    "palette.png": picture("P", 10_000, "PNG", transparency=bytes(range(256))),
    "cmyk.jpg": picture("CMYK", 12_200, "JPEG"),
    "most-cmyk.jpg": picture("CMYK", 7_700, "JPEG"),
    "progressive.jpg": picture("RGB", 7_000, "JPEG", progressive=True),
    "108-megapixels.jpg": picture("RGB", 10_400, "JPEG"),
    "upside-down.jpg": picture("RGB", 10_400, "JPEG", exif=b"Exif\0\0" + turned_by(3)),
    "portrait.jpg": picture("RGB", 8_000, "JPEG", exif=b"Exif\0\0" + turned_by(6)),
    "rgba.webp": picture("RGBA", 4_900, "WEBP", lossless=True, quality=0, method=0),
    "rgba.tif": picture("RGBA", 7_600, "TIFF", compression="tiff_deflate"),
    "rgb.jp2": picture("RGB", 4_500, "JPEG2000"),
    "rgba.avif": picture("RGBA", 4_200, "AVIF", speed=10),
}


def main() -> None:
    """Print a row for each picture: MB and seconds for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of the pictures' names")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--copies", type=int, default=8, help="photos in the folder")
    given = parser.parse_args()
    ways = given.ways.split(",")
    print("| picture | bytes | " + " | ".join(f"{way}: MiB, s" for way in ways) + " |")
    print("|---" * (len(ways) + 2) + "|")
    for name, write in PICTURES.items():
        if given.only not in name:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "photos"
            for label in ("a", "b"):
                (folder / label).mkdir(parents=True)
            first = folder / "a" / name
            write(first)
            for number in range(1, given.copies):
                (folder / "ab"[number % 2] / f"{number}-{name}").symlink_to(first)
            cells = []
            for way in ways:
                start = time.monotonic()
                done = subprocess.run(
                    [sys.executable, "-c", RUN, way, str(folder)],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                cells.append(
                    done.stdout.strip() or f"failed after {time.monotonic() - start:.0f} s"
                )
            print(f"| {name} | {first.stat().st_size:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
